"""Asks one comparison per candidate, which is enough for judges that answer by a difference of qualities."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from strategies.base import BELOW, BoolArray, FloatArray, IntArray, Options, Schedule, Standing
from strategies.posterior import pointwise_standing

_REFERENCES = 4  # candidates that the others are compared with, if the first ones cannot be rated


@dataclass(frozen=True, kw_only=True)
class Pointwise(Options):
    """Compares every other candidate with the first one: n - 1 comparisons in one round, whatever the order policy.

    The answers of a pointwise judge are transitive, so all other comparisons follow from these. If every one of them is
    invalid or infinite, that may be due to the first candidate alone: the next one takes its place. A candidate that
    the judge cannot rate is ranked last; the problem is undecided unless most can be rated.
    """

    name: ClassVar[str] = "pointwise"

    def comparisons(self, n: int) -> tuple[int, int]:
        """Returns the fewest and the most comparisons for n candidates, if the judge can rate the first one."""
        count = min(n - 1, self.budget or n)
        return count, count

    def schedule(self, n: int, rng: np.random.Generator) -> Schedule:
        """Asks rounds that compare all candidates with one of them, until a judgement is finite; rng is not used."""
        asked, log_odds = np.empty((0, 2), np.int64), np.empty(0)
        left = self.comparisons(n)[0]
        for reference in range(min(n, _REFERENCES)):
            others = np.delete(np.arange(n), reference)[:left]
            if not len(others):
                break
            pairs = np.stack([others, np.full_like(others, reference)], axis=1)  # [n - 1, 2]
            heard = yield pairs
            left -= 0 if self.budget is None else len(others)
            finite = bool(np.isfinite(heard).any())
            if finite or np.isnan(log_odds).all():
                asked, log_odds = pairs, heard
            if finite:
                break
        failed = asked[np.isnan(log_odds), 0]
        if len(asked) == n - 1 and 0 < 2 * len(failed) < n:
            rated = np.ones(n, bool)
            rated[failed] = False
            return _of_rated(asked, log_odds, rated, self.top)
        return pointwise_standing(asked, log_odds, n, self.top)


def _of_rated(asked: IntArray, log_odds: FloatArray, rated: BoolArray, top: int) -> Standing:
    """Returns the standing of the candidates that could be rated, and the others behind them."""
    number = np.cumsum(rated) - 1
    valid = ~np.isnan(log_odds)
    own = pointwise_standing(number[asked[valid]], log_odds[valid], int(rated.sum()), top)
    scores, p_best = np.full(len(rated), own.scores.min() - BELOW), np.zeros(len(rated))
    scores[rated], p_best[rated] = own.scores, own.p_best
    order = np.append(np.flatnonzero(rated)[own.order], np.flatnonzero(~rated))
    return replace(own, order=order, scores=scores, p_best=p_best, rated=rated)
