"""Scores from log-odds and from wins: on any judge, on a perfect one, and beside choix and evalica."""

from collections.abc import Callable
from typing import Any

import choix
import evalica
import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from strategies import aggregate, graph
from strategies.aggregate import (
    ELO_SCALE,
    borda,
    bradley_terry,
    comparisons_of,
    copeland,
    count_wins,
    elo,
    margins,
    pagerank,
    rank_centrality,
    verdicts_of,
    win_rate,
    wins_of,
)
from strategies.base import FloatArray, IntArray

BY_WINS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "bradley_terry": bradley_terry,
    "pagerank": pagerank,
    "rank_centrality": rank_centrality,
}
SCORES: dict[str, Callable[[FloatArray], FloatArray]] = {  # each from log-odds [n, n]
    "copeland": copeland,
    "borda": borda,
    "win_rate": win_rate,
    "bradley_terry": lambda log_odds: bradley_terry(wins_of(log_odds)),
    "bradley_terry, verdicts": lambda log_odds: bradley_terry(verdicts_of(log_odds)),
    "pagerank, verdicts": lambda log_odds: pagerank(verdicts_of(log_odds)),
    "rank_centrality": lambda log_odds: rank_centrality(wins_of(log_odds)),
    "rank_centrality, verdicts": lambda log_odds: rank_centrality(verdicts_of(log_odds)),
    "elo": lambda log_odds: settled_elo(log_odds, passes=40),
}
SYMMETRIC = [name for name in SCORES if name != "elo"]  # the sequence of a matrix goes by position


def settled_elo(log_odds: FloatArray, passes: int) -> FloatArray:
    asked, outcomes = comparisons_of(log_odds)
    return elo(np.tile(asked, (passes, 1)), np.tile(outcomes, passes), len(log_odds), k=30)


def tables(least: int = 1, most: int = 7) -> st.SearchStrategy[FloatArray]:
    """Tables [n, n] of any answers, with ties, NaN and infinities among them."""
    answer = st.one_of(st.floats(-30, 30), st.sampled_from([0.0, 1.0, -1.0, 1e300, np.nan, np.nan, np.inf, -np.inf]))
    return st.integers(least, most).flatmap(
        lambda n: st.lists(answer, min_size=n * n, max_size=n * n).map(lambda a: np.array(a).reshape(n, n))
    )


def qualities(most: int = 12) -> st.SearchStrategy[FloatArray]:
    return st.integers(1, most).flatmap(lambda n: st.permutations(range(n)).map(lambda q: np.array(q) / 3))


def perfect(quality: FloatArray) -> FloatArray:
    """A judge's answers [n, n] when it knows the qualities [n]."""
    return quality[:, None] - quality[None, :]


def verdicts(seed: int, n: int = 12, m: int = 400, tie: float = 0.0) -> tuple[IntArray, FloatArray]:
    """Comparisons [m, 2] and outcomes [m] of n players, a share of them ties; so many that they are connected."""
    rng = np.random.default_rng(seed)
    quality = rng.normal(size=n)
    first = rng.integers(n, size=m)
    second = (first + rng.integers(1, n, size=m)) % n
    won = (rng.random(m) < expit(quality[first] - quality[second])).astype(float)
    return np.stack([first, second], axis=1), np.where(rng.random(m) < tie, 0.5, won)


def by_evalica(method: str, asked: IntArray, outcomes: FloatArray, **options: float) -> FloatArray:
    """A score of evalica's, by player: [n], the players being 0 to n - 1."""
    winner = {1.0: evalica.Winner.X, 0.0: evalica.Winner.Y, 0.5: evalica.Winner.Draw}
    winners = [winner[outcome] for outcome in outcomes.tolist()]
    result = getattr(evalica, method)(asked[:, 0].tolist(), asked[:, 1].tolist(), winners, **options)
    scores: FloatArray = result.scores.sort_index().to_numpy()
    return scores


def winners_and_losers(asked: IntArray, outcomes: FloatArray) -> list[tuple[int, int]]:
    return [tuple(pair) for pair in np.where(outcomes[:, None] == 1, asked, asked[:, ::-1]).tolist()]


