"""What the tasks share: majorities of annotators, and the rounding of their means."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.collection.tasks.base import majority, rounded_mean


@pytest.mark.parametrize(("ratings", "rounded"), [([1, 2], "2"), ([2, 3], "3"), ([0.5], "1"), ([2.4999], "2")])
def test_a_mean_halfway_between_two_goes_up(ratings: list[float], rounded: str) -> None:
    assert rounded_mean(ratings) == rounded


@given(st.lists(st.integers(0, 100), min_size=1, max_size=9))
def test_the_nearest_whole_number(ratings: list[int]) -> None:
    exact = Fraction(sum(ratings), len(ratings))
    assert rounded_mean(ratings) == str(math.floor(exact + Fraction(1, 2)))


def test_nothing_has_no_mean() -> None:
    with pytest.raises(ValueError, match="at least one"):
        rounded_mean([])


def test_majority() -> None:
    assert majority([1, 1, 2]) == 1 and majority(["a", "b"]) is None and majority([]) is None
