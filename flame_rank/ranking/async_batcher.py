"""Ranks problems for many callers in one event loop: problems that wait at the same time share the judge's batches."""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine
from contextlib import suppress
from typing import Any

from flame_rank.ranking.admission import has_room
from flame_rank.ranking.tournament import Tournament
from flame_rank.records import Problem, Ranking


def no_stop(error: Exception) -> Exception:
    """Returns an error of a user's function that ends no iteration: a StopIteration, as `next` raises it, would."""
    return RuntimeError(f"{type(error).__name__}: {error}") if isinstance(error, StopIteration) else error


class AsyncBatcher:
    """Advances all open problems together, in a thread, until none is open."""

    def __init__(
        self,
        start: Callable[[Problem], Tournament],
        ask: Callable[[list[Tournament]], None],
        finish: Callable[[list[Tournament]], list[Ranking]],
        batch: int,
    ):
        """Args:
        start: opens a problem.
        ask: gets the rounds of all open problems answered.
        finish: makes the rankings of the problems that have ended.
        batch: the most comparisons, and the most problems, that are open at once; other problems wait.
        """
        self._start, self._ask, self._finish, self._batch = start, ask, finish, batch
        self._waiting: deque[tuple[Problem, asyncio.Future[Ranking]]] = deque()
        self._open: list[tuple[Tournament, asyncio.Future[Ranking]]] = []
        self._running: asyncio.Task[None] | None = None

    async def rank(self, problem: Problem) -> Ranking:
        """Ranks a problem together with those that wait now. If the call is cancelled, nothing more is asked about
        the problem."""
        future: asyncio.Future[Ranking] = asyncio.get_running_loop().create_future()
        self._waiting.append((problem, future))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting or self._open:
                self._open = [(tournament, future) for tournament, future in self._open if not future.done()]
                self._admit()
                opened = list(self._open)
                rankings = await asyncio.to_thread(self._step, [tournament for tournament, _ in opened])
                self._open = [(tournament, future) for tournament, future in opened if tournament not in rankings]
                for tournament, future in opened:
                    if tournament in rankings and not future.done():
                        future.set_result(rankings[tournament])
        except Exception as error:
            self._drop(error)
        finally:
            self._drop()  # if the loop ends and takes this task with it
            self._running = None

    def _admit(self) -> None:
        """Opens problems that wait, as long as there is room."""
        while self._waiting and has_room(len(self._open), sum(t.pending for t, _ in self._open), self._batch):
            problem, future = self._waiting.popleft()
            if future.done():
                continue
            try:
                self._open.append((self._start(problem), future))
            except Exception as error:  # raised by a user's strategy, say: it concerns this problem only
                future.set_exception(no_stop(error))

    def _step(self, opened: list[Tournament]) -> dict[Tournament, Ranking]:
        """Gets one round of each tournament answered, and returns the rankings of those that have ended."""
        self._ask(opened)
        ended = [tournament for tournament in opened if tournament.round is None]
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
    """Yields the rankings of problems that arrive one by one, each as soon as it is done.

    Args:
      problems: the problems; an error that this iterator raises is raised after the rankings of the problems before it.
      rank: ranks a problem.
      window: the most problems that are open at once.
      ordered: whether rankings come in the order of the problems.
    """
    source, live = aiter(problems), True
    coming: asyncio.Task[Any] | None = None
    failure: BaseException | None = None
    opened: list[asyncio.Task[Ranking]] = []
    try:
        while live or opened:
            if live and coming is None and len(opened) < window:
                coming = asyncio.create_task(_next(source))
            next_out = opened[:1] if ordered else opened
            await asyncio.wait([*next_out, *([coming] if coming else [])], return_when=asyncio.FIRST_COMPLETED)
            for task in [task for task in next_out if task.done()]:
                opened.remove(task)
                try:
                    ranking = task.result()
                except Exception as error:
                    if ordered:
                        raise
                    live, failure = False, failure or error  # raised after those that are judged already
                else:
                    yield ranking
            if live and coming is not None and coming.done():
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
        for task in [*opened, *([coming] if coming else [])]:
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task


async def _next(source: AsyncIterator[Any]) -> Any:
    return await anext(source)
