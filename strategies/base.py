"""What a strategy is: the schedule protocol, the standing it ends with, and the order policy."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, get_args, runtime_checkable

import numpy as np
import numpy.typing as npt

IntArray: TypeAlias = npt.NDArray[np.int64]
FloatArray: TypeAlias = npt.NDArray[np.float64]

Order: TypeAlias = Literal["both", "random", "fixed"]

DECIMALS = 9  # scores that agree to so many decimals are tied: the last digits depend on the order of a sum


@dataclass(frozen=True, kw_only=True, eq=False)
class Standing:
    """How n candidates stand at the end of a schedule.

    Attributes:
      order: [n] int64, candidate indices, best first: always a permutation, decided or not.
      scores: [n] float64, indexed by candidate, in nats: the difference of two scores is the log-odds that
        the first is the better one.
      p_best: [n] float64, indexed by candidate, the probability of being the best; sums to 1.
      decided: False when the valid judgements do not connect all candidates: scores of different parts then
        cannot be compared, and the head of `order` is no winner.
    """

    order: IntArray
    scores: FloatArray
    p_best: FloatArray
    decided: bool

    @property
    def tied(self) -> list[int]:
        """Indices of the candidates with the score of the head of `order`; empty when it stands alone."""
        rounded = np.round(self.scores, DECIMALS)
        level = np.flatnonzero(rounded == rounded[self.order[0]])
        return [int(i) for i in level] if len(level) > 1 else []


# Yields a round, [M, 2] int64 candidate indices (first, second), comparisons that may be judged together; is
# sent their log-odds, [M] float64 in nats that the first is the better one, NaN = invalid; returns the
# standing.
Schedule: TypeAlias = Generator[IntArray, FloatArray, Standing]


@runtime_checkable
class Strategy(Protocol):
    """Decides which comparisons are worth asking, for any judge and any number of candidates."""

    @property
    def name(self) -> str:
        """The name by which strategies.by_name finds it, and that the output record carries."""

    def schedule(self, n: int, rng: np.random.Generator) -> Schedule:
        """The strategy at work on one problem.

        Args:
          n: number of candidates, 1 or more; a schedule of one candidate returns without a round.
          rng: the source of every coin the schedule throws, so that a seed gives the same comparisons again.
        """


def check_order(order: str) -> None:
    """Raises ValueError unless `order` is an order policy."""
    if order not in get_args(Order):
        raise ValueError(f"order is {order!r}; it is one of {', '.join(get_args(Order))}")


def ordered(pairs: IntArray, order: Order, rng: np.random.Generator) -> IntArray:
    """The comparisons that an order policy asks for unordered pairs: the one place where it is applied.

    Args:
      pairs: [P, 2] int64, the unordered pairs.
      order: both = (i, j) and (j, i), next to one another; random = one of them, by a coin for each pair;
        fixed = the pair as given.
      rng: thrown for "random" only.

    Returns:
      [M, 2] int64, M = 2P for both, otherwise P.
    """
    check_order(order)
    if order == "both":
        return np.stack([pairs, pairs[:, ::-1]], axis=1).reshape(-1, 2)  # [P, 2, 2] -> [2P, 2]
    if order == "random":
        return np.where(rng.integers(2, size=(len(pairs), 1)) == 1, pairs[:, ::-1], pairs)
    return pairs
