"""The order of requests: what two share is read before the second is sent."""

import asyncio
from collections.abc import Hashable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame_rank.judges.server.schedule import Request, send_all

PAIRS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 9)), unique=True, max_size=30)


def requests(triples: list[tuple[int, int, int]]) -> list[Request[tuple[int, int, int]]]:
    return [Request(one, ((one[0],), one[:2])) for one in sorted(triples)]


@given(PAIRS, st.integers(1, 5), st.randoms(use_true_random=False))
def test_a_prefix_is_read_once_before_it_is_shared(triples, concurrency, random) -> None:  # type: ignore[no-untyped-def]
    sent: list[tuple[int, int, int]] = []
    open_now: list[tuple[int, int, int]] = []
    warm: set[Hashable] = set()
    known: set[Hashable] = set()

    async def send(one: tuple[int, int, int]) -> None:
        for prefix in ((one[0],), one[:2]):
            alone = all(prefix not in ((other[0],), other[:2]) for other in open_now)
            assert prefix in known or alone
        sent.append(one)
        open_now.append(one)
        assert len(open_now) <= concurrency
        for _ in range(random.randrange(4)):
            await asyncio.sleep(0)
        open_now.remove(one)
        known.update(((one[0],), one[:2]))

    asyncio.run(send_all(requests(triples), send, concurrency, warm))
    assert sorted(sent) == sorted(triples)
    assert warm == known
    if concurrency == 1:
        assert sent == sorted(triples)  # what shares most stands together


def test_what_is_warm_needs_no_leader() -> None:
    most = 0
    now = 0

    async def send(one: tuple[int, int, int]) -> None:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.001)
        now -= 1

    asyncio.run(send_all(requests([(0, 0, k) for k in range(6)]), send, 6, {(0,), (0, 0)}))
    assert most == 6


def steps(triples: list[tuple[int, int, int]], concurrency: int) -> int:
    """How many answers a server gives one after the other, if it answers all open requests at the same time."""
    count, waiting = 0, list[asyncio.Future[None]]()

    async def send(one: tuple[int, int, int]) -> None:
        waiting.append(asyncio.get_running_loop().create_future())
        await waiting[-1]

    async def answer() -> None:
        nonlocal count
        while True:
            for _ in range(10 * concurrency):
                await asyncio.sleep(0)
            count += bool(waiting)
            for future in waiting:
                future.set_result(None)
            waiting.clear()

    async def run() -> None:
        server = asyncio.create_task(answer())
        await send_all(requests(triples), send, concurrency, set())
        server.cancel()

    asyncio.run(run())
    return count


def test_nobody_waits_at_the_end() -> None:
    """Ten problems of four candidates, eight requests at once: as few steps as without a cache."""
    triples = [(p, i, j) for p in range(10) for i in range(4) for j in range(4) if i != j]
    assert steps(triples, 8) == len(triples) // 8
    assert steps(triples, 1) == len(triples)


def test_an_error_ends_it() -> None:
    async def send(one: tuple[int, int, int]) -> None:
        raise KeyError(one)

    with pytest.raises(KeyError):
        asyncio.run(send_all(requests([(0, 0, k) for k in range(6)]), send, 3, set()))