@pytest.mark.parametrize("name", SCORES)
@given(table=tables())
@settings(deadline=None, max_examples=50)
def test_any_answers_give_finite_scores(name: str, table: FloatArray) -> None:
    before = table.copy()
    scores = SCORES[name](table)
    assert scores.shape == (len(table),) and scores.dtype == np.float64
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(table, before)


@pytest.mark.parametrize("name", SYMMETRIC)
@given(table=tables(), data=st.data())
@settings(deadline=None, max_examples=50)
def test_scores_follow_a_relabelling(name: str, table: FloatArray, data: st.DataObject) -> None:
    new = np.array(data.draw(st.permutations(range(len(table)))))
    before, after = SCORES[name](table), SCORES[name](table[np.ix_(new, new)])
    np.testing.assert_allclose(after, before[new], rtol=1e-9, atol=1e-7)


@given(seed=st.integers(0, 999), data=st.data())
@settings(deadline=None, max_examples=20)
def test_elo_follows_a_relabelling(seed: int, data: st.DataObject) -> None:
    asked, outcomes = verdicts(seed, n=6, m=30, tie=0.2)
    new = np.array(data.draw(st.permutations(range(6))))
    np.testing.assert_array_equal(elo(new[asked], outcomes, 6)[new], elo(asked, outcomes, 6))


@pytest.mark.parametrize("name", SCORES)
@given(quality=qualities())
@settings(deadline=None, max_examples=30)
def test_perfect_judge(name: str, quality: FloatArray) -> None:
    scores = SCORES[name](perfect(quality))
    np.testing.assert_array_equal(np.argsort(-scores), np.argsort(-quality))


@given(quality=qualities())
@settings(deadline=None, max_examples=30)
def test_methods_in_nats_recover_a_perfect_judges_qualities(quality: FloatArray) -> None:
    table, truth = perfect(quality), quality - quality.mean()
    np.testing.assert_allclose(borda(table) * (len(quality) - 1), truth * len(quality), atol=1e-7)
    np.testing.assert_allclose(bradley_terry(wins_of(table), prior=0), truth, atol=1e-7)
    np.testing.assert_allclose(rank_centrality(wins_of(table), prior=0), truth, atol=1e-7)
    np.testing.assert_allclose(settled_elo(table, 200), 1000 + ELO_SCALE * truth, atol=0.1)


@pytest.mark.parametrize("name", SCORES)
@given(n=st.integers(1, 6), offset=st.floats(-9, 9), data=st.data())
@settings(deadline=None, max_examples=30)
def test_a_bias_for_the_first_place_changes_nothing(name: str, n: int, offset: float, data: st.DataObject) -> None:
    answers = data.draw(st.lists(st.integers(-20, 20), min_size=n * n, max_size=n * n))
    table = np.array(answers, float).reshape(n, n) / 7
    missing = np.array(data.draw(st.lists(st.booleans(), min_size=n * n, max_size=n * n))).reshape(n, n)
    table[missing | missing.T] = np.nan  # both orders or none
    np.testing.assert_allclose(SCORES[name](table + offset), SCORES[name](table), rtol=1e-9, atol=1e-7)


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("value", [np.nan, 0.0, 3.0, np.inf])  # the same in both orders: a tie
def test_nothing_known_and_nothing_but_ties_leave_all_level(name: str, n: int, value: float) -> None:
    level = {"win_rate": 0.5, "pagerank, verdicts": 1 / n, "elo": 1000.0}.get(name, 0.0)
    np.testing.assert_allclose(SCORES[name](np.full((n, n), value)), np.full(n, level), atol=1e-12)


def test_margins_average_the_orders_or_take_the_one_that_is_valid() -> None:
    nan = np.nan
    table = np.array([[7.0, 3, 1, nan], [-1, 7, nan, nan], [nan, 2, 7, nan], [nan, nan, nan, nan]])
    expected = np.array([[nan, 2, 1, nan], [-2, nan, -2, nan], [-1, 2, nan, nan], [nan, nan, nan, nan]])
    np.testing.assert_array_equal(margins(table), expected)


