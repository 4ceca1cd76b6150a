"""Draws samples from a model behind an OpenAI-compatible server: llama.cpp's, vLLM's, a hosted one.

The other examples import it. `llama-server -m FILE.gguf --port 8080` starts llama.cpp's.
"""

import asyncio
import os
from typing import Any

import click
from openai import AsyncOpenAI, OpenAI

from flame_rank import Candidate

MAX_TOKENS = click.option("--max-tokens", default=512, show_default=True, help="Of one answer at most.")


class Sampler:
    """A model that answers prompts."""

    def __init__(self, url: str, *, model: str = "default", temperature: float = 0.8, max_tokens: int = 512):
        """Args:
        url: the server's address, such as http://127.0.0.1:8080. The key is read from OPENAI_API_KEY.
        model: its name on the server; llama.cpp's takes any.
        """
        key = os.environ.get("OPENAI_API_KEY", "none")
        self._server: dict[str, Any] = {"base_url": f"{url.rstrip('/')}/v1", "api_key": key}
        self._settings = {"model": model, "temperature": temperature, "max_tokens": max_tokens}

    def sample(self, prompt: str, n: int, *, first_seed: int = 0) -> list[Candidate]:
        """Draws n answers, with the seeds first_seed, first_seed + 1, ..., which the candidates' fields keep."""
        with OpenAI(**self._server) as client:
            seeds = range(first_seed, first_seed + n)
            return [_candidate(client.chat.completions.create(**self._request(prompt, seed)), seed) for seed in seeds]

    async def sample_at_once(self, prompt: str, n: int) -> list[Candidate]:
        """Draws n answers by n requests at the same time."""
        async with AsyncOpenAI(**self._server) as client:

            async def draw(seed: int) -> Candidate:
                return _candidate(await client.chat.completions.create(**self._request(prompt, seed)), seed)

            return await asyncio.gather(*map(draw, range(n)))

    def _request(self, prompt: str, seed: int) -> dict[str, Any]:
        return {**self._settings, "messages": [{"role": "user", "content": prompt}], "seed": seed}


def _candidate(answer: Any, seed: int) -> Candidate:
    [choice] = answer.choices
    return Candidate(text=choice.message.content or "", fields={"seed": seed, "finish_reason": choice.finish_reason})
