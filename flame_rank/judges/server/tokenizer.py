"""The tokenizer and the chat template that a server offers; vLLM, SGLang and llama.cpp offer both."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from flame_rank.judges.server.client import CONCURRENCY, Client, Refused, Unanswered, Unreadable
from flame_rank.judges.server.thinking import SWITCHES

T = TypeVar("T")
_MARKER = "INSTRUCTIONS:\n  the  'one' \"message\" & <no> {{ other }}\n\nEVALUATION: 1"


class ServerTokenizer:
    """A tokenizer like flame_rank.model.text.TextTokenizer. vLLM and SGLang read special tokens in a text as special,
    like their chat endpoints; llama.cpp does not.

    Attributes:
      max_length: the most tokens that the model reads; None if the server does not report it.
    """

    eos: frozenset[int] = frozenset()
    size = 2**31

    def __init__(self, client: Client, wait: Callable[[Awaitable[Any]], Any]):
        """Args:
        wait: returns the result of an awaitable.
        """
        self._client, self._wait = client, wait
        self.bos: int | None = None
        self.max_length: int | None = None

    async def open(self) -> bool:
        """Connects to the server's tokenizer; returns whether it has one."""
        try:
            plain = await self._ids("A word", tries=1)
            whole = await self._ids("A word", begin=True)
        except (Refused, Unanswered):
            return False
        if len(whole) > len(plain) and whole[-len(plain) :] == plain:
            self.bos = whole[0]
        return True

    async def template(self) -> tuple[str, str] | None:
        """Returns the texts that the chat template puts before and after a user's message; None if the server offers
        none."""
        try:
            text = await self._render([{"role": "user", "content": _MARKER}])
        except (Refused, Unanswered):
            return None
        before, *after = text.split(_MARKER)
        return (before, after[0]) if len(after) == 1 else None

    async def _render(self, messages: list[dict[str, str]]) -> str:
        quiet = {"chat_template_kwargs": SWITCHES["chat_template_kwargs"][1]}
        try:
            text = await self._client.post(
                "/apply-template", {"messages": messages, **quiet}, lambda reply: str(reply["prompt"]), own=True
            )
        except (Refused, Unanswered):
            body = {"model": self._client.address.model, "messages": messages, "add_generation_prompt": True, **quiet}
            return await self._text(await self._client.post("/tokenize", body, _read_ids, own=True))
        if self.bos is None:
            return text
        start = await self._text([self.bos])  # llama.cpp puts it before the text that it renders
        return text if text.startswith(start) else start + text

    async def _text(self, ids: Sequence[int]) -> str:
        body = {"model": self._client.address.model, "tokens": list(ids), "skip_special_tokens": False}
        return await self._client.post("/detokenize", body, _read_text, own=True)

    def encode(self, texts: Sequence[str], *, special: bool = False) -> list[list[int]]:
        """Encodes texts, as `TextTokenizer.encode` does."""

        async def read_all() -> list[list[int]]:
            room = asyncio.Semaphore(self._client.options.concurrency or CONCURRENCY)

            async def read(text: str) -> list[int]:
                async with room:
                    return await self._ids(text, special=special) if text else []

            return list(await asyncio.gather(*map(read, texts)))

        ids: list[list[int]] = self._wait(read_all())
        return ids

    async def _ids(
        self, text: str, *, special: bool = False, begin: bool = False, tries: int | None = None
    ) -> list[int]:
        vllm = {"model": self._client.address.model, "prompt": text, "add_special_tokens": begin}
        llama = {"content": text, "add_special": begin, "parse_special": special}

        def read(reply: Any) -> list[int]:
            length = reply.get("max_model_len")
            if isinstance(length, int) and 0 < length < 10**8:
                self.max_length = length - 1  # vLLM takes no prompt that leaves no token to write
            return _read_ids(reply)

        return await self._client.post("/tokenize", {**vllm, **llama}, read, own=True, tries=tries)

    def count(self, texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in self.encode(texts)]

    def decode(self, ids: Sequence[int]) -> str:
        text: str = self._wait(self._text(ids))
        return text


def _read_ids(reply: Any) -> list[int]:
    ids = reply["tokens"]
    if not isinstance(ids, list) or not ids or not all(isinstance(number, int) for number in ids):
        raise Unreadable(f"tokens are {ids!r:.80}")
    return ids


def _read_text(reply: Any) -> str:
    for key in ("prompt", "text", "content"):  # vLLM, SGLang, llama.cpp
        if isinstance(reply.get(key), str):
            text: str = reply[key]
            return text
    raise Unreadable("it has no text")
