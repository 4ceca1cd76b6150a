"""A heap: finds the best K of n candidates with few more comparisons than are needed for the best one."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from strategies.base import FloatArray, IntArray, Options, Schedule
from strategies.evidence import Evidence

_Duels = Generator[tuple[int, int], bool, None]  # yields a pair to compare, is sent whether the first is better


@dataclass(frozen=True, kw_only=True)
class Heap(Options):
    """Every parent is better than its two children; the root is removed `top` times, and the heap is repaired each
    time.

    The heap is built level by level from the bottom, all parents of a level at once.
    """

    name: ClassVar[str] = "heap"

    def comparisons(self, n: int) -> tuple[int, int]:
        """Returns the fewest and the most comparisons for n candidates."""
        build = sum(2 * _height(i, n) for i in range(n // 2))
        taken = sum(2 * max(size.bit_length() - 1, 0) for size in range(n - 1, max(n - self.top, 0), -1))
        return self._bounds(max(n - 1, 0), min(build + taken, n * (n - 1) // 2))

    def schedule(self, n: int, rng: np.random.Generator) -> Schedule:
        """Builds one heap, then removes its roots; rng makes the choices of order "random"."""
        evidence = Evidence(n, self, rng)
        heap = list(range(n))
        for depth in range((n // 2).bit_length() - 1, -1, -1):
            parents = range((1 << depth) - 1, min((2 << depth) - 1, n // 2))
            yield from _at_once([_sift(heap, at) for at in parents], evidence)
        for _ in range(min(self.top, n) - 1):
            heap[0] = heap[-1]
            heap.pop()
            yield from _at_once([_sift(heap, 0)], evidence)
        return evidence.standing()


def _height(at: int, n: int) -> int:
    """Returns how many levels a parent may sink."""
    height = 0
    while (at := 2 * at + 1) < n:
        height += 1
    return height


def _sift(heap: list[int], at: int) -> _Duels:
    """Lets the candidate at this place sink until it is better than its children."""
    while (child := 2 * at + 1) < len(heap):
        if child + 1 < len(heap) and not (yield heap[child], heap[child + 1]):
            child += 1
        if (yield heap[at], heap[child]):
            return
        heap[at], heap[child] = heap[child], heap[at]
        at = child


def _at_once(siftings: list[_Duels], evidence: Evidence) -> Generator[IntArray, FloatArray, None]:
    """Runs the siftings of separate parts of the heap side by side, one round per step."""
    sent: list[bool | None] = [None] * len(siftings)
    while siftings:
        going, duels = [], []
        for sifting, answer in zip(siftings, sent, strict=True):
            try:
                duels.append(next(sifting) if answer is None else sifting.send(answer))
                going.append(sifting)
            except StopIteration:
                pass
        siftings = going
        if duels:
            pairs = np.array(duels, np.int64)
            leads = yield from evidence.ask(pairs)
            sent = evidence.first_wins(pairs, leads).tolist()
