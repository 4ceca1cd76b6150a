"""For judges that answer by a difference of qualities: one comparison per candidate contains all that they know."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from strategies.base import Options, Schedule
from strategies.posterior import pointwise_standing


@dataclass(frozen=True, kw_only=True)
class Pointwise(Options):
    """Every other candidate against the first one: n - 1 comparisons in one round, whatever the order policy.

    The answers of a pointwise judge are transitive, so all other comparisons follow from these.
    """

    name: ClassVar[str] = "pointwise"

    def comparisons(self, n: int) -> tuple[int, int]:
        """Returns the fewest and the most comparisons for n candidates."""
        count = min(n - 1, self.budget or n)
        return count, count

    def schedule(self, n: int, rng: np.random.Generator) -> Schedule:
        """Asks one round of (j, 0) for the other candidates j; rng is not used."""
        others = np.arange(1, self.comparisons(n)[0] + 1)
        asked = np.stack([others, np.zeros_like(others)], axis=1)  # [n - 1, 2]
        log_odds = (yield asked) if len(asked) else np.empty(0)
        return pointwise_standing(asked, log_odds, n, self.top)
