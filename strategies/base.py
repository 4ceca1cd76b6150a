"""What a strategy is: the schedule protocol, the standing it ends with, and the order policy."""

from abc import ABC, abstractmethod
from collections.abc import Generator
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, TypeAlias, get_args, runtime_checkable

import numpy as np
import numpy.typing as npt

IntArray: TypeAlias = npt.NDArray[np.int64]
FloatArray: TypeAlias = npt.NDArray[np.float64]

Order: TypeAlias = Literal["both", "random", "fixed"]

MOST = 20_000_000  # comparisons of one problem that are held in memory: some 6 GB
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
      p_top: the probability that the first K of `order` are the true best K, where K > 1 was asked for.
    """

    order: IntArray
    scores: FloatArray
    p_best: FloatArray
    decided: bool
    p_top: float | None = None

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


class TooMany(ValueError):
    """A strategy would ask more comparisons of one problem than memory holds."""


@dataclass(frozen=True, kw_only=True)
class Options(ABC):
    """What every strategy can be told.

    Attributes:
      order: the order policy; "both" asks every pair twice and cancels a judge's bias for a place.
      budget: comparisons for a problem, None = as many as the strategy takes. What is not asked for want of budget
        counts as a tie.
      top: how many of the best are wanted; strategies that can find one with less work find so many.

    Raises:
      ValueError: no such order policy, or a budget or top that is no positive number.
    """

    name: ClassVar[str]
    order: Order = "both"
    budget: int | None = None
    top: int = 1

    def __post_init__(self) -> None:
        check_options(self.order, self.budget, self.top)

    @abstractmethod
    def comparisons(self, n: int) -> tuple[int, int]:
        """The fewest and the most comparisons for n candidates."""

    def check_size(self, n: int) -> None:
        """Raises TooMany if more than MOST comparisons of n candidates may be asked."""
        most = self.comparisons(n)[1]
        if most > MOST:
            knockout = (n - 1) * (2 if self.order == "both" else 1)
            raise TooMany(
                f"{self.name} may ask {most:,} comparisons of {n:,} candidates, and {MOST:,} are the most; choose "
                f"the strategy knockout ({knockout:,}), or give a budget ({4 * n:,}, say)"
            )

    def _bounds(self, least: int, most: int) -> tuple[int, int]:
        """Comparisons from pairs, under the order policy and the budget."""
        each = 2 if self.order == "both" else 1
        room = None if self.budget is None else self.budget // each
        return tuple(each * (pairs if room is None else min(pairs, room)) for pairs in (least, most))  # type: ignore[return-value]


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


def check_options(order: str, budget: int | None, top: int) -> None:
    """Raises ValueError unless these are an order policy, a budget and a number of first places."""
    if order not in get_args(Order):
        raise ValueError(f"order is {order!r}; it is one of {', '.join(get_args(Order))}")
    for name, value in (("budget", budget), ("top", top)):
        if value is not None and (not isinstance(value, int | np.integer) or value < 1):
            raise ValueError(f"{name} is {value!r}; it is a whole number, 1 or more")


def every_pair(n: int) -> IntArray:
    """[P, 2] int64, all pairs (i, j) of n candidates, i < j, in order of position."""
    return np.argwhere(np.tri(n, k=-1, dtype=bool).T)


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
    if order == "both":
        return np.stack([pairs, pairs[:, ::-1]], axis=1).reshape(-1, 2)  # [P, 2, 2] -> [2P, 2]
    if order == "random":
        return np.where(rng.integers(2, size=(len(pairs), 1)) == 1, pairs[:, ::-1], pairs)
    return pairs
