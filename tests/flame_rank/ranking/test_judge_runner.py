"""What is done with what a judge fails to answer, and a judge that ranks in its turn."""

import asyncio
import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest
from recorders import THREE, Recorder, longer, problem, same

import flame_rank
from flame_rank.errors import UserError
from flame_rank.judges.function import FunctionJudge, from_probabilities
from flame_rank.ranking.reranker import Reranker
from flame_rank.records import Problem
from strategies.base import FloatArray, IntArray

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
    with pytest.raises(UserError, match=r"is not a judge: called as f\(prompt, pairs\), "):
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
            assert ranked.result(timeout=20).order == [1, 0]
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
