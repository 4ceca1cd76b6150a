"""Rankings for many callers of one event loop: problems that wait at the same time share the judge's batches."""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine
from contextlib import suppress
from typing import Any

from flame_rank.ranking.admission import has_room
from flame_rank.ranking.tournament import Tournament
from flame_rank.records import Problem, Ranking


class AsyncBatcher:
    """Steps all open problems together, in a thread, for as long as there are some."""

    def __init__(
        self,
        start: Callable[[Problem], Tournament],
        ask: Callable[[list[Tournament]], None],
        finish: Callable[[list[Tournament]], list[Ranking]],
        batch: int,
    ):
        """Args:
        start: opens a problem.
        ask: has the rounds of all open ones answered.
        finish: makes the rankings of those that have ended.
        batch: comparisons, and problems, that are open at once; the others wait their turn.
        """
        self._start, self._ask, self._finish, self._batch = start, ask, finish, batch
        self._waiting: deque[tuple[Problem, asyncio.Future[Ranking]]] = deque()
        self._open: list[tuple[Tournament, asyncio.Future[Ranking]]] = []
        self._running: asyncio.Task[None] | None = None

    async def rank(self, problem: Problem) -> Ranking:
        """Ranks a problem together with the others that wait now; cancelled, it is asked nothing more about."""
        future: asyncio.Future[Ranking] = asyncio.get_running_loop().create_future()
        self._waiting.append((problem, future))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting or self._open:
                self._open = [(one, future) for one, future in self._open if not future.done()]
                self._admit()
                opened = list(self._open)
                ended = await asyncio.to_thread(self._step, [one for one, _ in opened])
                self._open = [(one, future) for one, future in opened if one not in ended]
                for one, future in opened:
                    if one in ended and not future.done():
                        future.set_result(ended[one])
        except Exception as error:
            self._drop(error)
        finally:
            self._drop()  # where the loop ends and takes this task with it
            self._running = None

    def _admit(self) -> None:
        """Opens problems that wait, as far as there is room."""
        while self._waiting and has_room(len(self._open), sum(one.pending for one, _ in self._open), self._batch):
            problem, future = self._waiting.popleft()
            if future.done():
                continue
            try:
                self._open.append((self._start(problem), future))
            except Exception as error:  # of a strategy of the user's: the others need not know
                future.set_exception(error)

    def _step(self, opened: list[Tournament]) -> dict[Tournament, Ranking]:
        self._ask(opened)
        ended = [one for one in opened if one.round is None]
        return dict(zip(ended, self._finish(ended), strict=True))

    def _drop(self, error: Exception | None = None) -> None:
        """Ends all problems with an error, or cancels them."""
        left = [future for _, future in (*self._open, *self._waiting) if not future.done()]
        self._open.clear()
        self._waiting.clear()
        for future in left:
            if error is None:
                future.cancel()
            else:
                future.set_exception(error)


async def stream(
    problems: AsyncIterable[Any],
    rank: Callable[[Any], Coroutine[Any, Any, Ranking]],
    window: int,
    *,
    ordered: bool,
) -> AsyncIterator[Ranking]:
    """Rankings of problems that come one by one, as soon as they are there, with `window` of them open at most.

    What `problems` raises is raised here, after the problems before it have been yielded.
    """
    source, live = aiter(problems), True
    coming: asyncio.Task[Any] | None = None
    failure: BaseException | None = None
    opened: list[asyncio.Task[Ranking]] = []
    try:
        while live or opened:
            if live and coming is None and len(opened) < window:
                coming = asyncio.create_task(_next(source))
            heads = opened[:1] if ordered else opened
            await asyncio.wait([*heads, *([coming] if coming else [])], return_when=asyncio.FIRST_COMPLETED)
            for one in [one for one in heads if one.done()]:
                opened.remove(one)
                yield one.result()
            if coming is not None and coming.done():
                try:
                    opened.append(asyncio.create_task(rank(coming.result())))
                except StopAsyncIteration:
                    live = False
                except Exception as error:
                    live, failure = False, error
                coming = None
        if failure is not None:
            raise failure
    finally:
        for left in [*opened, *([coming] if coming else [])]:
            left.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await left


async def _next(source: AsyncIterator[Any]) -> Any:
    return await anext(source)
