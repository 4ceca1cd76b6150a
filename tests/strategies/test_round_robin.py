"""Round-robin: ties and infinite answers."""

import numpy as np
from schedules import perfect, play

from strategies import RoundRobin


def test_infinite_log_odds_leave_scores_finite_and_ordered() -> None:
    result, _ = play(RoundRobin(), np.array([[0, np.inf, 1], [-np.inf, 0, 1], [-1, -1, 0]]))
    assert result.order.tolist() == [0, 2, 1] and np.isfinite(result.scores).all()


def test_ties_go_by_position_and_are_told() -> None:
    result, _ = play(RoundRobin(), perfect(np.array([1.0, 3, 2, 3, 1])))
    assert result.order.tolist() == [1, 3, 2, 0, 4]
    assert result.tied == [1, 3]


def test_the_last_digits_of_a_sum_break_no_tie() -> None:
    result, _ = play(RoundRobin(), perfect(np.array([0.3, 0.1 + 0.2])))
    assert result.scores[0] < result.scores[1]
    assert result.order.tolist() == [0, 1] == result.tied
