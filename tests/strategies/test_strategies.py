"""Every strategy against simulated judges, and the scores against numpy's own least squares."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import strategies
from strategies import Active, Knockout, Pointwise, RoundRobin, Standing, Swiss, by_name
from strategies.base import FloatArray, IntArray, Order, Strategy, ordered
from strategies.observations import least_squares as fitted
from strategies.observations import observe
from strategies.posterior import pointwise_standing, posterior, shrunk_standing, standing

ALL: list[Strategy] = [
    *(by_name(name) for name in strategies.NAMES),
    *(by_name(name, order="random") for name in strategies.NAMES if name != "pointwise"),
    Knockout(order="fixed"),
    Knockout(shuffle=True),
    Active(order="fixed"),
    Active(confidence=0.9),
    Active(top=2),
    by_name("heap", top=3),
    by_name("window", top=3),
    by_name("pivot", leaders=2),
]
each = pytest.mark.parametrize("strategy", ALL, ids=repr)


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


def least_squares(asked: IntArray, log_odds: FloatArray, n: int) -> FloatArray:
    return fitted(observe(asked, log_odds, n))


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
    assert result.decided == connected(asked, ~np.isnan(table[asked[:, 0], asked[:, 1]]), n)


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


@pytest.mark.parametrize(("n", "rounds"), [(2, [2]), (5, [2, 4, 2]), (6, [4, 4, 2]), (8, [8, 4, 2])])
def test_knockout_has_byes_in_the_first_round_only(n: int, rounds: list[int]) -> None:
    schedule = Knockout().schedule(n, np.random.default_rng(0))
    asked = next(schedule)
    assert asked.min() == (1 << (n - 1).bit_length()) - n  # the first seeds sit out
    sizes = []
    with pytest.raises(StopIteration):
        while True:
            sizes.append(len(asked))
            asked = schedule.send(np.ones(len(asked)) * np.where(asked[:, 0] < asked[:, 1], 1, -1))
    assert sizes == rounds


@each
@given(table=tables(), budget=st.integers(1, 40))
@settings(deadline=None, max_examples=12)
def test_a_budget_is_kept(strategy: Strategy, table: FloatArray, budget: int) -> None:
    n = len(table)
    limited = replace(strategy, budget=budget)  # type: ignore[type-var]
    result, asked = play(limited, table)
    assert len(asked) <= budget
    assert sorted(result.order.tolist()) == list(range(n))
    assert result.decided == connected(asked, ~np.isnan(table[asked[:, 0], asked[:, 1]]), n)
    least, most = limited.comparisons(n)
    assert least <= len(asked) <= most or isinstance(strategy, Swiss)


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


def test_elimination_is_led_by_the_better_half_of_the_evidence() -> None:
    # The judge errs once, on the pair of the two best: a knockout is lost by it, and two losses are not had.
    table = perfect(np.array([6.0, 5, 2, 1, 0, -1, -2, -3]))
    table[0, 1], table[1, 0] = -0.5, 0.5
    assert play(Knockout(), table)[0].order[0] == 1
    assert play(by_name("double-elimination"), table)[0].order[0] == 0


@each
def test_one_candidate_is_decided_without_a_round(strategy: Strategy) -> None:
    result, asked = play(strategy, np.zeros((1, 1)))
    assert len(asked) == 0 and result.decided and result.tied == []
    assert result.order.tolist() == [0] and result.p_best.tolist() == [1] and result.scores.tolist() == [0]


def answered(asked: IntArray, heard: FloatArray, n: int) -> Standing:
    observed = observe(asked, heard, n)
    return shrunk_standing(observed, posterior(observed), 2)


@pytest.mark.parametrize("how", [standing, answered, pointwise_standing])
@given(table=tables(2, 7), data=st.data())
@settings(deadline=None, max_examples=60)
def test_standings_are_equivariant(how: Callable[..., Standing], table: FloatArray, data: st.DataObject) -> None:
    # A schedule knows candidates by their numbers only: what it asks depends on them by its seeding, what the answers
    # mean must not.
    n = len(table)
    pairs = np.argwhere(~np.eye(n, dtype=bool))
    asked = pairs[data.draw(st.lists(st.integers(0, len(pairs) - 1), max_size=2 * len(pairs), unique=True))]
    heard = table[asked[:, 0], asked[:, 1]]
    new = np.array(data.draw(st.permutations(range(n))))  # candidate i becomes new[i]
    before, after = how(asked, heard, n), how(new[asked][::-1], heard[::-1], n)
    large = max(1.0, float(np.abs(before.scores).max()))
    np.testing.assert_allclose(after.scores[new], before.scores, rtol=1e-6, atol=1e-9 * large)
    if large < 1e4:  # an infinite answer is a million nats: rounding in the sixth digit decides then
        np.testing.assert_allclose(after.p_best[new], before.p_best, rtol=1e-5, atol=1e-7)
    assert after.decided == before.decided


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


def test_complete_scores_are_row_means() -> None:
    table = np.array([[0.0, 1, 2], [-3, 0, 4], [1, 0, 0]])
    asked = np.array(list(permutations(range(3), 2)))
    halves = (table - table.T) / 2  # rows sum to 2.5, 0, -2.5
    scores = least_squares(asked, table[asked[:, 0], asked[:, 1]], 3)
    np.testing.assert_allclose(scores, halves.sum(1) / 3)
    np.testing.assert_allclose(scores, [2.5 / 3, 0, -2.5 / 3])


@given(
    n=st.integers(1, 7),
    data=st.data(),
)
@settings(deadline=None, max_examples=100)
def test_scores_are_numpys_least_squares(n: int, data: st.DataObject) -> None:
    """One order a pair at most, so that the rows of the design matrix are the observations themselves."""
    pairs = [(i, j) for i in range(n) for j in range(i)]
    picked = data.draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    asked = np.array(picked, np.int64).reshape(-1, 2)
    answers = st.one_of(st.floats(-9, 9), st.just(np.nan))
    log_odds = np.array(data.draw(st.lists(answers, min_size=len(asked), max_size=len(asked))), float)
    valid = ~np.isnan(log_odds)
    design = np.eye(n)[asked[valid, 0]] - np.eye(n)[asked[valid, 1]]
    expected = np.linalg.lstsq(design, log_odds[valid], rcond=None)[0]
    np.testing.assert_allclose(least_squares(asked, log_odds, n), expected, atol=1e-9)


def test_a_pair_with_one_valid_order_uses_that_one() -> None:
    asked = np.array([[0, 1], [1, 0], [1, 2], [2, 1]])
    scores = least_squares(asked, np.array([3.0, np.nan, 1.0, -2.0]), 3)
    np.testing.assert_allclose([scores[0] - scores[1], scores[1] - scores[2]], [3, 1.5])


def test_parts_without_a_judgement_between_them_are_centred_each() -> None:
    result = standing(np.array([[0, 2], [3, 1]]), np.array([2.0, 8.0]), 5)
    np.testing.assert_allclose(result.scores, [1, -4, -1, 4, 0], atol=1e-12)
    assert not result.decided


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


def test_knockout_tie_goes_to_the_evidence_then_to_position() -> None:
    # 0 beats 1 by 1 nat, 3 beats 2 by 5 nats, and 0 against 3 is even: 3 has the better evidence.
    quality = perfect(np.array([0.0, -1, -5, 0]))
    result, _ = play(Knockout(), quality)
    assert result.order[0] == 3 and result.tied == [0, 3]
    even, _ = play(Knockout(), np.zeros((4, 4)))
    assert even.order.tolist() == [0, 1, 2, 3] and even.tied == [0, 1, 2, 3]


def test_knockout_with_an_invalid_match_is_undecided_and_led_by_the_champion() -> None:
    table = perfect(np.array([0.0, -9, -5, -6]))  # 0 beats 1 by 9, 2 beats 3 by 1
    table[0, 2] = table[2, 0] = np.nan  # the final: 0 has more evidence
    result, _ = play(Knockout(), table)
    assert not result.decided and result.order[0] == 0
    swapped, _ = play(Knockout(), table[np.ix_([2, 3, 0, 1], [2, 3, 0, 1])])
    assert not swapped.decided and swapped.order[0] == 2


def test_order_policies() -> None:
    pairs = np.stack([np.zeros(200, np.int64), np.arange(1, 201)], axis=1)
    rng = np.random.default_rng(3)
    both = ordered(pairs, "both", rng)
    assert both[:4].tolist() == [[0, 1], [1, 0], [0, 2], [2, 0]] and len(both) == 400
    np.testing.assert_array_equal(ordered(pairs, "fixed", rng), pairs)
    coins = ordered(pairs, "random", rng)
    np.testing.assert_array_equal(np.sort(coins, axis=1), pairs)
    assert 60 < (coins[:, 0] == 0).sum() < 140
    again = ordered(pairs, "random", np.random.default_rng(4))
    np.testing.assert_array_equal(again, ordered(pairs, "random", np.random.default_rng(4)))
    assert not np.array_equal(again, coins)


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


def test_confidence_stops_when_two_rounds_in_a_row_are_sure() -> None:
    clear = perfect(20.0 * np.arange(16))
    _, asked = play(Active(confidence=0.9), clear)
    assert len(asked) == 64 + 8  # four comparisons a candidate, and one round more
    _, asked = play(Active(confidence=0.9), np.zeros((16, 16)))
    assert len(asked) == 240  # never sure
    _, asked = play(Active(confidence=0.9, budget=40), clear)
    assert len(asked) == 40
