"""The active strategy: when it stops."""

import numpy as np
from schedules import perfect, play

from strategies import Active


def test_confidence_stops_when_two_rounds_in_a_row_are_sure() -> None:
    clear = perfect(20.0 * np.arange(16, dtype=np.float64))
    _, asked = play(Active(confidence=0.9), clear)
    assert len(asked) == 64 + 8  # four comparisons a candidate, and one round more
    _, asked = play(Active(confidence=0.9), np.zeros((16, 16)))
    assert len(asked) == 240  # never sure
    _, asked = play(Active(confidence=0.9, budget=40), clear)
    assert len(asked) == 40


def test_a_pair_is_asked_once_in_a_random_order() -> None:
    # Almost all pairs: in the end those are asked that no leader is in.
    _, asked = play(Active(order="random", budget=3158), np.random.default_rng(0).normal(size=(80, 80)))
    assert len(np.unique(np.sort(asked, axis=1), axis=0)) == len(asked) == 3158
