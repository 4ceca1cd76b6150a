"""Every pair is asked, in one round: the most that a judge can say about n candidates."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from strategies.aggregate import standing
from strategies.base import Order, Schedule, check_order, ordered


@dataclass(frozen=True, kw_only=True)
class RoundRobin:
    """All n (n - 1) / 2 pairs.

    Attributes:
      order: the order policy; "both" asks n (n - 1) comparisons and cancels a judge's bias for a position,
        the others ask half as many and keep it.
    """

    name: ClassVar[str] = "round-robin"
    order: Order = "both"

    def __post_init__(self) -> None:
        check_order(self.order)

    def schedule(self, n: int, rng: np.random.Generator) -> Schedule:
        """One round of all pairs of n candidates; rng throws the coins of order "random"."""
        asked = ordered(np.argwhere(np.tri(n, k=-1).T), self.order, rng)  # (i, j), i < j
        log_odds = (yield asked) if len(asked) else np.empty(0)
        return standing(asked, log_odds, n)
