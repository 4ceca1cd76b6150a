"""Tournaments of many problems at once: what the judge is asked, what is done with what it fails to answer, and that
no problem has to suffer for another."""

import asyncio
import math
import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flame_rank
from flame_rank.errors import UserError
from flame_rank.judges.function import FunctionJudge, from_probabilities
from flame_rank.ranking.reranker import Reranker, rerank
from flame_rank.records import Candidate, Problem, Ranking
from strategies import Knockout, RoundRobin, Standing
from strategies.base import FloatArray, IntArray, Schedule
from strategies.posterior import standing

Answer = Callable[[Problem, str, str], float]


def longer(problem: Problem, first: str, second: str) -> float:
    return float(len(first) - len(second))


class Recorder:
    """A judge that answers pair by pair, and keeps what it was asked: problem, and texts of each comparison."""

    name = "recorder"

    def __init__(self, answer: Answer = longer, *, pointwise: bool = False):
        self.answer, self.pointwise, self.pool_aware = answer, pointwise, pointwise
        self.calls: list[list[tuple[Problem, list[tuple[str, str]]]]] = []

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        texts = [(problem, [(problem.texts[i], problem.texts[j]) for i, j in pairs]) for problem, pairs in asked]
        self.calls.append(texts)
        return [np.array([self.answer(problem, a, b) for a, b in pairs]) for problem, pairs in texts]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        return [pair for call in self.calls for _, pairs in call for pair in pairs]


def problem(prompt: str, *candidates: str) -> Problem:
    return Problem(prompt=prompt, candidates=candidates)


def same(one: Ranking, other: Ranking) -> bool:
    """The same result to the last bit."""
    return (
        one.order == other.order
        and one.scores.tolist() == other.scores.tolist()
        and one.p_best.tolist() == other.p_best.tolist()
        and (one.comparisons, one.invalid, one.reasons) == (other.comparisons, other.invalid, other.reasons)
    )


# One problem.


def test_ranks_best_first() -> None:
    judge = Recorder()
    ranking = Reranker(judge).rank("p", ["bb", "dddd", "a", Candidate(text="ccc")])
    assert ranking.order == [1, 3, 0, 2] and ranking.best == "dddd"
    assert (ranking.comparisons, ranking.strategy, ranking.judge) == (12, "active", "recorder")
    assert sorted(judge.pairs) == sorted(permutations(["bb", "dddd", "a", "ccc"], 2))
    np.testing.assert_allclose(ranking.scores, [-0.5, 1.5, -1.5, 0.5])
    assert ranking.decided and not ranking.tied and ranking.invalid == 0 and ranking.reasons == ()


def test_the_short_way() -> None:
    ranking = flame_rank.rerank("p", ["a", "bb"], judge=lambda prompt, pairs: [0.5 * len(b) for _, b in pairs])
    # (a, bb): 1, (bb, a): 0.5; the mean of both orders is (1 - 0.5) / 2 for a.
    assert ranking.order == [0, 1] and ranking.p_best[0] == pytest.approx(1 / (1 + math.exp(-0.25)))
    assert rerank("p", ["a"], judge=Recorder(), strategy=Knockout(), seed=3).strategy == "knockout"
    assert rerank("p", ["aaa", "b"], judge="functions:shorter").order == [1, 0]


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


# What fails.


class Flaky(Recorder):
    """Does not know of texts with a "?", or not at the first time of asking."""

    def __init__(self, *, times: int):
        self.left: dict[tuple[str, str, str], int] = {}
        super().__init__(self.odds)
        self.times = times

    def odds(self, problem: Problem, first: str, second: str) -> float:
        if "?" not in first + second:
            return longer(problem, first, second)
        key = (problem.prompt, first, second)
        self.left[key] = self.left.get(key, self.times) - 1
        return math.nan if self.left[key] >= 0 else longer(problem, first, second)


def test_nan_is_asked_once_more() -> None:
    judge = Flaky(times=1)
    ranking = Reranker(judge).rank("p", ["a", "bb", "???"])
    assert len(judge.calls) == 2 and len(judge.pairs) == 6 + 4
    assert all("?" in a + b for a, b in judge.pairs[6:])  # and only what failed
    assert ranking.order == [2, 1, 0] and (ranking.comparisons, ranking.invalid, ranking.reasons) == (6, 0, ())
    assert same(ranking, Reranker(Recorder()).rank("p", ["a", "bb", "???"]))


