"""A knockout in which every candidate may lose once: twice the comparisons, and one bad judgement eliminates nobody."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from strategies.base import IntArray, Options, Schedule
from strategies.evidence import Evidence


@dataclass(frozen=True, kw_only=True)
class DoubleElimination(Options):
    """In each round the unbeaten candidates meet each other, and so do those with one loss; two losses eliminate.

    At the end the last unbeaten candidate meets the last of the others. If it loses, it is eliminated at once, because
    asking the same pair again would give the same answer.
    """

    name: ClassVar[str] = "double-elimination"

    def comparisons(self, n: int) -> tuple[int, int]:
        """Returns the fewest and the most comparisons for n candidates; pairs that meet again are not asked again."""
        return self._bounds(n - 1, min(max(2 * n - 2, 0), n * (n - 1) // 2))

    def schedule(self, n: int, rng: np.random.Generator) -> Schedule:
        """Plays the rounds of one tournament of n candidates; rng makes the choices of order "random"."""
        evidence = Evidence(n, self, rng)
        losses = np.zeros(n, np.int64)
        while (losses < 2).sum() > 1:
            unbeaten, once = np.flatnonzero(losses == 0), np.flatnonzero(losses == 1)
            pairs = [*_halves(unbeaten, evidence), *_halves(once, evidence)] or [(unbeaten[0], once[0])]
            final = len(unbeaten) == len(once) == 1
            matches = np.array(pairs, np.int64)
            leads = yield from evidence.ask(matches)
            losers = np.where(evidence.first_wins(matches, leads), matches[:, 1], matches[:, 0])
            losses[losers] += 2 if final else 1
        return evidence.standing()  # by all judgements: better than naming the last one left (docs/strategies.md)


def _halves(group: IntArray, evidence: Evidence) -> list[tuple[int, int]]:
    """Pairs the members of a group, the strongest so far with the weakest; if their number is odd, the strongest
    rests."""
    ranked = group[np.argsort(-evidence.total[group], kind="stable")][len(group) % 2 :]
    half = len(ranked) // 2
    return list(zip(ranked[:half].tolist(), ranked[::-1][:half].tolist(), strict=True))
