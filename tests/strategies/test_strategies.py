"""Every strategy against simulated judges, and strategies by name."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schedules import connected, perfect, play, tables

import strategies
from strategies import Active, Knockout, Pointwise, RoundRobin, Swiss, by_name
from strategies.base import Counted, FloatArray, Options, Order, Strategy

ALL: list[Counted] = [
    *(by_name(name) for name in strategies.NAMES),
    *(by_name(name, order="random") for name in strategies.NAMES if name != "pointwise"),
    *(by_name(name, order="fixed") for name in strategies.NAMES if name != "pointwise"),
    Knockout(shuffle=True),
    Active(confidence=0.9),
    Active(top=2),
    by_name("heap", top=3),
    by_name("window", top=3),
    by_name("pivot", leaders=2),
]
each = pytest.mark.parametrize("strategy", ALL, ids=repr)


@each
@given(table=tables())
@settings(deadline=None, max_examples=20)
def test_any_answers_give_a_whole_standing(strategy: Strategy, table: FloatArray) -> None:
    n = len(table)
    result, asked = play(strategy, table)
    assert sorted(result.order.tolist()) == list(range(n))
    assert np.isfinite(result.scores).all() and result.scores.shape == (n,)
    assert result.p_best.shape == (n,) and (result.p_best >= 0).all()
    assert result.p_best.sum() == pytest.approx(1)
    assert (asked[:, 0] != asked[:, 1]).all()
    assert len(np.unique(asked, axis=0)) == len(asked)
    if isinstance(strategy, Options) and strategy.order == "fixed":
        assert (asked[:, 0] < asked[:, 1]).all()
    valid = ~np.isnan(table[asked[:, 0], asked[:, 1]])
    if result.rated is None:
        assert result.decided == connected(asked, valid, n)
    else:  # the others cannot be compared with any of these
        number = np.cumsum(result.rated) - 1
        assert isinstance(strategy, Pointwise) and result.decided and 2 * result.rated.sum() > n
        assert connected(number[asked[valid]], valid[valid], int(result.rated.sum()))


@pytest.mark.parametrize("name", strategies.NAMES)
@given(
    qualities=st.lists(st.integers(0, 9), min_size=2, max_size=14),
    power=st.floats(-3, 7),
    top=st.integers(1, 3),
    data=st.data(),
)
@settings(deadline=None)
def test_log_odds_of_any_size(name: str, qualities: list[int], power: float, top: int, data: st.DataObject) -> None:
    quality, n = 10**power * np.array(qualities, float), len(qualities)
    table = quality[:, None] - quality
    odd = st.sampled_from([np.inf, -np.inf, np.nan, 1e300, 0.0])
    for i, j in data.draw(st.lists(st.tuples(*[st.integers(0, n - 1)] * 2), max_size=4)):
        table[i, j] = data.draw(odd)
    result, _ = play(by_name(name, top=min(top, n)), table)
    assert np.isfinite(result.scores).all() and result.p_best.sum() == pytest.approx(1)
    assert result.p_top is None or 0 <= result.p_top <= 1


@each
@given(n=st.integers(2, 40), data=st.data())
@settings(deadline=None, max_examples=12)
def test_perfect_judge(strategy: Strategy, n: int, data: st.DataObject) -> None:
    quality = np.array(data.draw(st.permutations(range(n))), float) / 3
    result, _ = play(strategy, perfect(quality))
    assert result.decided and result.tied == []
    truth = np.argsort(-quality)
    np.testing.assert_array_equal(result.order, truth)
    np.testing.assert_allclose(result.scores, quality - quality.mean(), atol=1e-8)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 33])
def test_comparisons_are_counted_exactly(n: int) -> None:
    table = perfect(np.sin(np.arange(n)))
    asked = {repr(s): len(play(s, table)[1]) for s in ALL}
    for s in ALL:
        least, most = s.comparisons(n)
        assert least <= asked[repr(s)] <= most
    assert asked[repr(by_name("swiss"))] <= 2 * (n // 2) * (n - 1).bit_length()
    assert asked[repr(by_name("active"))] == min(4 * n, n * (n - 1))
    assert asked[repr(RoundRobin())] == n * (n - 1)
    assert asked[repr(RoundRobin(order="random"))] == n * (n - 1) // 2
    assert asked[repr(Knockout())] == 2 * (n - 1)
    assert asked[repr(Knockout(order="fixed"))] == asked[repr(Pointwise())] == n - 1


@each
@given(table=tables(), budget=st.integers(1, 40))
@settings(deadline=None, max_examples=12)
def test_a_budget_is_kept(strategy: Options, table: FloatArray, budget: int) -> None:
    n = len(table)
    limited = replace(strategy, budget=budget)
    assert isinstance(limited, Strategy)
    result, asked = play(limited, table)
    assert len(asked) <= budget
    assert sorted(result.order.tolist()) == list(range(n))
    valid = ~np.isnan(table[asked[:, 0], asked[:, 1]])
    if result.rated is None:
        assert result.decided == connected(asked, valid, n)
    else:  # the others cannot be compared with any of these
        number = np.cumsum(result.rated) - 1
        assert isinstance(strategy, Pointwise) and result.decided and 2 * result.rated.sum() > n
        assert connected(number[asked[valid]], valid[valid], int(result.rated.sum()))
    least, most = limited.comparisons(n)
    assert least <= len(asked) <= most or isinstance(strategy, Swiss)


@given(n=st.integers(1, 20), budget=st.integers(1, 60), order=st.sampled_from(["both", "fixed"]))
@settings(deadline=None, max_examples=20)
def test_a_budget_counts_repeated_matches(n: int, budget: int, order: Order) -> None:
    thrice = Knockout(best_of=3, budget=budget, order=order)
    _, asked = play(thrice, perfect(np.sin(np.arange(n))))
    assert thrice.comparisons(n) == (len(asked), len(asked))


@pytest.mark.parametrize("name", ["round-robin", "active", "pivot", "swiss"])
def test_a_third_of_the_budget_is_spread_over_all(name: str) -> None:
    result, asked = play(by_name(name, budget=40), perfect(np.sin(np.arange(10))))
    assert result.decided and np.bincount(asked.ravel(), minlength=10).min() >= 2


@each
def test_the_seed_is_all_there_is_of_chance(strategy: Strategy) -> None:
    table = np.random.default_rng(1).normal(size=(9, 9))
    (one, asked), (two, again) = play(strategy, table, 5), play(strategy, table, 5)
    np.testing.assert_array_equal(asked, again)
    np.testing.assert_array_equal(one.p_best, two.p_best)


@pytest.mark.parametrize("n", [300, pytest.param(1500, marks=pytest.mark.full)])
def test_many_candidates(n: int) -> None:
    table = perfect(np.random.default_rng(0).permutation(n) / 10)
    for name in ("active", "knockout", "swiss", "heap"):
        result, _ = play(by_name(name, budget=4 * n), table)
        assert result.order[0] == table[:, 0].argmax() and result.p_best.sum() == pytest.approx(1)


@each
def test_one_candidate_is_decided_without_a_round(strategy: Strategy) -> None:
    result, asked = play(strategy, np.zeros((1, 1)))
    assert len(asked) == 0 and result.decided and result.tied == []
    assert result.order.tolist() == [0] and result.p_best.tolist() == [1] and result.scores.tolist() == [0]


@each
@given(log_odds=st.floats(-300, 300))
@settings(deadline=None, max_examples=12)
def test_two_candidates_have_the_judges_own_probability(strategy: Strategy, log_odds: float) -> None:
    result, _ = play(strategy, np.array([[0, log_odds], [-log_odds, 0]]))
    sigmoid = np.exp(-np.logaddexp(0, [-log_odds, log_odds]))
    np.testing.assert_allclose(result.p_best, sigmoid, rtol=1e-9)


@each
def test_two_candidates_and_a_bias_for_the_first_place(strategy: Strategy) -> None:
    table = np.array([[0, 1.5], [0.5, 0]])  # one nat of bias, half a nat for candidate 0
    result, asked = play(strategy, table)
    expected = 0.5 if len(asked) == 2 else 1.5 if asked[0, 0] == 0 else -0.5
    assert result.scores[0] - result.scores[1] == pytest.approx(expected)


@pytest.mark.parametrize("name", strategies.NAMES)
def test_by_name(name: str) -> None:
    assert by_name(name).name == name


def test_by_name_passes_options_and_names_the_nearest() -> None:
    order: Order = "fixed"
    assert by_name("knockout", order=order) == Knockout(order="fixed")
    with pytest.raises(ValueError, match=r"round-robin, knockout, .*, pointwise; did you mean 'knockout'"):
        by_name("knock-out")
    with pytest.raises(ValueError, match="both, random, fixed"):
        by_name("round-robin", order="sideways")


def test_importing_strategies_imports_no_numpy() -> None:
    code = "import strategies, sys; strategies.NAMES; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
