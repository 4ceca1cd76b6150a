"""A judge that rates candidates: what it cannot rate is last, and does not decide about the others."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import Pointwise
from strategies.base import Standing

QUALITIES = np.array([0.5, 2.0, -1.0, 0.0, 1.0])


def ranked(quality: Any, **options: Any) -> tuple[Standing, int]:
    """The standing by qualities, NaN for a candidate that cannot be rated; and the number of comparisons."""
    quality = np.asarray(quality, np.float64)
    schedule = Pointwise(**options).schedule(len(quality), np.random.default_rng(0))
    answers, asked = None, 0
    while True:
        try:
            pairs = next(schedule) if answers is None else schedule.send(answers)
        except StopIteration as end:
            return end.value, asked
        asked += len(pairs)
        answers = quality[pairs[:, 0]] - quality[pairs[:, 1]]


@pytest.mark.parametrize("failed", [(0,), (3,), (0, 1), (1, 4)])
def test_the_others_are_ranked(failed: tuple[int, ...]) -> None:
    quality = QUALITIES.copy()
    quality[list(failed)] = np.nan
    standing, _ = ranked(quality)
    valid = [i for i in np.argsort(-QUALITIES) if i not in failed]
    assert standing.decided and standing.order.tolist() == [*valid, *failed]
    own = np.exp(QUALITIES[valid])
    np.testing.assert_allclose(standing.p_best[valid], own / own.sum())
    assert standing.rated is not None and np.flatnonzero(~standing.rated).tolist() == [*failed]
    assert (standing.p_best[[*failed]] == 0).all()
    assert standing.scores[[*failed]].max() < standing.scores[valid].min()


def test_too_few_are_undecided() -> None:
    for quality in ([np.nan, 1.0], [np.nan, np.nan, 1.0], [1.0, np.nan, np.nan, 2.0], [np.nan] * 6):
        standing, _ = ranked(quality)
        assert not standing.decided and sorted(standing.order) == [*range(len(quality))]


def test_what_is_asked() -> None:
    assert ranked(QUALITIES)[1] == 4 and ranked(QUALITIES, budget=2)[1] == 2
    assert ranked([np.nan, *QUALITIES])[1] == 2 * 5
    assert ranked([np.nan, *QUALITIES], budget=5)[1] == 5
    assert ranked([np.nan] * 50)[1] == 4 * 49
    assert not ranked([1.0, np.nan, 2.0, 3.0], budget=2)[0].decided


@given(st.lists(st.one_of(st.none(), st.floats(-9, 9)), min_size=1, max_size=9))
def test_any_may_fail(given: list[float | None]) -> None:
    quality = np.array([np.nan if value is None else value for value in given])
    standing, _ = ranked(quality)
    assert sorted(standing.order.tolist()) == [*range(len(quality))]
    assert standing.p_best.sum() == pytest.approx(1) and np.isfinite(standing.scores).all()
    lost = int(np.isnan(quality).sum())
    if standing.decided and lost and len(quality) > 1:
        assert 2 * lost < len(quality) and np.isnan(quality[standing.order[-lost:]]).all()
    elif 2 * lost < len(quality) and lost < 4:
        assert standing.decided


def test_a_first_candidate_of_endless_quality_does_not_level_the_others() -> None:
    result, asked = ranked([-np.inf, 1.0, 4.0])
    assert result.order.tolist() == [2, 1, 0] and result.decided and asked == 4