def test_nan_twice_is_invalid_and_left_out() -> None:
    judge = Flaky(times=99)
    ranking = Reranker(judge).rank("p", ["a", "bb", "???"])
    assert len(judge.calls) == 2 and len(judge.pairs) == 6 + 4
    assert (ranking.comparisons, ranking.invalid) == (6, 4)
    assert ranking.reasons == ("the judge gave no log-odds",)
    assert not ranking.decided and ranking.best is None
    assert sorted(ranking.order) == [0, 1, 2] and ranking.order.index(1) < ranking.order.index(0)


def test_nan_of_one_problem_is_asked_again_without_the_others() -> None:
    judge = Flaky(times=99)
    good, bad, other = Reranker(judge).rank_many(
        [problem("p", "a", "bb"), problem("q", "a", "???"), problem("r", "a", "bb", "ccc")]
    )
    assert [[one.prompt for one, _ in call] for call in judge.calls] == [["p", "q", "r"], ["q"]]
    assert (good.order, other.order) == ([1, 0], [2, 1, 0]) and good.decided and other.decided
    assert not bad.decided and bad.order == [0, 1] and bad.invalid == 2


def test_a_few_failures_leave_a_winner() -> None:
    judge = Recorder(lambda problem, a, b: math.nan if {a, b} == {"a", "bb"} else longer(problem, a, b))
    ranking = Reranker(judge).rank("p", ["a", "bb", "cccc"])
    assert ranking.decided and ranking.best == "cccc" and ranking.order == [2, 1, 0] and ranking.invalid == 2


class Raising(Recorder):
    """Raises where `when(asked)` says so, each time of asking."""

    def __init__(self, when: Callable[["Raising", list[Problem]], bool]):
        super().__init__()
        self.when, self.attempts = when, 0

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        self.attempts += 1
        if self.when(self, [one for one, _ in asked]):
            raise RuntimeError("the judge is ill")
        return super().judge(asked)


THREE = [problem("p", "a", "bb"), problem("ill", "a", "bb", "ccc"), problem("q", "cc", "b")]


def test_a_judge_that_raises_once() -> None:
    judge = Raising(lambda self, asked: self.attempts == 1)
    rankings = list(Reranker(judge).rank_many(THREE))
    for ranking, right in zip(rankings, Reranker(Recorder()).rank_many(THREE), strict=True):
        assert same(ranking, right)
    assert [[one.prompt for one, _ in call] for call in judge.calls] == [["p"], ["ill"], ["q"]]  # each for itself, once


def test_a_judge_that_raises_for_one_problem() -> None:
    judge = Raising(lambda self, asked: any(one.prompt == "ill" for one in asked))
    first, ill, last = Reranker(judge).rank_many(THREE)
    right = list(Reranker(Recorder()).rank_many(THREE))
    assert same(first, right[0]) and same(last, right[2])
    assert not ill.decided and ill.best is None and ill.order == [0, 1, 2]
    assert (ill.comparisons, ill.invalid, ill.reasons) == (6, 6, ("RuntimeError: the judge is ill",))


def test_a_judge_that_raises_always() -> None:
    judge = Raising(lambda self, asked: True)
    with pytest.raises(UserError, match=r"^the judge recorder fails at every call: RuntimeError: the judge is ill$"):
        list(Reranker(judge).rank_many(THREE))
    assert judge.attempts < 12  # it does not go on for ever
    for one_by_one in (False, True):
        judge.one_by_one = one_by_one  # type: ignore[attr-defined]
        with pytest.raises(UserError, match="fails at every call"):
            Reranker(judge).rank(THREE[1])
        rankings = Reranker(judge).rank_many(iter(THREE[:1]))
        assert not next(rankings).decided
        with pytest.raises(UserError, match="fails at every call"):
            next(rankings)


def test_a_judge_that_has_worked_may_fail() -> None:
    judge = Raising(lambda self, asked: any(one.prompt != "p" for one in asked))
    reranker = Reranker(judge)
    assert reranker.rank(THREE[0]).decided
    assert [ranking.decided for ranking in reranker.rank_many(THREE[1:] * 3)] == [False] * 6