def test_counts_by_hand() -> None:
    # 0 beats 1 by 2 nats and 2 by 1; 1 and 2 are even; 3 was compared with 0 alone, and lost by 3.
    table = np.full((4, 4), np.nan)
    table[0, 1], table[2, 0], table[1, 2], table[0, 3] = 2, -1, 0, 3
    np.testing.assert_array_equal(copeland(table), [3, -1, -1, -1])
    np.testing.assert_allclose(borda(table), [2, -1, -0.5, -3])
    np.testing.assert_allclose(win_rate(table), [1, 0.25, 0.25, 0])
    np.testing.assert_array_equal(verdicts_of(table), [[0, 1, 1, 1], [0, 0, 0.5, 0], [0, 0.5, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_allclose(wins_of(table)[:, 0], [0, expit(-2), expit(-1), expit(-3)])
    asked, outcomes = comparisons_of(table)
    assert asked.tolist() == [[0, 1], [0, 2], [0, 3], [1, 2]]
    np.testing.assert_allclose(outcomes, expit([2.0, 1, 3, 0]))


def test_comparisons_are_counted() -> None:
    asked = np.array([[0, 1], [1, 0], [0, 1], [2, 1], [2, 0]])
    wins = count_wins(asked, np.array([1, 0, 0.5, 0.25, np.nan]), 3)
    np.testing.assert_array_equal(wins, [[0, 2.5, 0], [0.5, 0, 0.75], [0, 0.25, 0]])
    empty = count_wins(np.empty((0, 2), np.int64), np.empty(0), 2)
    assert empty.dtype == np.float64 and not empty.any()
    assert elo(asked[4:], np.array([np.nan]), 3).tolist() == [1000, 1000, 1000]


@pytest.mark.parametrize("name", BY_WINS)
def test_the_diagonal_of_wins_is_ignored(name: str) -> None:
    wins = count_wins(*verdicts(0), 12)
    marked = wins + 5 * np.eye(12)
    np.testing.assert_array_equal(BY_WINS[name](marked), BY_WINS[name](wins))
    np.testing.assert_array_equal(marked, wins + 5 * np.eye(12))


@pytest.mark.parametrize("seed", range(5))
def test_bradley_terry_is_that_of_choix_and_evalica(seed: int) -> None:
    asked, outcomes = verdicts(seed)
    scores = bradley_terry(count_wins(asked, outcomes, 12), prior=0)
    np.testing.assert_allclose(scores, choix.ilsr_pairwise(12, winners_and_losers(asked, outcomes)), atol=1e-6)
    for tie in (0.0, 0.3):
        asked, outcomes = verdicts(seed, tie=tie)
        scores = bradley_terry(count_wins(asked, outcomes, 12), prior=0)
        strengths = np.log(by_evalica("bradley_terry", asked, outcomes, tolerance=1e-12, limit=10_000))
        np.testing.assert_allclose(scores, strengths - strengths.mean(), atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_rank_centrality_is_that_of_choix(seed: int) -> None:
    asked, outcomes = verdicts(seed)
    scores = rank_centrality(count_wins(asked, outcomes, 12), prior=0)
    np.testing.assert_allclose(scores, choix.rank_centrality(12, winners_and_losers(asked, outcomes)), atol=1e-6)


@pytest.mark.parametrize("prior", [0.01, 0.5, 3.0])
def test_rank_centrality_is_the_balance_of_its_walk(prior: float) -> None:
    wins = count_wins(*verdicts(0), 12)
    met = wins + wins.T > 0
    rates = np.where(met, (wins.T + prior) / (wins + wins.T + 2 * prior), 0)  # from the loser to the winner
    time = np.exp(rank_centrality(wins, prior=prior))
    np.testing.assert_allclose(time @ rates, time * rates.sum(axis=1))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("tie", [0.0, 0.3])
def test_elo_and_pagerank_are_those_of_evalica(seed: int, tie: float) -> None:
    asked, outcomes = verdicts(seed, tie=tie)
    wins = count_wins(asked, outcomes, 12)
    for k in (4.0, 32.0):
        np.testing.assert_allclose(elo(asked, outcomes, 12, k=k), by_evalica("elo", asked, outcomes, k=k), atol=1e-6)
    for damping in (0.85, 0.5):
        walked = by_evalica("pagerank", asked, outcomes, damping=damping, tolerance=1e-14, limit=10_000)
        np.testing.assert_allclose(pagerank(wins, damping=damping), walked, atol=1e-6)


def test_pagerank_of_one_without_a_loss_is_that_of_evalica() -> None:
    asked, outcomes = verdicts(1, n=6, m=60)
    outcomes = np.where(asked[:, 0] == 0, 1.0, np.where(asked[:, 1] == 0, 0.0, outcomes))
    walked = by_evalica("pagerank", asked, outcomes, tolerance=1e-14, limit=10_000)
    np.testing.assert_allclose(pagerank(count_wins(asked, outcomes, 6)), walked, atol=1e-6)


def test_pagerank_refuses_a_damping_without_a_solution() -> None:
    with pytest.raises(ValueError, match="below 1"):
        pagerank(np.zeros((2, 2)), damping=1.0)


@given(table=tables(), prior=st.sampled_from([1e-9, 1e-3, 0.1, 1.0, 1e3]))
@settings(deadline=None, max_examples=100)
def test_bradley_terry_is_the_maximum_of_its_posterior(table: FloatArray, prior: float) -> None:
    wins = wins_of(table)
    scores = bradley_terry(wins, prior=prior)
    expected = (wins + wins.T) * expit(scores[:, None] - scores[None, :])
    np.testing.assert_allclose(wins.sum(axis=1) - expected.sum(axis=1), prior * scores, atol=1e-8)


def test_one_verdict_under_the_ordinary_priors() -> None:
    wins = np.array([[0.0, 1], [0, 0]])
    assert expit(2 * bradley_terry(wins)[0]) == pytest.approx(0.9, abs=0.01)
    np.testing.assert_allclose(rank_centrality(wins), np.log(3) / 2 * np.array([1, -1]))  # 1.5 wins to 0.5


@pytest.mark.parametrize("prior", [1e-9, 1e-3])
def test_wins_of_very_different_sizes(prior: float) -> None:
    """Newton's whole steps would run in circles here."""
    wins = np.array([[0, 1e5, 0, 0.1], [1e3, 0, 1e-3, 1e-3], [0, 0, 0, 1e4], [0.1, 0, 1e4, 0]])
    scores = bradley_terry(wins, prior=prior)
    expected = (wins + wins.T) * expit(scores[:, None] - scores[None, :])
    np.testing.assert_allclose(wins.sum(axis=1) - expected.sum(axis=1), prior * scores, atol=1e-8)


def test_without_a_prior_parts_are_centred_each() -> None:
    wins = np.zeros((5, 5))
    wins[0, 3], wins[3, 0], wins[4, 1], wins[1, 4] = 3, 1, 1, 9
    truth = [np.log(3) / 2, np.log(9) / 2, 0, -np.log(3) / 2, -np.log(9) / 2]
    np.testing.assert_allclose(bradley_terry(wins, prior=0), truth, atol=1e-9)
    np.testing.assert_allclose(rank_centrality(wins, prior=0), truth, atol=1e-9)


@pytest.mark.parametrize("score", [bradley_terry, rank_centrality])
def test_without_a_prior_there_is_no_score_for_who_never_lost(score: Callable[..., FloatArray]) -> None:
    wins = np.array([[0.0, 1, 0], [0, 0, 2], [0, 1, 0]])
    with pytest.raises(ValueError, match="give a prior above 0"):
        score(wins, prior=0)
    scores = score(wins, prior=0.1)
    assert scores[0] > scores[1] > scores[2]


def test_rank_centrality_says_when_rates_underflow() -> None:
    wins = np.array([[0.0, 1, 0], [1e-200, 0, 1], [0, 1e-200, 0]])
    np.testing.assert_allclose(rank_centrality(wins, prior=0), 200 * np.log(10) * np.array([1, 0, -1]), atol=1e-9)
    new = [0, 2, 1]  # with the middle one last, its neighbours are 1e-400 of a game from one another
    with pytest.raises(ValueError, match="hardly ever"):
        rank_centrality(wins[np.ix_(new, new)], prior=0)


def test_a_long_chain_is_exact() -> None:
    n = 300
    wins = 3 * np.eye(n, k=1) + np.eye(n, k=-1)  # each beats the next one 3 to 1
    truth = np.log(3) * (np.arange(n)[::-1] - (n - 1) / 2)  # from 164 nats to -164
    np.testing.assert_allclose(bradley_terry(wins, prior=0), truth, atol=1e-7)
    np.testing.assert_allclose(rank_centrality(wins, prior=0), truth, atol=1e-7)


MATRIX: dict[str, list[Any]] = {  # argument -> functions
    "wins": [aggregate.bradley_terry, aggregate.pagerank, aggregate.rank_centrality],
    "log_odds": [
        aggregate.margins,
        aggregate.wins_of,
        aggregate.verdicts_of,
        aggregate.comparisons_of,
        aggregate.copeland,
        aggregate.borda,
        aggregate.win_rate,
        graph.beats,
        graph.cycles,
        graph.components,
        graph.top_cycle,
        graph.ranked_pairs,
        graph.kemeny,
    ],
}
BAD: list[Any] = [
    [[0.0, 1.0]],
    [0.0, 1.0],
    3.0,
    [[["a"]]],
    [["a", "b"], ["c", "d"]],
    [[0.0], [1.0, 2.0]],
    np.zeros((2, 2, 2)),
    None,
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: str(np.shape(bad)) if isinstance(bad, np.ndarray) else str(bad))
@pytest.mark.parametrize(("name", "f"), [(name, f) for name, fs in MATRIX.items() for f in fs])
def test_what_is_no_matrix_is_said(name: str, f: Any, bad: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name} (is not a matrix of numbers|has shape)"):
        f(bad)


@pytest.mark.parametrize(("name", "f"), [(name, f) for name, fs in MATRIX.items() for f in fs])
def test_lists_are_matrices(name: str, f: Any) -> None:
    plain = [[0, 2, 1], [1, 0, 3], [4, 1, 0]]
    one, other = f(plain), f(np.array(plain, float))
    if isinstance(one, nx.DiGraph):
        assert nx.utils.graphs_equal(one, other)
    else:
        np.testing.assert_equal(one, other)


@pytest.mark.parametrize("f", MATRIX["wins"])
def test_nan_is_not_played(f: Any) -> None:
    wins = np.array([[0, 2, 0], [1, 0, 0], [0, 0, 0]], float)
    np.testing.assert_array_equal(f(np.where(wins > 0, wins, np.nan)), f(wins))
    for bad in (-1.0, np.inf):
        with pytest.raises(ValueError, match=r"^wins has an entry that is negative or infinite"):
            f(np.where(wins == 1, bad, wins))


@pytest.mark.parametrize("f", [aggregate.count_wins, aggregate.elo])
def test_what_is_no_sequence_is_said(f: Any) -> None:
    assert f([], [], 2).shape in ((2,), (2, 2))
    np.testing.assert_array_equal(
        f([(0, 1), (1, 2)], [1, 0.5], 3), f(np.array([(0, 1), (1, 2)]), np.array([1, 0.5]), 3)
    )
    for asked, outcomes, said in (
        ([(0, 1, 2)], [1], "asked has shape"),
        ([(0.5, 1)], [1], "asked has shape"),
        ([(0, 3)], [1], "asked has a pair"),
        ([(-1, 0)], [1], "asked has a pair"),
        ([(1, 1)], [1], "asked has a pair"),
        ([(0, 1)], [1, 0], "outcomes has shape"),
        ([(0, 1)], [2], "outcomes has an entry"),
        ([(0, 1)], ["a"], "asked or outcomes"),
    ):
        with pytest.raises(ValueError, match=f"^{said}"):
            f(asked, outcomes, 3)
