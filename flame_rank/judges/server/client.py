"""Sends requests to a server: keeps to its deadline and its limits, sends failed requests again, and tells which
failures the user can correct.
"""

import asyncio
import json
import time
import weakref
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from flame_rank.errors import UserError
from flame_rank.judges.server.address import Address, ServerOptions
from flame_rank.judges.server.usage import Usage

T = TypeVar("T")
CONCURRENCY = 32
_PAUSE = 0.25  # seconds before a request whose answer could not be read is sent again; doubled each time


class Unanswered(Exception):
    """A request that got no readable answer, although it was sent several times."""


class Refused(Exception):
    """A request that the server rejects because the server lacks the path or the parameter."""


class Unreadable(ValueError):
    """An answer without the requested content."""


class Client:
    """The client of one server; its methods run in the event loop of `flame_rank.judges.function`.

    Attributes:
      usage: counts of the answered requests.
    """

    def __init__(self, address: Address, options: ServerOptions):
        """Raises:
        UserError: the package openai is not installed.
        """
        try:
            import openai
        except ImportError as error:
            raise UserError("--judge openai:... needs the package openai; pip install 'flame-rank[server]'") from error
        self._openai: Any = openai
        self.address, self.options, self.usage = address, options, Usage()
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = WeakKeyDictionary()
        weakref.finalize(self, _close, self._clients)
        self._free = [0.0, 0.0]  # when the next request may be sent, by requests and by tokens a minute

    async def post(
        self,
        path: str,
        body: dict[str, Any],
        read: Callable[[Any], T],
        *,
        tokens: int = 0,
        own: bool = False,
        tries: int | None = None,
    ) -> T:
        """Sends a request until its answer can be read.

        Args:
          path: the path after the address.
          read: reads the parsed answer, or raises Unreadable.
          tokens: the number that the model is expected to read and write; 0 for a request without a model.
          own: whether the path is the server's own, outside the OpenAI-compatible API.
          tries: how often the request is sent if the answer cannot be read; None for the number in the options.

        Raises:
          Refused: the server rejects the request.
          Unanswered: there is no answer.
          UserError: the server denies access.
        """
        why = ""
        for attempt in range(tries or self.options.retries + 1):
            if tokens:
                await self._wait(tokens)
            reply = await self._reply("post", path, own, body=body)
            try:
                answer = read(reply)
            except (Unreadable, LookupError, TypeError, AttributeError) as error:  # any other shape than the one asked
                why = f"an answer that cannot be read ({type(error).__name__}: {error})"
            else:
                if tokens:
                    self.usage.add(reply, tokens)
                return answer
            await asyncio.sleep(min(8.0, _PAUSE * 2**attempt))
        raise Unanswered(self.address.hide(why)[:300])

    async def get(self, path: str, *, own: bool = False) -> Any:
        """Returns the parsed answer to a GET; None if it is not JSON. The request is sent twice at most, so that a
        missing server is reported soon.

        Raises:
          Refused, Unanswered, UserError: as in `post`.
        """
        reply = await self._reply("get", path, own, options={"max_retries": min(1, self.options.retries)})
        return None if isinstance(reply, str) else reply

    async def _reply(self, method: str, path: str, own: bool, **request: Any) -> Any:
        """Returns the parsed answer, or its text if it is not JSON."""
        openai = self._openai
        client = self._client()
        url = f"{self.address.root if own else self.address.url}{path}"
        whole = (self.options.patience + 30) * (self.options.retries + 1)  # also of a server that sends byte by byte
        try:
            async with asyncio.timeout(whole):
                return await getattr(client, method)(url, cast_to=object, **request)
        except openai.APIStatusError as error:
            status, words = error.status_code, self._words(error)
            unlisted = status == 403 and path == "/models"  # a key may answer, and not list models
            if status in (401, 403) and not own and not unlisted:  # gateways answer so on paths that they do not have
                raise UserError(
                    f"{self.address.name} denies access without a valid key ({status}: {words}); set OPENAI_API_KEY"
                ) from None
            if status in (400, 401, 403, 404, 405, 410, 413, 415, 422, 501):
                raise Refused(f"{status}: {words}") from None
            raise Unanswered(f"{status}: {words}") from None
        except openai.APIConnectionError as error:  # a timeout too
            cause = error.__cause__
            words = f" ({type(cause).__name__}: {cause})" if cause else ""
            raise Unanswered(self.address.hide(f"{type(error).__name__}{words}")[:300]) from None
        except TimeoutError:
            raise Unanswered(f"no answer within {whole:.0f} s") from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            return f"no JSON ({error})"
        except openai.OpenAIError as error:
            raise Unanswered(self.address.hide(f"{type(error).__name__}: {error}")[:300]) from None

    def _words(self, error: Any) -> str:
        """Returns the server's own words on a failure, in one line."""
        body = error.body
        message = body.get("message") or body.get("detail") if isinstance(body, dict) else None
        return self.address.hide(" ".join(str(message or error.message).split()))[:200]

    def _client(self) -> Any:
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            self._clients[loop] = self._openai.AsyncOpenAI(
                api_key=self.address.key or "none",
                base_url=self.address.url,
                timeout=self.options.patience,
                max_retries=self.options.retries,
            )
        return self._clients[loop]

    async def _wait(self, tokens: int) -> None:
        """Waits until this request may be sent; requests are spaced evenly to stay under the limits per minute."""
        limits = (self.options.requests_per_minute, self.options.tokens_per_minute)
        now, until = time.monotonic(), 0.0
        for k, (limit, units) in enumerate(zip(limits, (1, tokens), strict=True)):
            if limit is not None:
                begin = max(now, self._free[k])
                self._free[k] = begin + units * 60 / limit
                until = max(until, begin)
        if until > now:
            await asyncio.sleep(until - now)


def _close(clients: WeakKeyDictionary[asyncio.AbstractEventLoop, Any]) -> None:
    """Starts to close the connections, each in its own loop, without waiting."""
    for loop, client in clients.items():
        if loop.is_running():
            asyncio.run_coroutine_threadsafe(client.close(), loop)
