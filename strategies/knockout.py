"""A knockout tournament: the fewest comparisons that find a winner, n - 1 matches in about log2(n) rounds."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from strategies.aggregate import clipped, standing
from strategies.base import FloatArray, IntArray, Order, Schedule, check_order, ordered


@dataclass(frozen=True, kw_only=True)
class Knockout:
    """Winners meet winners; byes in the first round, to the first seeds, leave a power of two for the second.

    Attributes:
      order: the order policy of a match; "both" asks 2 (n - 1) comparisons, the others n - 1.
    """

    name: ClassVar[str] = "knockout"
    order: Order = "both"

    def __post_init__(self) -> None:
        check_order(self.order)

    def schedule(self, n: int, rng: np.random.Generator) -> Schedule:
        """The rounds of one tournament of n candidates; rng throws the coins of order "random"."""
        rounds: list[IntArray] = [np.empty((0, 2), np.int64)]
        answers: list[FloatArray] = [np.empty(0)]
        evidence = np.zeros(n)  # sum of a candidate's log-odds so far
        alive = np.arange(n)  # in order of position, so that the first of a pair is the one with the lower index
        byes = (1 << (n - 1).bit_length()) - n
        while len(alive) > 1:
            pairs = alive[byes:].reshape(-1, 2)
            asked = ordered(pairs, self.order, rng)
            log_odds = yield asked
            rounds.append(asked)
            answers.append(log_odds)
            lead = _leads(asked, log_odds, len(pairs))  # [P], 0 where tied or invalid
            level = evidence[pairs[:, 0]] >= evidence[pairs[:, 1]]
            first_wins = np.where(lead == 0, level, lead > 0)
            evidence[pairs] += np.stack([lead, -lead], axis=1)
            alive = np.concatenate([alive[:byes], np.where(first_wins, pairs[:, 0], pairs[:, 1])])
            byes = 0
        # The matches form a tree, on which least squares fits each match exactly: a winner's score exceeds
        # its loser's by the match's log-odds, which are not negative. Everyone lost to the champion along a
        # chain of matches, so the champion's score is the highest. It still has to be put first where a match
        # was tied (won by evidence) or invalid (the tree fell apart, and `decided` is False).
        result = standing(np.concatenate(rounds), np.concatenate(answers), n)
        champion = alive[0]
        others = result.order[result.order != champion]
        return replace(result, order=np.concatenate([alive, others]))


def _leads(asked: IntArray, log_odds: FloatArray, matches: int) -> FloatArray:
    """Mean log-odds [matches], of its valid comparisons, that a match's first candidate is the better one."""
    towards = clipped(np.where(asked[:, 0] < asked[:, 1], log_odds, -log_odds)).reshape(matches, -1)
    known = ~np.isnan(towards)
    total = np.where(known, towards, 0.0).sum(axis=1)
    lead: FloatArray = total / np.maximum(known.sum(axis=1), 1)
    return lead
