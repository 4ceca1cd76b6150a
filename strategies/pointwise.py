"""For judges that answer by the difference of a quality: one comparison a candidate says all they know."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from strategies.aggregate import standing
from strategies.base import Schedule


@dataclass(frozen=True, kw_only=True)
class Pointwise:
    """Every other candidate against the first one: n - 1 comparisons in one round.

    The answers of a pointwise judge are transitive, so the comparisons that are not asked follow from these.
    """

    name: ClassVar[str] = "pointwise"

    def schedule(self, n: int, rng: np.random.Generator) -> Schedule:
        """One round of (j, 0) for all other j of n candidates; throws no coin."""
        others = np.arange(1, n)
        asked = np.stack([others, np.zeros_like(others)], axis=1)  # [n - 1, 2]
        log_odds = (yield asked) if len(asked) else np.empty(0)
        return standing(asked, log_odds, n)
