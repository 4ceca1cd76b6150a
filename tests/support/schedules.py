"""Plays schedules on tables of answers."""

import numpy as np
from hypothesis import strategies as st

from strategies import Standing
from strategies.base import FloatArray, IntArray, Strategy


def play(strategy: Strategy, table: FloatArray, seed: int = 0) -> tuple[Standing, IntArray]:
    """Runs a schedule on the answers in table [n, n]; returns its standing and all it asked [M, 2]."""
    schedule = strategy.schedule(len(table), np.random.default_rng(seed))
    rounds = [np.empty((0, 2), np.int64)]
    try:
        asked = next(schedule)
        while True:
            assert asked.dtype == np.int64 and asked.ndim == 2 and len(asked) > 0
            rounds.append(asked)
            asked = schedule.send(table[asked[:, 0], asked[:, 1]])
    except StopIteration as end:
        return end.value, np.concatenate(rounds)


def perfect(quality: FloatArray) -> FloatArray:
    """A judge's answers [n, n] when it knows the qualities [n]."""
    return quality[:, None] - quality[None, :]


def tables(least: int = 1, most: int = 9) -> st.SearchStrategy[FloatArray]:
    """Tables [n, n] of any answers, with ties, NaN and infinities among them."""
    answer = st.one_of(st.floats(-30, 30), st.sampled_from([0.0, 1.0, -1.0, np.nan, np.inf, -np.inf]))
    return st.integers(least, most).flatmap(
        lambda n: st.lists(answer, min_size=n * n, max_size=n * n).map(lambda a: np.array(a).reshape(n, n))
    )


def connected(asked: IntArray, valid: FloatArray, n: int) -> bool:
    """Whether the valid comparisons reach every candidate from candidate 0; by the plainest walk."""
    reached = {0}
    for _ in range(n):
        for (i, j), ok in zip(asked.tolist(), valid.tolist(), strict=True):
            if ok and (i in reached or j in reached):
                reached |= {i, j}
    return len(reached) == n
