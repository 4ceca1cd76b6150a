"""Standings of many problems at once are those of each problem alone, to the last bit."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies import Active, RoundRobin, Standing
from strategies.base import FEW, FloatArray, Order
from strategies.posterior import standing
from strategies.together import standings


def same(one: Standing, other: Standing) -> bool:
    """Whether two standings are equal to the last bit."""
    arrays = zip((one.order, one.scores, one.p_best), (other.order, other.scores, other.p_best), strict=True)
    return all(a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in arrays) and (
        (one.decided, one.p_top) == (other.decided, other.p_top)
    )


def asked_of(strategy: Any, n: int) -> Any:
    asked = strategy.only_round(n)
    assert asked is not None
    return asked


def drawn(n: int, count: int, kind: str, seed: int) -> FloatArray:
    """Judgements [count, M] of all comparisons of n candidates, in both orders."""
    rng = np.random.default_rng(seed)
    asked = asked_of(RoundRobin(), n)
    quality = rng.normal(scale=3.0, size=(count, n))
    log_odds = quality[:, asked[:, 0]] - quality[:, asked[:, 1]]
    if kind == "noisy":
        log_odds += rng.normal(scale=rng.choice([0.01, 1.0, 30.0], size=(count, 1)), size=log_odds.shape)
    elif kind == "rounded":  # ties, and zeros of both signs
        log_odds = np.round(log_odds / 4) * rng.choice([-1.0, 1.0], size=log_odds.shape)
    elif kind == "failing":
        log_odds[rng.random(log_odds.shape) < 0.1] = np.nan
    elif kind == "infinite":
        log_odds[rng.random(log_odds.shape) < 0.1] = np.inf
    elif kind == "alone":  # one candidate far above the others, which have no chance
        log_odds += 1000.0 * ((asked[:, 0] == 1).astype(float) - (asked[:, 1] == 1)) + rng.normal(size=log_odds.shape)
    return np.asarray(log_odds, np.float64)


@pytest.mark.parametrize("n", range(2, FEW + 1))
@pytest.mark.parametrize("kind", ["transitive", "noisy", "rounded", "failing", "infinite", "alone"])
def test_all_at_once_is_each_alone(n: int, kind: str) -> None:
    asked, log_odds = asked_of(RoundRobin(), n), drawn(n, 70, kind, seed=n)  # more than a block
    for own, together in zip(log_odds, standings(asked, log_odds, n), strict=True):
        assert same(together, standing(asked, own, n))


@given(st.integers(3, 6), st.integers(0, 2**32 - 1), st.lists(st.integers(0, 199), min_size=1, max_size=5))
@settings(deadline=None, max_examples=50)
def test_a_standing_does_not_depend_on_its_company(n: int, seed: int, some: list[int]) -> None:
    asked, log_odds = asked_of(RoundRobin(), n), drawn(n, 200, "noisy", seed)
    whole = standings(asked, log_odds, n)
    assert all(same(whole[k], own) for k, own in zip(some, standings(asked, log_odds[some], n), strict=True))


@pytest.mark.parametrize("top", [2, 3])
def test_with_a_number_of_first_places(top: int) -> None:
    asked, log_odds = asked_of(RoundRobin(), 5), drawn(5, 3, "noisy", 0)
    together = standings(asked, log_odds, 5, top)
    assert all(same(one, standing(asked, own, 5, top)) for one, own in zip(together, log_odds, strict=True))


@pytest.mark.parametrize("strategy", [RoundRobin(), Active(), RoundRobin(order="fixed"), Active(order="fixed")])
@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_the_only_round_is_that_of_the_schedule(strategy: Any, n: int) -> None:
    schedule = strategy.schedule(n, np.random.default_rng(3))
    first = next(schedule)
    np.testing.assert_array_equal(asked_of(strategy, n), first)
    log_odds = np.random.default_rng(4).normal(size=len(first))
    with pytest.raises(StopIteration) as end:
        schedule.send(log_odds)
    assert same(end.value.value, standings(asked_of(strategy, n), log_odds[None], n)[0])


@pytest.mark.parametrize(
    ("strategy", "n"),
    [
        (RoundRobin(order="random"), 4), (RoundRobin(budget=6), 4), (RoundRobin(), FEW + 1), (RoundRobin(), 1),
        (Active(), 6), (Active(confidence=0.9), 4), (Active(order="random"), 4), (Active(budget=11), 4),
    ],
)  # fmt: skip
def test_what_chance_or_answers_decide_has_a_schedule(strategy: Any, n: int) -> None:
    assert strategy.only_round(n) is None


def test_a_budget_that_is_enough_changes_nothing() -> None:
    orders: list[Order] = ["both", "fixed"]
    for order in orders:
        assert RoundRobin(order=order, budget=12).only_round(4) is not None
        assert Active(order=order, budget=12).only_round(4) is not None
