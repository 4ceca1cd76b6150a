"""Compares neighbours on a ring, then the leaders with all candidates: two large rounds, which use the hardware
well."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from strategies.base import IntArray, Options, Schedule
from strategies.evidence import Evidence


@dataclass(frozen=True, kw_only=True)
class Pivot(Options):
    """Each candidate meets its two neighbours on a ring; the leaders then meet all candidates: at most
    n + k (n - k) + k (k - 1) / 2 pairs for k leaders.

    Attributes:
      leaders: None = sqrt(n), rounded, but not fewer than `top`.
    """

    name: ClassVar[str] = "pivot"
    leaders: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.leaders is not None and self.leaders < 1:
            raise ValueError(f"leaders is {self.leaders}; it must be 1 or more")

    def comparisons(self, n: int) -> tuple[int, int]:
        """Returns the fewest and the most comparisons for n candidates; pairs of the ring are not asked again."""
        k = self._leaders(n)
        ring, pairs = n if n > 2 else n - 1, n * (n - 1) // 2
        leading = k * (n - k) + k * (k - 1) // 2
        return self._bounds(min(max(ring, ring + leading - 2 * k), pairs), min(ring + leading, pairs))

    def schedule(self, n: int, rng: np.random.Generator) -> Schedule:
        """Plays two rounds of n candidates; rng draws the ring and makes the choices of order "random"."""
        evidence = Evidence(n, self, rng)
        ring = rng.permutation(n)
        if n > 1:
            yield from evidence.ask(np.stack([ring, np.roll(ring, -1)], axis=1)[: n if n > 2 else 1])
            leaders = np.sort(np.argsort(-evidence.total, kind="stable")[: self._leaders(n)])
            yield from evidence.ask(_meetings(leaders, n, evidence.room + n))  # the ring has at most n of them
        return evidence.standing()

    def _leaders(self, n: int) -> int:
        return min(self.leaders or max(round(math.sqrt(n)), self.top), n)


def _meetings(leaders: IntArray, n: int, room: float) -> IntArray:
    """Returns the pairs (i, j), i < j, of leaders [k] with all candidates, in order of position: [P, 2]; stops soon
    after `room` pairs."""
    leads = np.isin(np.arange(n), leaders)
    rows, count = [], 0
    for i in range(n):
        others = np.arange(i + 1, n) if leads[i] else leaders[np.searchsorted(leaders, i) :]
        rows.append(np.stack([np.full(len(others), i), others], axis=1))
        count += len(others)
        if count >= room:
            break
    return np.concatenate(rows)
