"""One problem's tournament: distinct texts, ties, certainty, and what random choices depend on."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorders import COINS, THREE, Recorder, same

from flame_rank.errors import UserError
from flame_rank.ranking.reranker import Reranker
from flame_rank.records import Problem, Ranking
from strategies import standing
from strategies.base import Schedule


@pytest.mark.parametrize("candidates", [["only"], ["same", "same", "same"]])
@pytest.mark.parametrize("strategy", ["round-robin", "knockout", "pointwise"])
def test_one_text_asks_nothing(candidates: list[str], strategy: str) -> None:
    judge = Recorder()
    ranking = Reranker(judge, strategy).rank("p", candidates)
    n = len(candidates)
    assert judge.calls == [] and ranking.comparisons == 0 and ranking.reasons == ()
    assert ranking.order == list(range(n)) and ranking.best == candidates[0] and ranking.decided
    assert ranking.p_best.tolist() == pytest.approx([1] * n)
    assert ranking.tied == []  # one text stands alone


@given(
    texts=st.lists(st.sampled_from(["a", "bb", "ccc", "dddd"]), min_size=1, max_size=8),
    strategy=st.sampled_from(["round-robin", "knockout"]),
)
@settings(deadline=None, max_examples=60)
def test_duplicates_are_judged_once_and_stand_together(texts: list[str], strategy: str) -> None:
    judge, alone = Recorder(), Recorder()
    ranking = Reranker(judge, strategy).rank("p", texts)
    distinct = list(dict.fromkeys(texts))
    single = Reranker(alone, strategy).rank("p", distinct)
    assert judge.pairs == alone.pairs and all(a != b for a, b in judge.pairs)
    assert ranking.comparisons == single.comparisons == len(judge.pairs)
    # In the order of their texts, and those of one text in the order of the input.
    assert ranking.order == [i for k in single.order for i, text in enumerate(texts) if text == distinct[k]]

    def of(i: int, texts: list[str]) -> list[int]:
        option = single.option
        assert option is not None
        return [j for j, text in enumerate(texts) if option[distinct.index(text)] == option[distinct.index(texts[i])]]

    for i, text in enumerate(texts):
        k = distinct.index(text)
        assert ranking.scores[i] == single.scores[k]
        assert ranking.standing.p_best[i] == pytest.approx(single.standing.p_best[k] / texts.count(text))
        assert ranking.p_best[i] == pytest.approx(sum(ranking.standing.p_best[j] for j in of(i, texts)))


def test_p_top_is_that_of_distinct_texts() -> None:
    found = [
        Reranker(Recorder(), "swiss", top=2).rank("p", texts) for texts in (["a", "bbb", "cc"], ["a", "a", "bbb", "cc"])
    ]
    assert found[0].standing.p_top == found[1].standing.p_top is not None


@given(log_odds=st.floats(-30, 30), strategy=st.sampled_from(["round-robin", "knockout", "pointwise"]))
@settings(deadline=None, max_examples=40)
def test_two_candidates_have_the_judges_own_probability(log_odds: float, strategy: str) -> None:
    judge = Recorder(lambda problem, a, b: log_odds if a < b else -log_odds, pointwise=strategy == "pointwise")
    ranking = Reranker(judge, strategy).rank("p", ["a", "b"])
    assert ranking.p_best[0] == pytest.approx(1 / (1 + math.exp(-log_odds)), rel=1e-9)


def test_ties_go_by_position_and_are_told() -> None:
    ranking = Reranker(Recorder()).rank("p", ["a", "bb", "c", "dd"])
    assert ranking.order == [1, 3, 0, 2] and ranking.tied == [1, 3] and ranking.best == "bb"
    assert Reranker(Recorder()).rank("p", ["a", "bb", "bb"]).tied == []  # one text, twice
    assert Reranker(Recorder()).rank("p", ["aa", "b", "aa", "cc"]).tied == [0, 2, 3]


@pytest.mark.parametrize("strategy", ["round-robin", "knockout"])
def test_infinite_log_odds(strategy: str) -> None:
    judge = Recorder(lambda problem, a, b: math.inf if a > b else -math.inf)
    ranking = Reranker(judge, strategy).rank("p", ["b", "c", "a"])
    assert ranking.order[0] == 1 and ranking.decided and ranking.invalid == 0
    # Infinities do not add up, so that the judge counts as one that errs by much.
    assert np.isfinite(ranking.scores).all() and 0.8 < ranking.p_best[1] <= 1


BIG = [Problem(prompt=f"p{k}", candidates=[f"{c}" for c in range(7)]) for k in range(3)]


def test_a_seed_gives_the_same_comparisons_again() -> None:
    def asked(seed: int) -> list[tuple[str, str]]:
        judge = Recorder()
        list(Reranker(judge, COINS, seed=seed).rank_many(BIG))
        return judge.pairs

    assert asked(0) == asked(0) and len(asked(0)) == 3 * 21
    assert asked(0) != asked(1)


def test_coins_belong_to_the_problem_not_to_its_place() -> None:
    def biased(one: Problem, first: str, second: str) -> float:
        return 1.0 if first < second else -0.5  # so that the coins show in the scores

    def ranked(problems: list[Problem], batch: int) -> dict[str, Ranking]:
        many = Reranker(Recorder(biased), COINS, batch=batch).rank_many(problems)
        return {ranking.problem.prompt: ranking for ranking in many}

    one, other = ranked(BIG, 128), ranked([THREE[0], *BIG[::-1]], 1)
    assert all(same(one[p.prompt], other[p.prompt]) for p in BIG)
    assert not same(one["p0"], one["p1"])  # other prompt, other coins


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ([(0, 0)], "two different candidates from 0 to 2"),
        ([(-1, -2)], "two different candidates"),
        ([(0, 9)], "two different candidates"),
        ([(0, 1, 2)], "a round is \\[M, 2\\] whole numbers"),
        ([(0.0, 1.0)], "of float64"),
        ([(0, 1)], "returned NoneType, not a Standing"),
    ],
)
def test_a_faulty_strategy_is_told_what_it_did(asked: Any, error: str) -> None:
    def faulty(n: int, rng: np.random.Generator) -> Schedule:
        yield np.array(asked)
        return None  # type: ignore[return-value]

    with pytest.raises(UserError, match=error):
        Reranker(Recorder(), faulty).rank("p", ["a", "bb", "ccc"])


@pytest.mark.parametrize("order", [[0, 0, 1], [0, 1, 9]])
def test_a_standing_has_a_place_for_each_candidate(order: list[int]) -> None:
    def faulty(n: int, rng: np.random.Generator) -> Schedule:
        log_odds = yield np.array([(0, 1), (1, 2)])
        return replace(standing(np.array([(0, 1), (1, 2)]), log_odds, n), order=np.array(order))

    with pytest.raises(UserError, match="a place and a number for each of 3 candidates"):
        Reranker(Recorder(), faulty).rank("p", ["a", "bb", "ccc"])
