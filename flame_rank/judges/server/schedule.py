"""Orders the requests so that a server finds shared prefixes in its cache."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Request(Generic[T]):
    """A request to be sent.

    Attributes:
      content: what is sent.
      prefixes: the names of the prefixes that it begins with, shorter ones first. The first request with a prefix fills
        the server's cache; others with it wait until that request has been answered.
    """

    content: T
    prefixes: tuple[Hashable, ...]


async def send_all(
    requests: Sequence[Request[T]],
    send: Callable[[T], Awaitable[None]],
    concurrency: int,
    warm: set[Hashable],
) -> None:
    """Sends requests in their order as soon as they are ready, `concurrency` at the same time.

    Requests that share a prefix follow each other, so that each finds as much as possible in the server's cache, even
    if requests are sent one by one. If several are sent at a time, a request with a new prefix that is soon due is sent
    before its turn: the requests that wait for it are then ready earlier, and none of them is left alone at the end.

    Args:
      warm: the prefixes in the server's cache; new ones are added.

    Raises:
      Whatever `send` raises; the other requests are then cancelled.
    """
    waiting, reading = list(requests), set[Hashable]()
    answered = asyncio.Condition()
    soon = 2 * concurrency if concurrency > 1 else 0

    def take() -> Request[T] | None:
        chosen = None
        for at, request in enumerate(waiting):
            if chosen is not None and at >= soon:
                break
            new = [prefix for prefix in request.prefixes if prefix not in warm]
            if reading.isdisjoint(new):
                chosen = at if chosen is None or new else chosen
                if new:
                    break
        if chosen is None:
            return None
        request = waiting.pop(chosen)
        reading.update(prefix for prefix in request.prefixes if prefix not in warm)
        return request

    async def work() -> None:
        while True:
            async with answered:
                while (request := take()) is None and waiting:
                    await answered.wait()
            if request is None:
                return
            try:
                await send(request.content)
            finally:
                async with answered:
                    warm.update(request.prefixes)
                    reading.difference_update(request.prefixes)
                    answered.notify_all()

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(concurrency, len(requests))):
                group.create_task(work())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
