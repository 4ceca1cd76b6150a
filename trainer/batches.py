"""Which examples a step sees: a pure function of (seed, step), so that a run goes on exactly where it was."""

import numpy as np
import numpy.typing as npt


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
