"""Scores and posterior of many candidates, computed pair by pair, against the plainest computation with matrices."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schedules import perfect, play

import strategies.posterior
from strategies import by_name
from strategies.base import FloatArray, IntArray
from strategies.observations import LARGE, Observations, laplacian_of, least_squares, observe
from strategies.posterior import posterior

N = LARGE + 30
_CLOSE: dict[type, float] = {np.float64: 1e-9, np.float32: 1e-4, np.float16: 0.2}  # nats: roundings add up along a tree
KINDS = ("tree", "ring", "random", "parts", "star")


def pairs_of(kind: str, rng: np.random.Generator) -> IntArray:
    """Pairs [P, 2] of N candidates, in either order, none of them twice."""
    at = rng.permutation(N)
    others = np.array([rng.integers(i) for i in range(1, N)])
    pairs = {
        "tree": np.stack([at[1:], at[others]], axis=1),
        "ring": np.stack([at, np.roll(at, -1)], axis=1),
        "random": np.concatenate([np.stack([at, np.roll(at, step)], axis=1) for step in (1, 2, 7)]),
        "parts": np.concatenate([np.stack([part, np.roll(part, -1)], axis=1) for part in (at[:9], at[9:20])]),
        "star": np.stack([at[1:], np.full(N - 1, at[0])], axis=1),
    }
    return pairs[kind]


@st.composite
def judged(draw: st.DrawFn, noise: float) -> tuple[Observations, FloatArray]:
    """Observations of N candidates and their qualities [N]: judgements with so much noise."""
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    pairs = pairs_of(draw(st.sampled_from(KINDS)), rng)
    both = draw(st.sampled_from(["none", "some", "all"]))
    twice = {"none": pairs[:0], "some": pairs[::2], "all": pairs}[both]
    asked = np.concatenate([pairs, twice[:, ::-1]])
    quality = rng.normal(size=N)
    heard = quality[asked] @ np.array([1.0, -1.0]) + noise * rng.normal(size=len(asked))
    return observe(asked, heard, N), quality


def part_of(observed: Observations) -> IntArray:
    """[n], which part of the graph each candidate is in; by the powers of its matrix."""
    reach = laplacian_of(observed) != 0
    np.fill_diagonal(reach, True)
    for _ in range(9):  # 2 to the power of 9 steps
        reach = reach.astype(np.float32) @ reach.astype(np.float32) > 0
    return np.asarray(reach.argmax(axis=1), np.int64)


@given(made=judged(noise=1.0))
@settings(deadline=None, max_examples=25)
def test_scores_are_those_of_the_matrix(made: tuple[Observations, FloatArray]) -> None:
    observed, _ = made
    part = part_of(observed)
    flow = np.zeros(N)
    for (i, j), nats in zip(observed.pairs.tolist(), observed.log_odds.tolist(), strict=True):
        flow[i] += nats
        flow[j] -= nats
    expected = np.linalg.solve(laplacian_of(observed) + (part[:, None] == part), flow)
    np.testing.assert_allclose(least_squares(observed), expected, atol=1e-7)
    assert observed.decided == (part == 0).all()


@given(made=judged(noise=1.0))
@settings(deadline=None, max_examples=15)
def test_the_posterior_is_that_of_the_matrix(made: tuple[Observations, FloatArray]) -> None:
    observed, _ = made
    found = posterior(observed)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(strategies.posterior, "LARGE", N)
        exact = posterior(observed)
    assert exact.covariance is not None and found.covariance is None
    forest = len(observed.pairs) == N - 1  # messages are exact there, and close around cycles
    assert found.noise == pytest.approx(exact.noise, rel=0.01 if forest else 0.1)
    np.testing.assert_allclose(found.mean, exact.mean, atol=0.03 if forest else 0.2)
    np.testing.assert_allclose(found.p_best(), exact.p_best(), atol=0.01 if forest else 0.15)


@pytest.mark.parametrize("name", ["knockout", "active", "swiss", "pivot"])
@pytest.mark.parametrize("n", [LARGE, LARGE + 1])
def test_a_clear_winner_of_many_is_probably_the_best(name: str, n: int) -> None:
    _, asked = play(by_name(name), perfect(np.arange(n, dtype=float)))
    known = posterior(observe(asked, np.asarray(asked @ np.array([1.0, -1.0])), n))
    assert known.p_best().argmax() == n - 1 and known.p_best().max() > 0.6


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@given(made=judged(noise=0.0))
@settings(deadline=None, max_examples=15)
def test_a_judge_that_agrees_with_itself_is_taken_at_its_word(
    dtype: type, made: tuple[Observations, FloatArray]
) -> None:
    observed, quality = made
    rounded = observed.log_odds.astype(dtype).astype(np.float64)
    heard = Observations(pairs=observed.pairs, log_odds=rounded, single=observed.single, n=N)
    assert posterior(heard).consistent
    scores, part = least_squares(heard), part_of(heard)
    for head in np.unique(part):
        own = quality[part == head]
        np.testing.assert_allclose(scores[part == head], own - own.mean(), atol=_CLOSE[dtype])


@pytest.mark.parametrize("noise", [0.1, 1.0])
def test_a_judge_that_contradicts_itself_is_not(noise: float) -> None:
    rng = np.random.default_rng(0)
    pairs = pairs_of("random", rng)
    exact = rng.normal(size=N)[pairs] @ np.array([1.0, -1.0])
    assert not posterior(observe(pairs, exact + noise * rng.normal(size=len(pairs)), N)).consistent


def scores_from(asked: IntArray, log_odds: FloatArray, n: int) -> FloatArray:
    return least_squares(observe(asked, log_odds, n))


def test_complete_scores_are_row_means() -> None:
    table = np.array([[0.0, 1, 2], [-3, 0, 4], [1, 0, 0]])
    asked = np.array(list(permutations(range(3), 2)))
    halves = (table - table.T) / 2  # rows sum to 2.5, 0, -2.5
    scores = scores_from(asked, table[asked[:, 0], asked[:, 1]], 3)
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
    np.testing.assert_allclose(scores_from(asked, log_odds, n), expected, atol=1e-9)


def test_a_pair_with_one_valid_order_uses_that_one() -> None:
    asked = np.array([[0, 1], [1, 0], [1, 2], [2, 1]])
    scores = scores_from(asked, np.array([3.0, np.nan, 1.0, -2.0]), 3)
    np.testing.assert_allclose([scores[0] - scores[1], scores[1] - scores[2]], [3, 1.5])
