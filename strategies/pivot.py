"""A ring, then its leaders against everyone: two rounds, as wide as hardware likes."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from strategies.base import Options, Schedule
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
            leaders = np.argsort(-evidence.total, kind="stable")[: self._leaders(n)]
            leads = np.zeros(n, bool)
            leads[leaders] = True
            meets = (leads[:, None] | leads) & np.tri(n, k=-1, dtype=bool).T
            yield from evidence.ask(np.argwhere(meets))
        return evidence.standing()

    def _leaders(self, n: int) -> int:
        return min(self.leaders or max(round(math.sqrt(n)), self.top), n)
