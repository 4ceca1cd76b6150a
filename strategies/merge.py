"""Merge sort: finds a full order from about n log2(n) pairs, the fewest that suffice if the judge makes no mistakes."""

from collections import deque
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from strategies.base import Options, Schedule
from strategies.evidence import Evidence


@dataclass(frozen=True, kw_only=True)
class Merge(Options):
    """Sorted lists are merged two by two, all merges of a level at once: a round has one pair for each merge.

    The final order comes from all judgements together, so it differs from the sorted order if they contradict it.
    """

    name: ClassVar[str] = "merge"

    def comparisons(self, n: int) -> tuple[int, int]:
        """Returns the fewest and the most comparisons for n candidates."""
        sizes, least, most = [1] * n, 0, 0
        while len(sizes) > 1:
            for a, b in zip(sizes[::2], sizes[1::2], strict=False):
                least, most = least + min(a, b), most + a + b - 1
            sizes = [sum(sizes[i : i + 2]) for i in range(0, len(sizes), 2)]
        return self._bounds(least, most)

    def schedule(self, n: int, rng: np.random.Generator) -> Schedule:
        """Sorts n candidates level by level; rng makes the choices of order "random"."""
        evidence = Evidence(n, self, rng)
        lists = [[i] for i in range(n)]
        while len(lists) > 1 and evidence.room:
            merges = [_Merging(a, b) for a, b in zip(lists[::2], lists[1::2], strict=False)]
            while asking := [merging for merging in merges if merging.a and merging.b]:
                pairs = np.array([(merging.a[0], merging.b[0]) for merging in asking], np.int64)
                leads = yield from evidence.ask(pairs)
                for merging, first in zip(asking, evidence.first_wins(pairs, leads), strict=True):
                    merging.done.append((merging.a if first else merging.b).popleft())
            lists = [[*merging.done, *merging.a, *merging.b] for merging in merges] + lists[len(merges) * 2 :]
        return evidence.standing()


class _Merging:
    """Two sorted lists, best first, that are being merged into one."""

    def __init__(self, a: list[int], b: list[int]):
        self.a, self.b = deque(a), deque(b)
        self.done: list[int] = []
