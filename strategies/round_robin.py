"""Asks every pair in one round: everything that a judge can say about n candidates."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from strategies.base import FEW, IntArray, Options, Schedule, every_comparison, every_pair, ordered
from strategies.posterior import standing


@dataclass(frozen=True, kw_only=True)
class RoundRobin(Options):
    """Asks all n (n - 1) / 2 pairs; with a budget, as many as it allows, each candidate equally often.

    `order` "both" asks n (n - 1) comparisons and cancels a judge's bias for a position; the other policies ask half as
    many and keep the bias.
    """

    name: ClassVar[str] = "round-robin"

    def comparisons(self, n: int) -> tuple[int, int]:
        """Returns the fewest and the most comparisons for n candidates."""
        pairs = n * (n - 1) // 2
        return self._bounds(pairs, pairs)

    def only_round(self, n: int) -> IntArray | None:
        """Returns all comparisons of a few candidates, unless the budget or the order leaves some of them to chance."""
        every = self.comparisons(n)[0] == n * (n - 1) // (1 if self.order == "both" else 2)
        return every_comparison(n, self.order) if self.order != "random" and every and 1 < n <= FEW else None

    def schedule(self, n: int, rng: np.random.Generator) -> Schedule:
        """Asks one round of n candidates; rng makes the choices of order "random" and of the pairs that fit the
        budget."""
        self.check_size(n)
        room = self.comparisons(n)[0] // (2 if self.order == "both" else 1)
        if room < n * (n - 1) // 2:  # rings over a shuffled circle: of neighbours, of next neighbours, ...
            circle, step = rng.permutation(n), np.arange(1, -(-room // n) + 1)[:, None]
            at = np.arange(n)
            rings = np.sort(np.stack([circle[at + 0 * step], circle[(at + step) % n]], axis=-1).reshape(-1, 2), axis=1)
            pairs = rings[:room]
        else:
            pairs = every_pair(n)
        asked = ordered(pairs, self.order, rng)
        log_odds = (yield asked) if len(asked) else np.empty(0)
        return standing(asked, log_odds, n, self.top)
