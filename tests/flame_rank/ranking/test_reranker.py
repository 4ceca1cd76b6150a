"""Many problems at once: rankings in order, with a bounded look-ahead, by any strategy and judge."""

import asyncio
import math
import pickle
import time
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recorders import COINS, THREE, Recorder, problem

import flame_rank
from flame_rank.io.output import to_lines
from flame_rank.ranking.admission import QUICK
from flame_rank.ranking.reranker import Reranker, rerank
from flame_rank.records import Candidate, Problem
from strategies import Knockout, RoundRobin, Standing
from strategies.base import Schedule
from strategies.posterior import standing

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


# A function, which is called for each problem separately.


class Called:
    """A function that notes what it is asked about, and takes a while."""

    def __init__(self, seconds: float = 0.0):
        self.prompts: list[str] = []
        self.seconds = seconds

    def __call__(self, prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
        self.prompts.append(prompt)
        time.sleep(self.seconds)
        return [float(len(a) - len(b)) for a, b in pairs]


def test_a_slow_functions_ranking_does_not_wait_for_the_next_problem() -> None:
    judge = Called(2 * QUICK)
    rankings = Reranker(judge).rank_many(stream(3, []))
    assert next(rankings).decided and judge.prompts == ["p0"]
    assert next(rankings).decided and judge.prompts == ["p0", "p1"]


def test_a_quick_functions_ranking_does_not_wait_for_a_slow_input() -> None:
    def slow(pulled: list[int]) -> Iterator[Problem]:
        for one in stream(3, pulled):
            time.sleep(0.7 * QUICK)
            yield one

    pulled: list[int] = []
    assert next(Reranker(Called()).rank_many(slow(pulled))).decided and len(pulled) <= 2


def test_a_function_is_asked_about_a_problem_to_its_end() -> None:
    judge = Called()
    assert len(list(Reranker(judge, "knockout").rank_many(stream(50, [], candidates=4)))) == 50
    assert judge.prompts == [f"p{k}" for k in range(50) for _ in range(2)]  # two rounds each


def test_what_is_done_comes_before_the_error_of_a_judge() -> None:
    def ends(prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
        if prompt == "p2":
            raise SystemExit
        return [float(len(a) - len(b)) for a, b in pairs]

    names = []
    with pytest.raises(flame_rank.UserError, match="ends the program"):
        for ranking in Reranker(ends).rank_many(stream(5, [])):
            names.append(ranking.problem.name)
    assert names == ["0", "1"]


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


# What a user's function raises.


def first_answer(text: str) -> str:
    return next(line for line in text.splitlines() if line.startswith("Answer"))


def test_a_stop_of_the_users_function_is_an_error_and_ends_nothing() -> None:
    problems = [{"prompt": "p", "candidates": texts} for texts in (["Answer 1", "Answer 2"], ["none", "Answer 2"])]
    reranker = Reranker(Recorder(), extract=first_answer)
    found = []
    with pytest.raises(RuntimeError, match="StopIteration"):
        for ranking in reranker.rank_many(problems):
            found.append(ranking.order)
    assert len(found) == 1
    with pytest.raises(RuntimeError, match="StopIteration"):
        asyncio.run(asyncio.wait_for(reranker.arank("p", ["none", "Answer 2"]), 20))


def test_a_batch_is_one_or_more() -> None:
    for batch in (0, -1):
        with pytest.raises(ValueError, match=f"batch is {batch}"):
            Reranker(Recorder(), batch=batch)


def test_a_strategy_object_keeps_its_budget_with_a_judge_of_candidates() -> None:
    texts = [f"{'x' * k}" for k in range(1, 9)]
    by_name = Reranker(Rates(), "round-robin", budget=3, top=3).rank("p", texts)
    by_object = Reranker(Rates(), RoundRobin(budget=3, top=3)).rank("p", texts)
    assert by_object.comparisons == by_name.comparisons <= 3
    assert by_object.standing.p_top == by_name.standing.p_top is not None


class Rates(Recorder):
    """A judge of single candidates."""

    pointwise = True


def test_half_a_surrogate_in_a_reason_can_be_written() -> None:
    def fails(prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
        if prompt == "bad":
            raise ValueError("a \ud800 reply")
        return [float(len(a) - len(b)) for a, b in pairs]

    problems = [{"prompt": prompt, "candidates": ["a", "bb"]} for prompt in ("bad", "good")]
    first, second = Reranker(fails).rank_many(problems)
    assert "a \\ud800 reply" in "".join(first.reasons) and second.order == [1, 0]
    assert b"ud800" in to_lines(first)
