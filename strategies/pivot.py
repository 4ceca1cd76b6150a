"""A ring, then its leaders against everyone: two rounds, as wide as hardware likes."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from strategies.base import IntArray, Options, Schedule
from strategies.evidence import Evidence


@dataclass(frozen=True, kw_only=True)
class Pivot(Options):
    """Everyone meets its two neighbours on a ring; the leaders then meet everyone: n + k (n - k) + k (k - 1) / 2 pairs
    at most, for k leaders.

    Attributes:
      leaders: None = sqrt(n), rounded, but not fewer than `top`.
    """

    name: ClassVar[str] = "pivot"
    leaders: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.leaders is not None and self.leaders < 1:
            raise ValueError(f"leaders is {self.leaders}; it is 1 or more")

    def comparisons(self, n: int) -> tuple[int, int]:
        """The fewest and the most comparisons for n candidates; pairs of the ring are not asked again."""
        k = self._leaders(n)
        ring, pairs = n if n > 2 else n - 1, n * (n - 1) // 2
        leading = k * (n - k) + k * (k - 1) // 2
        return self._bounds(min(max(ring, ring + leading - 2 * k), pairs), min(ring + leading, pairs))

    def schedule(self, n: int, rng: np.random.Generator) -> Schedule:
        """Two rounds of n candidates; rng throws the ring and the coins of order "random"."""
        evidence = Evidence(n, self, rng)
        ring = rng.permutation(n)
        if n > 1:
            yield from evidence.ask(np.stack([ring, np.roll(ring, -1)], axis=1)[: n if n > 2 else 1])
            leaders = np.sort(np.argsort(-evidence.total, kind="stable")[: self._leaders(n)])
            yield from evidence.ask(_meetings(leaders, n, evidence.room + n))  # of the ring are no more than n
        return evidence.standing()

    def _leaders(self, n: int) -> int:
        return min(self.leaders or max(round(math.sqrt(n)), self.top), n)


def _meetings(leaders: IntArray, n: int, room: float) -> IntArray:
    """Pairs (i, j), i < j, of leaders [k] with everyone, in order of position: [P, 2], not many more than there is room
    for."""
    leads = np.isin(np.arange(n), leaders)
    rows, count = [], 0
    for i in range(n):
        others = np.arange(i + 1, n) if leads[i] else leaders[np.searchsorted(leaders, i) :]
        rows.append(np.stack([np.full(len(others), i), others], axis=1))
        count += len(others)
        if count >= room:
            break
    return np.concatenate(rows)
