"""A Swiss tournament: no candidate is eliminated, and each meets opponents of similar score."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from strategies.base import IntArray, Options, Schedule
from strategies.evidence import Evidence


@dataclass(frozen=True, kw_only=True)
class Swiss(Options):
    """In each round, neighbours by score meet if they have not met before; if n is odd, the candidates rest in turn.

    Attributes:
      rounds: number of rounds; None = log2(n), rounded up, as many as a knockout has.
    """

    name: ClassVar[str] = "swiss"
    rounds: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rounds is not None and self.rounds < 1:
            raise ValueError(f"rounds is {self.rounds}; it must be 1 or more")

    def comparisons(self, n: int) -> tuple[int, int]:
        """Returns the fewest and the most comparisons for n candidates; fewer if the last rounds find no new
        opponents."""
        most = min(self._rounds(n) * (n // 2), n * (n - 1) // 2)
        return self._bounds(n // 2, most)

    def schedule(self, n: int, rng: np.random.Generator) -> Schedule:
        """Plays rounds of n / 2 matches; rng draws the first round's pairs and makes the choices of order "random"."""
        evidence = Evidence(n, self, rng)
        rested = np.zeros(n, np.int64)
        ranked = rng.permutation(n)
        for _ in range(self._rounds(n)):
            if n % 2:
                out = min(ranked[::-1].tolist(), key=lambda i: rested[i])
                rested[out] += 1
            pairs = _neighbours(ranked[ranked != out] if n % 2 else ranked, evidence)
            if len(pairs) == 0 or not evidence.room:
                break
            yield from evidence.ask(pairs)
            ranked = evidence.standing().order
        return evidence.standing()

    def _rounds(self, n: int) -> int:
        return self.rounds or max(n - 1, 0).bit_length()


def _neighbours(ranked: IntArray, evidence: Evidence) -> IntArray:
    """Pairs candidates [P, 2] from the top down: each with the next one that it has not met."""
    # a dict, from which the first and any other are removed in constant time
    waiting = OrderedDict.fromkeys(ranked.tolist())
    pairs = []
    while waiting:
        first, _ = waiting.popitem(last=False)
        second = next((j for j in waiting if not evidence.knows(first, j)), None)
        if second is not None:
            del waiting[second]
            pairs.append((first, second))
    return np.array(pairs, np.int64).reshape(-1, 2)
