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
