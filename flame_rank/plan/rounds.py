"""Computes the rounds of a strategy for n candidates, and groups rounds into calls of the judge as reranker.py does."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flame_rank.ranking.admission import has_room
from strategies.base import IntArray, Strategy


@dataclass(frozen=True, kw_only=True, eq=False)
class Rounds:
    """The rounds of one problem.

    Attributes:
      pairs: [M, 2] candidate indices for each round.
      certain: whether all problems with this number of candidates have these rounds; False if rounds depend on answers
        or on random choices.
    """

    pairs: list[IntArray]
    certain: bool


def rounds(strategy: Strategy, n: int) -> Rounds:
    """Plays a strategy on n candidates of random qualities, and returns its rounds."""
    pairs, again = (_played(strategy, n, seed) for seed in (0, 1))
    same = len(pairs) == len(again) and all(map(np.array_equal, pairs, again))
    coins = n > 1 and getattr(strategy, "order", "") == "random"
    return Rounds(pairs=pairs, certain=same and len(pairs) < 2 and not coins)


def _played(strategy: Strategy, n: int, seed: int) -> list[IntArray]:
    """Plays a schedule with answers that are small differences of random qualities, so that it is never sure of the
    best; returns its rounds [M, 2]."""
    rng = np.random.default_rng(seed)
    quality = rng.normal(scale=0.1, size=n)
    schedule = strategy.schedule(n, rng)
    played: list[IntArray] = []
    try:
        asked = next(schedule)
        while True:
            played.append(np.asarray(asked, np.int64).reshape(-1, 2))
            asked = schedule.send(quality[played[-1]] @ np.array([1.0, -1.0]))
    except StopIteration:
        return played


def calls(sizes: Sequence[Sequence[int]], batch: int, *, last: bool) -> tuple[list[list[int]], int]:
    """Groups rounds into calls of the judge.

    Args:
      sizes: for each problem the number of comparisons of each round.
      batch: the number of comparisons that are collected for one call, and of problems that are open at once.
      last: whether no problems follow; otherwise a call waits until it is full.

    Returns:
      For each call its rounds, numbered through all problems; and the number of problems that are done.
    """
    number = np.cumsum([0, *map(len, sizes)])  # of each problem's first round
    opened = deque[list[int]]()  # a problem, and how many of its rounds have been asked
    judge_calls: list[list[int]] = []
    begun = 0
    while True:
        pending = sum(sizes[k][r] for k, r in opened if r < len(sizes[k]))
        while begun < len(sizes) and has_room(len(opened), pending, batch):
            opened.append([begun, 0])
            pending += sum(sizes[begun][:1])
            begun += 1
        if not opened or (not last and has_room(len(opened), pending, batch)):
            return judge_calls, opened[0][0] if opened else begun
        together = []
        for progress in opened:
            k, r = progress
            if r < len(sizes[k]):
                together.append(int(number[k]) + r)
                progress[1] += 1
        if together:
            judge_calls.append(together)
        while opened and opened[0][1] == len(sizes[opened[0][0]]):
            opened.popleft()
