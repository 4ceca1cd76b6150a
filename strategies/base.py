"""Defines what a strategy is: the schedule protocol, the standing that it returns, and the order policy."""

from abc import ABC, abstractmethod
from collections.abc import Generator
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Literal, Protocol, TypeAlias, get_args, runtime_checkable

import numpy as np
import numpy.typing as npt

IntArray: TypeAlias = npt.NDArray[np.int64]
FloatArray: TypeAlias = npt.NDArray[np.float64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]

Order: TypeAlias = Literal["both", "random", "fixed"]

MOST = 20_000_000  # comparisons of one problem that fit in memory: about 6 GB
FEW = 16  # candidates; of so many, what is asked of many problems alike is kept
BELOW = 1.0  # nats below the lowest score, the place of what has no score: in the output every score is a number
DECIMALS = 9  # scores that agree to this many decimals are tied; later digits depend on the order of summation


@dataclass(frozen=True, kw_only=True, eq=False)
class Standing:
    """The result of a schedule for n candidates.

    Attributes:
      order: [n] int64, candidate indices, best first: always a permutation, decided or not.
      scores: [n] float64, indexed by candidate, in nats: the difference of two scores is the log-odds that
        the first candidate is better.
      p_best: [n] float64, indexed by candidate, the probability of being the best; sums to 1.
      decided: whether the valid judgements connect all candidates; if not, scores of different parts cannot be
        compared, and the head of `order` is not a winner.
      p_top: the probability that the first K of `order` are the true best K, if K > 1 was asked for.
      rated: [n] bool, False for a candidate that the judge could not rate, whose score is lower by BELOW than the
        others'; None: all were rated.
    """

    order: IntArray
    scores: FloatArray
    p_best: FloatArray
    decided: bool
    p_top: float | None = None
    rated: BoolArray | None = None

    @property
    def tied(self) -> list[int]:
        """The indices of the candidates that share the score of the head of `order`; empty if no other candidate
        does."""
        rounded = np.round(self.scores, DECIMALS)
        level = np.flatnonzero(rounded == rounded[self.order[0]])
        return [int(i) for i in level] if len(level) > 1 else []


# A schedule yields a round, [M, 2] int64 candidate indices (first, second), comparisons that may be judged together;
# it is sent their log-odds, [M] float64 in nats that the first is better, NaN = invalid; it returns the standing.
Schedule: TypeAlias = Generator[IntArray, FloatArray, Standing]


class TooMany(ValueError):
    """A strategy would ask more comparisons of one problem than fit in memory."""


@dataclass(frozen=True, kw_only=True)
class Options(ABC):
    """The options that every strategy has.

    Attributes:
      order: the order policy; "both" asks every pair in both orders and cancels a judge's bias for a position.
      budget: the most comparisons per problem; None for as many as the strategy needs. A comparison that the budget
        leaves out counts as a tie.
      top: the number of best candidates that are needed; strategies that save work by finding only the best one find
        this many.

    Raises:
      ValueError: the order policy is unknown, or budget or top is not a positive whole number.
    """

    name: ClassVar[str]
    order: Order = "both"
    budget: int | None = None
    top: int = 1

    def __post_init__(self) -> None:
        check_options(self.order, self.budget, self.top)

    @abstractmethod
    def comparisons(self, n: int) -> tuple[int, int]:
        """Returns the fewest and the most comparisons for n candidates."""

    def only_round(self, n: int) -> IntArray | None:
        """Returns the comparisons of n candidates, [M, 2] read-only, if they are the same for every problem and are
        asked in one round whose standing is `posterior.standing`; None otherwise.

        Such problems need no schedule, and their standings are computed together (strategies/together.py).
        """
        return None

    def check_size(self, n: int) -> None:
        """Raises TooMany if more than MOST comparisons of n candidates may be asked."""
        most = self.comparisons(n)[1]
        if most > MOST:
            knockout = (n - 1) * (2 if self.order == "both" else 1)
            raise TooMany(
                f"{self.name} may ask {most:,} comparisons of {n:,} candidates, and {MOST:,} are the most; choose "
                f"the strategy knockout ({knockout:,}), or give a budget (for example {4 * n:,})"
            )

    def _bounds(self, least: int, most: int, repeats: int = 1) -> tuple[int, int]:
        """Converts numbers of pairs, each asked `repeats` times, to comparisons, under the order policy and the
        budget."""
        each = repeats * (2 if self.order == "both" else 1)
        room = None if self.budget is None else self.budget // each
        if room is not None:
            least, most = min(least, room), min(most, room)
        return each * least, each * most


@runtime_checkable
class Strategy(Protocol):
    """Decides which comparisons to ask, for any judge and any number of candidates."""

    @property
    def name(self) -> str:
        """The name for strategies.by_name and the output record."""

    def schedule(self, n: int, rng: np.random.Generator) -> Schedule:
        """Starts the strategy on one problem.

        Args:
          n: number of candidates, 1 or more; a schedule of one candidate returns without a round.
          rng: the source of all random choices of the schedule, so that a seed always gives the same comparisons.
        """


class Counted(Strategy, Protocol):
    """A strategy that knows how many comparisons it may ask, as all named strategies do."""

    def comparisons(self, n: int) -> tuple[int, int]:
        """Returns the fewest and the most comparisons for n candidates."""


def check_options(order: str, budget: int | None, top: int) -> None:
    """Raises ValueError if the order policy, the budget or the number of first places is not valid."""
    if order not in get_args(Order):
        raise ValueError(f"order is {order!r}; it must be one of {', '.join(get_args(Order))}")
    for name, value in (("budget", budget), ("top", top)):
        if value is not None and (not isinstance(value, int | np.integer) or value < 1):
            raise ValueError(f"{name} is {value!r}; it must be a whole number, 1 or more")


def every_pair(n: int) -> IntArray:
    """Returns all pairs (i, j) of n candidates, i < j, in order of position: [P, 2] int64, read-only for small n."""
    return _few_pairs(n) if n <= FEW else np.argwhere(np.tri(n, k=-1, dtype=bool).T)


@cache
def _few_pairs(n: int) -> IntArray:
    pairs = np.argwhere(np.tri(n, k=-1, dtype=bool).T)
    pairs.flags.writeable = False  # one array serves all problems
    return pairs


@cache
def every_comparison(n: int, order: Literal["both", "fixed"]) -> IntArray:
    """Returns the comparisons of all pairs of n candidates, without a random choice: [M, 2] int64, read-only."""
    asked = ordered(every_pair(n), order, np.random.default_rng(0))
    asked.flags.writeable = False
    return asked


def ordered(pairs: IntArray, order: Order, rng: np.random.Generator) -> IntArray:
    """Turns unordered pairs into comparisons under an order policy; no other function applies the policy.

    Args:
      pairs: [P, 2] int64, the unordered pairs.
      order: both = (i, j) and (j, i), one after the other; random = one of them, chosen at random for each pair;
        fixed = the lower index first, as in the input.
      rng: used for "random" only.

    Returns:
      [M, 2] int64, M = 2P for both, otherwise P.
    """
    if order == "both":
        return np.stack([pairs, pairs[:, ::-1]], axis=1).reshape(-1, 2)  # [P, 2, 2] -> [2P, 2]
    if order == "random":
        return np.where(rng.integers(2, size=(len(pairs), 1)) == 1, pairs[:, ::-1], pairs)
    return np.sort(pairs, axis=1)
