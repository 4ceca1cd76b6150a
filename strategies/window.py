"""A sliding window: good candidates rise from the end of the list to its head, as in bubble sort."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from strategies.base import Options, Schedule
from strategies.evidence import Evidence


@dataclass(frozen=True, kw_only=True)
class Window(Options):
    """Makes `top` passes over neighbours, from the last to the first, and swaps them if the later one is better
    (PRP-sliding-K; Qin et al.: Large language models are effective text rankers with pairwise ranking prompting, 2023).

    A pass starts two steps after the one before it, so that up to `top` pairs are asked in a round. Pairs that meet
    again are not asked again. It suits candidates in a good initial order, such as that of a retriever.
    """

    name: ClassVar[str] = "window"

    def comparisons(self, n: int) -> tuple[int, int]:
        """Returns the fewest and the most comparisons for n candidates."""
        most = sum(n - 1 - done for done in range(min(self.top, n)))
        return self._bounds(max(n - 1, 0), most)

    def schedule(self, n: int, rng: np.random.Generator) -> Schedule:
        """Makes the passes over n candidates; rng makes the choices of order "random"."""
        evidence = Evidence(n, self, rng)
        row = list(range(n))
        passes = min(self.top, n)
        for step in range(n - 1 + 2 * (passes - 1)):
            # Pass p compares place `at` with the place before it, down to the place that the pass fills.
            places = [at for p in range(passes) if p < (at := n - 1 - (step - 2 * p)) < n]
            if places:
                pairs = np.array([(row[at - 1], row[at]) for at in places], np.int64)
                leads = yield from evidence.ask(pairs)
                for at, stays in zip(places, evidence.first_wins(pairs, leads), strict=True):
                    if not stays:
                        row[at - 1], row[at] = row[at], row[at - 1]
        return evidence.standing()
