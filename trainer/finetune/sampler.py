"""Which examples a step sees: a pure function of (seed, step), so that a run goes on exactly where it was."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

WINDOW = 16  # steps


def dealt(
    weights: npt.NDArray[np.float64], lengths: Sequence[npt.NDArray[np.int64]], *, seed: int, step: int, batch: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The examples of a step: those of WINDOW steps are drawn together and dealt out by length, so that little of a
    batch is padding. Which of the steps gets which is chance.

    Args:
      weights: [T] of the tasks, positive; they need not sum to 1.
      lengths: of each task's examples, in tokens.

    Returns:
      tasks: [B] int64, and examples: [B] int64, the place of each in its task.
    """
    first = step - step % WINDOW
    sizes = np.array([len(one) for one in lengths], np.int64)
    found = [drawn(weights, sizes, seed=seed, step=first + k, batch=batch) for k in range(WINDOW)]
    tasks, places = (np.concatenate(part) for part in zip(*found, strict=True))
    long = np.array([lengths[t][p] for t, p in zip(tasks.tolist(), places.tolist(), strict=True)])
    turn = np.random.default_rng([seed, first, WINDOW]).permutation(WINDOW)[step - first]
    own = np.argsort(long, kind="stable")[turn * batch : (turn + 1) * batch]
    return tasks[own], places[own]


def drawn(
    weights: npt.NDArray[np.float64], sizes: npt.NDArray[np.int64], *, seed: int, step: int, batch: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The examples of a step, drawn with replacement.

    Args:
      weights: [T] of the tasks, positive; they need not sum to 1.
      sizes: [T] the numbers of their examples, positive.

    Returns:
      tasks: [B] int64, and examples: [B] int64, the place of each in its task.
    """
    rng = np.random.default_rng([seed, step])
    edges = np.cumsum(weights)
    tasks = np.searchsorted(edges, rng.random(batch) * edges[-1], side="right")
    return tasks, rng.integers(sizes[tasks])
