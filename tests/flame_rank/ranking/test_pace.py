"""How many comparisons a judge is asked at once: what a kill may lose is not more than what a call costs."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame_rank.ranking.judge_runner import COMMIT
from flame_rank.ranking.pace import PAYS, QUICK, Pace


def calls(seconds: Callable[[int], float], count: int = 30) -> list[int]:
    """The sizes of a run's calls, by a judge that takes `seconds(comparisons)` for one."""
    pace, sizes = Pace(COMMIT), []
    for _ in range(count):
        sizes.append(pace.size)
        pace.took(pace.size, seconds(pace.size))
    return sizes


def test_a_slow_judge_is_asked_one_by_one() -> None:
    sizes = calls(lambda m: 10.0 * m)
    assert sizes[:4] == [1, 2, 1, 1] and set(sizes[2:]) == {1}  # two are tried, and cost twice as much


def test_a_quick_judge_is_asked_many() -> None:
    assert calls(lambda m: 0.001 * m)[:9] == [1, 2, 4, 8, 16, 32, 64, 128, 128]


def test_a_judge_that_takes_as_long_for_many_is_asked_many() -> None:
    assert set(calls(lambda m: 20.0)[7:]) == {128}


def test_a_judge_that_loads_something_first() -> None:
    first = iter([60.0])
    assert calls(lambda m: next(first, 0.0) + 0.01 * m)[-1] >= 64


def test_a_judge_that_takes_a_second_for_a_few() -> None:
    assert set(calls(lambda m: 0.2 * m)[5:]) == {8}  # 1.6 seconds; four would have been quick


@given(fixed=st.floats(0, 100), each=st.floats(0.0001, 100))
def test_no_more_is_asked_than_costs_no_more(fixed: float, each: float) -> None:
    size = calls(lambda m: fixed + each * m)[-1]
    half = size // 2
    if size > 1 and fixed + each * half >= QUICK:
        assert (fixed + each * size) / size <= PAYS * (fixed + each * half) / half
    if size < COMMIT:  # and not less than is quick, or cheaper together
        assert fixed + each * size >= QUICK and (fixed + 2 * each * size) / 2 > PAYS * (fixed + each * size)


@pytest.mark.parametrize("left", [1, 3, 127])
def test_a_call_for_what_is_left_changes_nothing(left: int) -> None:
    pace = Pace(COMMIT)
    for _ in range(10):
        pace.took(pace.size, 20.0)
    pace.took(left, 20.0)
    assert pace.size == 128