def test_a_judge_that_does_not_know_works() -> None:
    rankings = Reranker(lambda prompt, pairs: [float("nan")] * len(pairs)).rank_many(THREE)
    assert [ranking.decided for ranking in rankings] == [False] * 3


@pytest.mark.parametrize(
    "spoil",
    [lambda a: a[:-1], lambda a: [*a, a[0]], lambda a: [x[:-1] for x in a], lambda a: [x[:, None] for x in a]],
    ids=["a problem less", "a problem more", "a pair less", "a dimension more"],
)
def test_a_judge_that_returns_another_shape(spoil: Callable[[list[Any]], list[Any]]) -> None:
    class Wrong(Recorder):
        def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
            return spoil(super().judge(asked))

    with pytest.raises(UserError, match="fails at every call: ValueError: judge recorder returned shapes"):
        list(Reranker(Wrong()).rank_many(THREE))


async def sleepy(prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
    await asyncio.sleep(0)
    return [float(len(a) - len(b)) for a, b in pairs]


def test_an_asynchronous_function_is_a_judge() -> None:
    assert [ranking.order for ranking in Reranker(sleepy).rank_many(THREE)] == [[1, 0], [2, 1, 0], [0, 1]]

    async def inside() -> list[int]:
        return (await Reranker(sleepy).arank(THREE[1])).order + Reranker(sleepy).rank(THREE[1]).order

    assert asyncio.run(inside()) == [2, 1, 0] * 2

    async def likely(prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
        return [0.9 if len(a) > len(b) else 0.1 for a, b in pairs]

    assert Reranker(from_probabilities(likely)).rank(THREE[1]).order == [2, 1, 0]


@pytest.mark.parametrize("f", [lambda prompt: [1.0], lambda: None, lambda a, b, c: [0.0], lambda *, prompt, pairs: []])
def test_a_function_that_takes_something_else(f: Any) -> None:
    with pytest.raises(UserError, match=r"is no judge: called as f\(prompt, pairs\), "):
        Reranker(f)


def test_a_functions_failure_is_told() -> None:
    def judge(prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
        if prompt == "ill":
            raise ZeroDivisionError("by the user")
        return [float(len(a) - len(b)) for a, b in pairs]

    first, ill, last = Reranker(judge).rank_many(THREE)
    assert first.order == [1, 0] and last.order == [0, 1]
    [reason] = ill.reasons
    assert reason.endswith("ZeroDivisionError: by the user") and ill.invalid == 6


def stopping(error: type[BaseException]) -> Any:
    def judge(prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
        raise error

    return judge


def test_ctrl_c_stops() -> None:
    with pytest.raises(KeyboardInterrupt):
        list(Reranker(stopping(KeyboardInterrupt)).rank_many(THREE))


def test_a_judge_that_ends_the_program() -> None:
    with pytest.raises(UserError, match=r"ends the program \(SystemExit\(\)\)"):
        list(Reranker(stopping(SystemExit)).rank_many(THREE))

    class Ending(Recorder):
        def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
            raise SystemExit(3)

    with pytest.raises(UserError, match=r"recorder ends the program \(SystemExit\(3\)\)"):
        Reranker(Ending()).rank(THREE[0])


# Many problems.


def stream(count: int, pulled: list[int], candidates: int = 3) -> Iterator[Problem]:
    for k in range(count):
        pulled.append(k)
        yield Problem(prompt=f"p{k}", candidates=[f"{c}" * (c + 1) for c in range(candidates)], name=str(k))


@pytest.mark.parametrize(("strategy", "rounds"), [("round-robin", 1), ("knockout", 2)])
def test_rankings_come_in_order_with_a_bounded_look_ahead(strategy: str, rounds: int) -> None:
    pulled: list[int] = []
    judge = Recorder()
    ahead = []
    for k, ranking in enumerate(Reranker(judge, strategy, batch=12).rank_many(stream(40, pulled))):
        assert ranking.problem.name == str(k) and ranking.order == [2, 1, 0]
        ahead.append(len(pulled) - k)
    # At most so many comparisons, and no problem with fewer than 2, are collected for a call.
    assert k == 39 and max(ahead) <= 12 and ahead[0] >= 2
    assert all(sum(len(pairs) for _, pairs in call) < 12 + 6 for call in judge.calls)
    assert len(judge.calls) <= rounds * 40 / 2


def test_problems_with_nothing_to_ask_are_not_collected_for_ever() -> None:
    pulled: list[int] = []
    rankings = Reranker(Recorder(), batch=5).rank_many(stream(1000, pulled, candidates=1))
    assert next(rankings).order == [0] and len(pulled) <= 5


def test_an_error_of_the_input_comes_after_the_rankings_before_it() -> None:
    def broken() -> Iterator[Problem]:
        yield from THREE
        raise OSError("no more")

    names = []
    with pytest.raises(OSError, match="no more"):
        for ranking in Reranker(Recorder()).rank_many(broken()):
            names.append(ranking.problem.prompt)
    assert names == ["p", "ill", "q"]


def test_nothing_in_nothing_out() -> None:
    assert list(Reranker(Recorder()).rank_many([])) == []


COINS = RoundRobin(order="random")
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


# Strategies.


def king_of_the_hill(n: int, rng: np.random.Generator) -> Schedule:
    """The champion meets the next, one at a time."""
    champion, asked, answers = 0, [], []
    for challenger in range(1, n):
        pair = np.array([[challenger, champion]])
        log_odds = yield pair
        asked.append(pair)
        answers.append(log_odds)
        champion = challenger if log_odds[0] > 0 else champion
    return standing(np.concatenate(asked), np.concatenate(answers), n)


def test_a_users_own_strategy() -> None:
    judge = Recorder()
    ranking, other = Reranker(judge, king_of_the_hill).rank_many([problem("p", "a", "ccc", "a", "bb"), THREE[0]])
    assert ranking.strategy == "king_of_the_hill" and ranking.order == [1, 3, 0, 2] and other.order == [1, 0]
    # The schedule knows the three distinct texts only, and its rounds share calls with the other problem's.
    assert judge.calls[0][0][1] == [("ccc", "a")] and len(judge.calls) == 2 and ranking.comparisons == 2


def test_a_users_own_strategy_with_a_pointwise_judge() -> None:
    judge = Recorder(pointwise=True)
    assert Reranker(judge, king_of_the_hill).rank("p", ["a", "ccc", "bb"]).order == [1, 2, 0]
    assert judge.pairs == [("ccc", "a"), ("bb", "ccc")]


@pytest.mark.parametrize("strategy", [None, "round-robin", "knockout", Knockout(order="fixed"), COINS])
def test_a_pointwise_judge_is_asked_once_for_each_candidate(strategy: Any) -> None:
    judge = Recorder(pointwise=True)
    ranking = Reranker(judge, strategy).rank("p", ["a", "ccc", "bb", "ccc"])
    assert (ranking.strategy, ranking.comparisons) == ("pointwise", 2)
    assert judge.pairs == [("ccc", "a"), ("bb", "a")]
    assert ranking.order == [1, 3, 2, 0]
    quality = np.exp([1.0, 3.0, 2.0])
    assert ranking.p_best.tolist() == pytest.approx((quality / quality.sum())[[0, 1, 2, 1]])


def test_a_strategy_of_ones_own_class() -> None:
    class Given:
        name = "given"

        def schedule(self, n: int, rng: np.random.Generator) -> Schedule:
            yield np.array([[1, 0]])
            return Standing(order=np.arange(n), scores=np.zeros(n), p_best=np.full(n, 1 / n), decided=True)

    for pointwise in (False, True):
        ranking = Reranker(Recorder(pointwise=pointwise), Given()).rank("p", ["a", "bb"])
        assert (ranking.strategy, ranking.order, ranking.comparisons) == ("given", [0, 1], 1)


def test_what_is_no_strategy_or_judge() -> None:
    with pytest.raises(ValueError, match=r"'knock-out'.*did you mean 'knockout'"):
        Reranker(Recorder(), "knock-out")
    with pytest.raises(TypeError, match="strategy is a int"):
        Reranker(Recorder(), 3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="judge is a int"):
        Reranker(3)  # type: ignore[arg-type]
    with pytest.raises(flame_rank.UserError, match="--judge nobody: neither"):
        Reranker("nobody")
    with pytest.raises(TypeError, match="a prompt and its candidates"):
        Reranker(Recorder()).rank("p")


def test_notes_of_the_judge_are_handed_on() -> None:
    class Noting(Recorder):
        def notes(self, one: Problem) -> flame_rank.Notes:
            return flame_rank.Notes(truncated=2, failures=("of no importance",))

    ranking = Reranker(Noting()).rank("p", ["a", "bb"])
    assert (ranking.truncated, ranking.reasons) == (2, ())  # nothing is invalid, so there is nothing to explain


def test_what_comes_to_the_same_answer_is_one_option() -> None:
    def like(prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
        return [0.1 * (len(a) - len(b)) for a, b in pairs]

    eight = Reranker(like).rank("5 * 3?", ["The answer is 15."] * 8)
    assert eight.p_best.tolist() == [1.0] * 8 and not eight.unsure
    ways = ["The answer is 15.", "Answer: 15.0", "#### 15", "15", "The answer is 30/2.", "I think that it is more."]
    ranking = Reranker(like).rank("5 * 3?", ways)
    assert len({*ranking.p_best[:5].tolist()}) == 1
    assert ranking.p_best[0] + ranking.p_best[5] == pytest.approx(1)
    assert ranking.p_best[0] == pytest.approx(ranking.standing.p_best[:5].sum())
    votes = [f"{'So ' * k}it is clear.\nThe answer is {15 if k % 5 < 3 else k}." for k in range(32)]
    ranking = Reranker("agreement").rank("5 * 3?", votes)
    assert ranking.order[0] % 5 < 3 and ranking.p_best[ranking.order[0]] > 0.5
    # Programs have no answers.
    bodies = ["    return a\n", "    return A\n", "    return  a\n"]
    ranking = Reranker(like).rank("def f(a, A):\n", bodies)
    assert ranking.p_best.sum() == pytest.approx(1)


def test_answers_of_ones_own(tmp_path: Path) -> None:
    texts = [
        "<a>4</a> as 2 < 3",
        "<a>5</a>, I think",
        "As it is even: <a>4.0</a>",
        "no idea at all, really, none at all",
    ]
    one = problem("2 + 2?", *texts)
    plain = Reranker("agreement").rank(one)
    for extract in (r"<a>(.*?)</a>", lambda text: text.partition("<a>")[2].partition("</a>")[0] or None):
        ranking = Reranker("agreement", extract=extract, ledger=tmp_path / "ledger").rank(one)
        assert ranking.problem is one
        assert ranking.p_best[0] == ranking.p_best[2] > ranking.p_best[1]
        assert {0, 2} == {*ranking.order[:2]}
    # What the pool is said to answer is part of what was judged: nothing of the above is an answer here.
    again = Reranker("agreement", ledger=tmp_path / "ledger")
    assert again.rank(one).p_best.tolist() == plain.p_best.tolist() and again.remembered == 0
    given = Problem(prompt="2 + 2?", candidates=texts, answers=["5", "5", None, "6"])
    ranking = Reranker("agreement", extract="<a>(.*?)</a>").rank(given)
    assert ranking.p_best[0] == ranking.p_best[1] > ranking.p_best[2]
    with pytest.raises(ValueError, match="not a regular expression"):
        Reranker(longer_pairs, extract="(")
    with pytest.raises(TypeError, match="answer 0 is an int"):
        Reranker(longer_pairs, extract=lambda text: 4).rank(one)  # type: ignore[arg-type,return-value]


def longer_pairs(prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
    return [float(len(a) - len(b)) for a, b in pairs]


def test_programs_may_have_answers() -> None:
    bodies = ["    return a\n", "    return A\n", "    b = a\n    return b\n"]
    printed = Problem(prompt="def f(a, A):\n", candidates=bodies, answers=["1", "2", "2"])
    assert set(Reranker("agreement").rank(printed).order[:2]) == {1, 2}


def test_problems_as_mappings(tmp_path: Path) -> None:
    given = {"prompt": "p", "candidates": ["a", {"text": "bb"}]}
    reranker = Reranker(Recorder())
    assert reranker.rank(given).order == [1, 0]
    assert [ranking.order for ranking in reranker.rank_many([given] * 2)] == [[1, 0]] * 2
    assert asyncio.run(reranker.arank(given)).order == [1, 0]
    with pytest.raises(TypeError, match="a problem is a str"):
        list(reranker.rank_many(["p"]))  # type: ignore[list-item]
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(reranker)


def test_a_path_is_a_judge(tiny_judge_dir: Path) -> None:
    assert Reranker(tiny_judge_dir).rank("p", ["a", "b"]).decided
    assert rerank("p", ["a", "b"], judge=tiny_judge_dir).decided


def test_a_judge_may_rank() -> None:
    """From inside a call of it, with the same reranker."""

    def outer(prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
        if prompt != "inner":
            assert reranker.rank("inner", ["a", "bb"]).order == [1, 0]
        return [float(len(a) - len(b)) for a, b in pairs]

    reranker = Reranker(outer)
    assert reranker.rank("outer", ["a", "bb", "ccc"]).order == [2, 1, 0]


def in_time(work: Callable[[], Any]) -> Any:
    """What work gives, or raises; a failure if it hangs."""
    done: Future[Any] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return done.result(timeout=30)


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("how", ["rank", "arank", "arank of both"])
def test_an_asynchronous_judge_may_rank(how: str, kept: bool, tmp_path: Path) -> None:
    """From inside a call of it, with the same reranker, two calls deep."""
    asked: set[str] = set()

    async def outer(prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
        asked.add(prompt)
        inner = [reranker.arank("in" + prompt, [name, "bbb"]) for name in ("a", "aa")] if len(prompt) < 4 else []
        assert [ranking.order for ranking in await asyncio.gather(*inner)] == [[1, 0]] * len(inner)
        return [float(len(a) - len(b)) for a, b in pairs]

    async def both() -> list[list[int]]:
        return [ranking.order for ranking in await asyncio.gather(*map(reranker.arank, given))]

    reranker = Reranker(FunctionJudge(outer, name="outer"), ledger=tmp_path / "l" if kept else None)
    given = [problem("p", "a", "bb"), problem("q", "a", "bb")]
    if how == "rank":
        assert in_time(lambda: [ranking.order for ranking in reranker.rank_many(given)]) == [[1, 0]] * 2
    elif how == "arank":
        assert in_time(lambda: asyncio.run(reranker.arank(given[0]))).order == [1, 0]
    else:
        assert in_time(lambda: asyncio.run(both())) == [[1, 0]] * 2
    assert {"p", "inp", "ininp"} <= asked


def test_an_asynchronous_judge_that_would_wait_for_itself() -> None:
    async def outer(prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
        reranker.rank("inner", ["a", "bb"])
        return [0.0] * len(pairs)

    reranker = Reranker(outer)
    with pytest.raises(UserError, match=r"would wait for itself; let it `await reranker\.arank"):
        in_time(lambda: reranker.rank("outer", ["a", "bb"]))
    with pytest.raises(UserError, match="would wait for itself"):
        in_time(lambda: asyncio.run(reranker.arank("outer", ["a", "bb"])))


def test_a_judge_may_rank_in_threads() -> None:
    def outer(prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
        if prompt != "inner":
            ranked = pool.submit(copy_context().run, reranker.rank, "inner", ["a", "bb"])
            assert ranked.result(timeout=20).order == [1, 0]  # type: ignore[attr-defined]
        return [float(len(a) - len(b)) for a, b in pairs]

    with ThreadPoolExecutor(1) as pool:
        reranker = Reranker(outer)
        assert in_time(lambda: reranker.rank("outer", ["a", "bb", "ccc"])).order == [2, 1, 0]


@pytest.mark.parametrize("broken", [True, False])
def test_a_judge_says_itself_whether_it_is_broken(broken: bool) -> None:
    class Noting(Recorder):
        def notes(self, one: Problem) -> flame_rank.Notes:
            return flame_rank.Notes(failures=("the line is dead",), broken=broken)

    rankings = Reranker(Noting(lambda problem, a, b: math.nan)).rank_many(THREE)
    if broken:
        with pytest.raises(UserError, match="recorder fails at every call: the line is dead"):
            list(rankings)
    else:
        assert [ranking.reasons for ranking in rankings] == [("the line is dead",)] * 3
