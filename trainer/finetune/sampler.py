"""Chooses the examples of a step: a pure function of (seed, step), so that a resumed run draws the same examples."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

WINDOW = 16  # steps whose examples are drawn together if batches are made by length


def dealt(
    weights: npt.NDArray[np.float64],
    lengths: Sequence[npt.NDArray[np.int64]],
    *,
    seed: int,
    step: int,
    batch: int,
    share: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Draws the examples of a step such that they have similar lengths, which saves padding.

    The examples of WINDOW steps are drawn together and put into groups and batches by length; the order
    in which the steps take the batches is random.

    Args:
      weights: [T] the tasks' weights, positive; they need not sum to 1.
      lengths: for each task the lengths of its examples, in tokens.
      share: as in `drawn`.

    Returns:
      tasks: [B] int64, and examples: [B] int64, the index of each in its task.
    """
    first = step - step % WINDOW
    sizes = np.array([len(task) for task in lengths], np.int64)
    draws = [drawn(weights, sizes, seed=seed, step=first + k, batch=batch, share=share) for k in range(WINDOW)]
    tasks, indices = (np.concatenate(part) for part in zip(*draws, strict=True))
    tokens = np.array([lengths[t][k] for t, k in zip(tasks.tolist(), indices.tolist(), strict=True)])
    if share > 1:
        by_task = np.lexsort([tokens, tasks])
        tasks, indices, tokens = tasks[by_task], indices[by_task], tokens[by_task]
    turn = np.random.default_rng([seed, first, WINDOW]).permutation(WINDOW)[step - first]
    by_length = np.argsort(tokens.reshape(-1, share).max(1), kind="stable")  # of groups
    chosen = by_length.reshape(WINDOW, -1)[turn]
    return tasks.reshape(-1, share)[chosen].reshape(-1), indices.reshape(-1, share)[chosen].reshape(-1)


def drawn(
    weights: npt.NDArray[np.float64], sizes: npt.NDArray[np.int64], *, seed: int, step: int, batch: int, share: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Draws the examples of a step, with replacement.

    Args:
      weights: [T] the tasks' weights, positive; they need not sum to 1.
      sizes: [T] the numbers of the tasks' examples, positive.
      share: a divisor of `batch`; so many examples after one another are of one task.

    Returns:
      tasks: [B] int64, and examples: [B] int64, the index of each in its task.
    """
    rng = np.random.default_rng([seed, step])
    edges = np.cumsum(weights)
    tasks = np.searchsorted(edges, rng.random(batch // share) * edges[-1], side="right").repeat(share)
    return tasks, rng.integers(sizes[tasks])
