"""A knockout tournament: finds a winner with the fewest comparisons, n - 1 matches in about log2(n) rounds."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from strategies.base import Options, Schedule
from strategies.evidence import Evidence, led_by


@dataclass(frozen=True, kw_only=True)
class Knockout(Options):
    """Winners meet winners. The first seeds get byes in the first round, so that a power of two is left for the second.

    Attributes:
      best_of: how often a match is asked, for judges whose answers vary; a deterministic judge repeats its answer.
      shuffle: draw the seeds at random instead of by position.
    """

    name: ClassVar[str] = "knockout"
    best_of: int = 1
    shuffle: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.best_of < 1:
            raise ValueError(f"best_of is {self.best_of}; it must be 1 or more")

    def comparisons(self, n: int) -> tuple[int, int]:
        """Returns the fewest and the most comparisons for n candidates: 2 (n - 1) in both orders."""
        return self._bounds(n - 1, n - 1, self.best_of)

    def schedule(self, n: int, rng: np.random.Generator) -> Schedule:
        """Plays the rounds of one tournament of n candidates; rng makes the choices of order "random" and draws the
        seeds."""
        evidence = Evidence(n, self, rng)
        # In order of position, so that the first of a pair is the one with the lower index.
        alive = rng.permutation(n) if self.shuffle else np.arange(n)
        byes = (1 << (n - 1).bit_length()) - n
        while len(alive) > 1:
            pairs = alive[byes:].reshape(-1, 2)
            leads = yield from evidence.ask(pairs, self.best_of)
            winners = np.where(evidence.first_wins(pairs, leads), pairs[:, 0], pairs[:, 1])
            alive, byes = np.concatenate([alive[:byes], winners]), 0
        # The matches form a tree, on which least squares fits each match exactly: a winner's score exceeds
        # its loser's by the match's log-odds, which are not negative. Every other candidate lost to the
        # champion along a chain of matches, so the champion's score is the highest. It still has to be put first if a
        # match was tied (and won by evidence) or invalid (the tree is in parts, and `decided` is False).
        return led_by(alive, evidence.standing())
