"""Rankings in an event loop: shared batches, cancelling, failing, streams that come slowly."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from flame_rank import Problem, Ranking, Reranker
from flame_rank.errors import UserError
from strategies import RoundRobin
from strategies.base import FloatArray, IntArray, Schedule


class Longer:
    """Prefers the longer text; remembers how many problems each call was about."""

    name = "longer"
    pool_aware = pointwise = False

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.asked: list[tuple[str, str, str]] = []

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        self.calls.append(len(asked))
        texts = [(problem.prompt, problem.texts, pairs.tolist()) for problem, pairs in asked]
        self.asked += [(prompt, own[i], own[j]) for prompt, own, pairs in texts for i, j in pairs]
        return [np.array([len(own[i]) - len(own[j]) for i, j in pairs], float) for _, own, pairs in texts]


def problem(k: int, n: int = 5) -> Problem:
    return Problem(prompt=f"p{k}", candidates=[f"{k}" + "x" * ((i * 3 + k) % n) for i in range(n)])


def same(one: Ranking, other: Ranking) -> bool:
    return one.order == other.order and one.scores.tolist() == other.scores.tolist()


@pytest.mark.parametrize("strategy", ["round-robin", "knockout", "active"])
def test_callers_that_wait_together_share_batches(strategy: str) -> None:
    async def run(reranker: Reranker) -> list[Ranking]:
        return list(await asyncio.gather(*(reranker.arank(problem(k)) for k in range(6))))

    judge = Longer()
    found = asyncio.run(run(Reranker(judge, strategy)))
    assert judge.calls[0] == 6
    alone = list(Reranker(Longer(), strategy).rank_many([problem(k) for k in range(6)]))
    assert all(map(same, found, alone))


def test_a_batch_is_not_exceeded_and_late_callers_join() -> None:
    judge = Longer()
    reranker = Reranker(judge, "knockout", batch=4)

    async def run() -> list[Ranking]:
        first = [asyncio.create_task(reranker.arank(problem(k))) for k in range(9)]
        await asyncio.sleep(0.01)
        return list(await asyncio.gather(*first, reranker.arank("p", ["a", "bbb"])))

    found = asyncio.run(run())
    assert [r.problem.prompt for r in found] == [*(f"p{k}" for k in range(9)), "p"] and found[-1].order == [1, 0]
    assert max(judge.calls) <= 4
    assert asyncio.run(reranker.arank("q", ["a"])).comparisons == 0  # in a loop of its own, afterwards


def test_a_cancelled_caller_costs_nothing_more() -> None:
    judge = Longer()
    reranker = Reranker(judge, "knockout", batch=1)

    async def run() -> Ranking:
        tasks = [asyncio.create_task(reranker.arank(problem(k))) for k in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        found = await tasks[2]
        assert tasks[1].cancelled() and same(await tasks[0], reranker.rank(problem(0)))
        return found

    assert asyncio.run(run()).problem.prompt == "p2"
    assert {prompt for prompt, _, _ in judge.asked} == {"p0", "p2"}


def test_a_mistake_reaches_all_who_wait_and_the_next_ones_are_served() -> None:
    class Refuses(Longer):
        def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
            if any(problem.prompt == "bad" for problem, _ in asked):
                raise UserError("bad: mend it")
            return super().judge(asked)

    reranker = Reranker(Refuses())

    async def run() -> None:
        found = await asyncio.gather(
            reranker.arank("good", ["a", "bb"]), reranker.arank("bad", ["a", "bb"]), return_exceptions=True
        )
        assert [type(one) for one in found] == [UserError, UserError]
        assert (await reranker.arank("good", ["a", "bb"])).order == [1, 0]

    asyncio.run(run())


def test_a_strategy_that_fails_at_once_reaches_its_caller() -> None:
    def refuses(n: int, rng: np.random.Generator) -> Schedule:
        if n == 3:
            raise ValueError("three are too many")
        return RoundRobin().schedule(n, rng)

    reranker = Reranker(Longer(), refuses)

    async def run() -> None:
        calls = reranker.arank("p", ["a", "bb"]), reranker.arank("p", ["a", "bb", "ccc"])
        found = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 20)
        assert isinstance(found[0], Ranking) and isinstance(found[1], ValueError)

    asyncio.run(run())


def test_a_ledger_is_used_from_the_threads(tmp_path: Path) -> None:
    async def run(reranker: Reranker) -> list[Ranking]:
        return list(await asyncio.gather(*(reranker.arank(problem(k)) for k in range(4))))

    first, second = (Reranker(Longer(), "round-robin", ledger=tmp_path / "l") for _ in range(2))
    assert all(map(same, asyncio.run(run(first)), asyncio.run(run(second))))
    assert (first.remembered, second.remembered) == (0, 80)


@pytest.mark.parametrize("ordered", [True, False])
def test_a_stream_is_ranked_as_it_comes(ordered: bool) -> None:
    reranker = Reranker(Longer(), "round-robin", ordered=ordered)

    async def run() -> list[str]:
        answered = asyncio.Event()
        found = []

        async def source() -> AsyncIterator[Problem]:
            yield problem(0)
            await answered.wait()  # the next problem depends on the first ranking, as in a sampling loop
            for k in range(1, 5):
                yield problem(k)

        async for ranking in reranker.arank_many(source()):
            answered.set()
            found.append(ranking.problem.prompt)
        return found

    assert sorted(asyncio.run(asyncio.wait_for(run(), 20))) == [f"p{k}" for k in range(5)]


def test_what_a_stream_raises_comes_after_what_it_gave() -> None:
    reranker = Reranker(Longer())

    async def source() -> AsyncIterator[Problem]:
        yield problem(0)
        yield problem(1)
        raise KeyError("lost")

    async def run() -> None:
        found = []
        with pytest.raises(KeyError, match="lost"):
            async for ranking in reranker.arank_many(source()):
                found.append(ranking.problem.prompt)
        assert found == ["p0", "p1"]

    asyncio.run(run())


def test_leaving_a_stream_early_ends_its_problems() -> None:
    judge = Longer()
    reranker = Reranker(judge, "knockout", batch=2)

    async def source() -> AsyncIterator[Problem]:
        for k in range(50):
            yield problem(k)

    async def run() -> str:
        rankings = reranker.arank_many(source())
        found = await anext(rankings)
        await rankings.aclose()  # type: ignore[attr-defined]
        return found.problem.prompt

    assert asyncio.run(run()) == "p0" and len({prompt for prompt, _, _ in judge.asked}) < 10


def test_event_loops_of_several_threads() -> None:
    reranker = Reranker(Longer(), "round-robin", batch=4)

    async def run() -> list[Ranking]:
        return list(await asyncio.gather(*(reranker.arank(problem(k)) for k in range(6))))

    with ThreadPoolExecutor(3) as pool:
        every = [pool.submit(lambda: asyncio.run(run())) for _ in range(6)]
        found = [one.result(timeout=60) for one in every]
    alone = list(Reranker(Longer(), "round-robin").rank_many([problem(k) for k in range(6)]))
    assert all(same(*pair) for rankings in found for pair in zip(rankings, alone, strict=True))
    assert len(asyncio.run(run())) == 6  # and one more, after those have ended
