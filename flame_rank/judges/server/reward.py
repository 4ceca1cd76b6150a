"""A reward model or a cross-encoder behind a server as a pointwise judge: one score for each candidate."""

import hashlib
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np

from flame_rank.errors import UserError
from flame_rank.judges.base import Notes, ProblemMemory
from flame_rank.judges.function import awaited
from flame_rank.judges.server import address, capabilities
from flame_rank.judges.server.client import CONCURRENCY, Client, Refused, Unanswered, Unreadable
from flame_rank.judges.server.schedule import Request, send_all
from flame_rank.judges.server.usage import Usage
from flame_rank.messages import Messages, from_text
from flame_rank.records import Problem
from strategies.base import FloatArray, IntArray

_RAW = {"use_activation": False, "activation": False}  # vLLM's old and new word for a score without a sigmoid
_Score = Callable[[str, str], Awaitable[float]]


class ServerRewardJudge:
    """Asks a server for a reward of each candidate; the log-odds are the difference of two rewards.

    Attributes:
      path: the way in which the server is asked; it is part of the name.
      usage: counts of the requests so far.
    """

    pool_aware = False
    pointwise = True
    one_by_one = False

    def __init__(self, client: Client, scale: float):
        """Finds out how the server gives rewards.

        Args:
          scale: the log-odds in nats that a difference of 1 between two rewards means.

        Raises:
          UserError: the server cannot be reached, or gives no rewards.
        """
        self._client, self._scale, self.price = client, scale, client.options.price
        try:
            client.address, weights = awaited(capabilities.find_model(client))
        except (Refused, Unanswered) as error:
            raise UserError(
                f"--judge {client.address.name}: the server does not answer ({error}); is it running?"
            ) from None
        self._score, self.path = awaited(self._find())
        digest = hashlib.sha256(repr([weights, scale]).encode()).hexdigest()[:12]
        self.name = f"{client.address.name} ({self.path}):{digest}"
        self._rewards: ProblemMemory[dict[int, float]] = ProblemMemory()
        self._failures: ProblemMemory[dict[str, None]] = ProblemMemory()

    @property
    def usage(self) -> Usage:
        return self._client.usage

    async def _find(self) -> tuple[_Score, str]:
        """Returns the first path that gives a reward, and its name."""
        ways: list[tuple[str, _Score]] = [
            ("rewards of vLLM's /classify", self._classified_by_vllm),
            ("rewards of SGLang's /classify", self._classified_by_sglang),
            ("scores of /score", self._scored),
            ("scores of /rerank", self._reranked),
        ]
        refusals = []
        for name, score in ways:
            try:
                await score("What is 2 + 2?", "It is 4.")
                return score, name
            except (Refused, Unanswered) as error:
                refusals.append(f"{name}: {error}")
        raise UserError(f"--judge {self._client.address.name}: it gives no rewards ({'; '.join(refusals)})")

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        """Returns log-odds [M] for each problem; NaN for what the server did not answer.

        Raises:
          UserError: the server denies access.
        """
        wanted = [
            (problem, int(i))
            for problem, pairs in asked
            for i in dict.fromkeys(np.asarray(pairs).ravel().tolist())
            if i not in self._rewards.setdefault(problem, {})
        ]

        async def send(candidate: tuple[Problem, int]) -> None:
            problem, i = candidate
            try:
                self._rewards[problem][i] = await self._score(problem.prompt, problem.texts[i])
            except (Refused, Unanswered) as error:
                reason = f"{self._client.address.name}: {error}"
                self._failures.setdefault(problem, {})[reason] = None

        requests = [Request(candidate, ((id(candidate[0]),),)) for candidate in dict.fromkeys(wanted)]
        awaited(send_all(requests, send, self._client.options.concurrency or CONCURRENCY, set()))
        answers = []
        for problem, pairs in asked:
            known = self._rewards[problem]
            rewards = np.array([known.get(i, math.nan) for i in range(len(problem))])
            answers.append(np.asarray(self._scale * (rewards[pairs[:, 0]] - rewards[pairs[:, 1]])))
        return answers

    def notes(self, problem: Problem) -> Notes:
        """Returns why judgements failed."""
        failures = tuple(self._failures.get(problem, ()))
        return Notes(failures=failures, broken=bool(failures))

    async def _classified_by_vllm(self, prompt: str, answer: str) -> float:
        ids = await self._ids(prompt, answer)
        body = {"model": self._client.address.model, "input": ids, **_RAW}
        return await self._post("/classify", body, lambda reply: reply["data"][0]["probs"], len(ids))

    async def _classified_by_sglang(self, prompt: str, answer: str) -> float:
        ids = await self._ids(prompt, answer)
        body = {"model": self._client.address.model, "input_ids": ids}
        return await self._post(
            "/classify", body, lambda reply: (reply[0] if isinstance(reply, list) else reply)["embedding"], len(ids)
        )

    async def _scored(self, prompt: str, answer: str) -> float:
        body = {"model": self._client.address.model, "text_1": prompt, "text_2": answer, **_RAW}
        size = (len(prompt) + len(answer)) // 4 + 1
        return await self._post("/score", body, lambda reply: [reply["data"][0]["score"]], size)

    async def _reranked(self, prompt: str, answer: str) -> float:
        body = {"model": self._client.address.model, "query": prompt, "documents": [answer], **_RAW}
        size = (len(prompt) + len(answer)) // 4 + 1
        return await self._post("/rerank", body, lambda reply: [reply["results"][0]["relevance_score"]], size)

    async def _post(self, path: str, body: dict[str, Any], read: Callable[[Any], Any], tokens: int) -> float:
        def number(reply: Any) -> float:
            values = read(reply)
            if len(values) != 1 or isinstance(values[0], bool) or not math.isfinite(values[0]):
                raise Unreadable(f"{values!r:.80} is not one reward")
            return float(values[0])

        return await self._client.post(path, body, number, own=True, tokens=tokens)

    async def _ids(self, prompt: str, answer: str) -> list[int]:
        """Returns the ids of a conversation in the model's own template."""
        turns: Messages = [*from_text(prompt), {"role": "assistant", "content": answer}]
        body = {"model": self._client.address.model, "messages": turns, "add_generation_prompt": False}

        def read(reply: Any) -> list[int]:
            ids: list[int] = reply["tokens"]
            return ids if ids else []

        return await self._client.post("/tokenize", body, read, own=True)


def load(spec: str) -> ServerRewardJudge:
    """Loads the judge reward:MODEL@URL#OPTIONS.

    Raises:
      UserError: the address is wrong, or the server cannot be reached or gives no rewards.
    """
    place, options = address.parse(spec)
    return ServerRewardJudge(Client(place, options), options.scale)
