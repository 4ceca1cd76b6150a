"""The judge that asks a model behind a server."""

import hashlib
import json
from collections.abc import Hashable, Sequence
from dataclasses import asdict

import numpy as np

from flame_rank.judges.base import Notes, ProblemMemory
from flame_rank.judges.function import awaited
from flame_rank.judges.options import OnLong
from flame_rank.judges.server import address, capabilities, prompts
from flame_rank.judges.server.client import Client, Refused, Unanswered
from flame_rank.judges.server.paths import Drawn, estimate
from flame_rank.judges.server.prompts import Comparison
from flame_rank.judges.server.schedule import Request, send_all
from flame_rank.judges.server.usage import Usage
from flame_rank.judges.written import Judgement, reasoning
from flame_rank.prompts.instructions import PAIRWISE, with_criteria, with_words
from flame_rank.records import Problem
from strategies.base import FloatArray, IntArray

_WORDS = 256  # tokens of an explanation


class _Log:
    """The judgements of a problem that are known so far."""

    def __init__(self) -> None:
        self.warm: set[Hashable] = set()  # prefixes that the server has read
        self.failures: dict[str, None] = {}
        self.broken = False
        self.cut: set[int] = set()
        self.mass: dict[tuple[int, int], float] = {}  # P(A) + P(B) of each comparison
        self.words: dict[tuple[int, int], str] = {}


class ServerJudge:
    """Asks a model behind an OpenAI-compatible server which of two responses is better.

    Attributes:
      path: the way in which the server is asked; it is part of the name.
      usage: counts of the requests so far.
      price: the price of a million tokens, as the user gave it.
    """

    pool_aware = False
    pointwise = False
    one_by_one = False  # comparisons of many problems are under way at once

    def __init__(self, client: Client, wanted: capabilities.Wanted):
        """Finds out what the server can do.

        Raises:
          UserError: the server cannot be reached, or cannot give verdicts.
        """
        self._client, self._instructions = client, wanted.instructions
        known = capabilities.discover(client, wanted, awaited)
        self.path, self._concurrency, self._fields = known.path, known.concurrency, known.fields
        options = client.options
        stated = [
            asdict(wanted.instructions),
            known.form.chat if known.form else None,
            getattr(getattr(known.path, "tokens", None), "max_length", None),
            wanted.on_long,
            known.weights,
            [options.think, options.effort, options.temperature, options.top_p]
            if isinstance(known.path, Drawn)
            else None,
        ]
        digest = hashlib.sha256(json.dumps(stated).encode()).hexdigest()[:12]
        self.name = f"{client.address.name} ({known.path.name}):{digest}"
        self.price = options.price
        self._logs: ProblemMemory[_Log] = ProblemMemory()

    @property
    def usage(self) -> Usage:
        return self._client.usage

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        """Returns log-odds [M] for each problem; NaN for what the server did not answer.

        Raises:
          UserError: the server denies access, or a comparison is too long and `on_long` is "fail".
        """
        answers = [np.full(len(pairs), np.nan) for _, pairs in asked]
        places: dict[tuple[int, Comparison], list[int]] = {}
        for k, (problem, pairs) in enumerate(asked):
            for m, (first, second) in enumerate(pairs.tolist()):
                places.setdefault((k, Comparison(problem, first, second)), []).append(m)
        self.path.prepare([problem for problem, _ in asked])
        warm = set[Hashable]().union(*(self._log(problem).warm for problem, _ in asked))

        async def send(group: list[tuple[int, Comparison]]) -> None:
            judgements = await self._ask([comparison for _, comparison in group])
            for key, judgement in zip(group, judgements, strict=True):
                self._keep(key[1], judgement)
                answers[key[0]][places[key]] = judgement.log_odds

        awaited(send_all(self._requests(list(places)), send, self._concurrency, warm))
        return answers

    def _requests(self, keys: list[tuple[int, Comparison]]) -> list[Request[list[tuple[int, Comparison]]]]:
        """Makes the requests, ordered by problem and first response; comparisons are grouped if the path groups
        them."""
        keys = sorted(keys, key=lambda key: (key[0], key[1].first))
        if not self.path.grouped:
            return [Request([key], key[1].prefixes) for key in keys]
        groups: dict[tuple[int, int], list[tuple[int, Comparison]]] = {}
        for key in keys:
            groups.setdefault((key[0], key[1].first), []).append(key)
        return [Request(group, group[0][1].prefixes[:1]) for group in groups.values()]

    async def _ask(self, comparisons: list[Comparison]) -> list[Judgement]:
        try:
            return await self.path.ask(comparisons)
        except (Refused, Unanswered) as error:
            self._log(comparisons[0].problem).broken |= isinstance(error, Unanswered)
            return [Judgement(reason=f"{self._client.address.name}: {error}") for _ in comparisons]

    def _keep(self, asked: Comparison, judgement: Judgement) -> None:
        log, pair = self._log(asked.problem), (asked.first, asked.second)
        log.warm.update(asked.prefixes)
        log.mass[pair] = judgement.mass
        if judgement.words:
            log.words[pair] = judgement.words
        if judgement.reason:
            log.failures[judgement.reason] = None
        self.usage.bounds += judgement.bound
        if tokens := getattr(self.path, "tokens", None):
            log.cut |= tokens.ids(asked).cut

    def notes(self, problem: Problem) -> Notes:
        """Returns what was cut, and why judgements failed."""
        log = self._logs.get(problem) or _Log()
        return Notes(truncated=len(log.cut), failures=tuple(log.failures), broken=log.broken)

    def verdict_mass(self, problem: Problem, pairs: IntArray) -> FloatArray:
        """Returns P(A) + P(B) [M] of judged comparisons [M, 2]; NaN if the server did not report it."""
        log = self._logs.get(problem) or _Log()
        return np.array([log.mass.get((i, j), np.nan) for i, j in pairs.tolist()], np.float64)

    def explain(self, asked: Sequence[tuple[Problem, int, int]]) -> list[str | None]:
        """Explains why a candidate is better than another. A thinking judge repeats the reasoning of its judgement, and
        any other judge is asked to explain; None if the server did not answer.

        Args:
          asked: problems, each with the better candidate and the other one, by index.
        """
        comparisons = [Comparison(*pair) for pair in asked]
        known = [self._kept_words(*comparison) for comparison in comparisons]
        new = [comparison for comparison, words in zip(comparisons, known, strict=True) if words is None]
        written: dict[Comparison, str | None] = {}

        async def send(comparison: Comparison) -> None:
            written[comparison] = await self._write(comparison)

        awaited(send_all([Request(comparison, ()) for comparison in new], send, self._concurrency, set()))
        return [words or written.get(comparison) for comparison, words in zip(comparisons, known, strict=True)]

    def _kept_words(self, problem: Problem, better: int, other: int) -> str | None:
        words = self._log(problem).words
        return words.get((better, other)) or words.get((other, better))

    async def _write(self, asked: Comparison) -> str | None:
        messages = prompts.message(with_words(self._instructions), asked)
        question = "response_a is the better one. Say why, in a few sentences and without another verdict."
        messages[0]["content"] = messages[0]["content"].rpartition("\n\nEVALUATION:")[0] + f"\n\n{question}"
        limits = ("max_completion_tokens", "max_tokens")
        fields = {name: value for name, value in self._fields.items() if name not in (*limits, "logprobs")}
        fields.pop("top_logprobs", None)
        name = next((name for name in limits if name in self._fields), "max_tokens")
        body = {"model": self._client.address.model, "messages": messages, **fields, name: _WORDS}
        try:
            return await self._client.post(
                "/chat/completions",
                body,
                lambda reply: reasoning(reply["choices"][0]["message"]) or None,
                tokens=estimate(messages) + _WORDS,
            )
        except (Refused, Unanswered):
            return None

    def _log(self, problem: Problem) -> _Log:
        if problem not in self._logs:
            self._logs[problem] = _Log()
        return self._logs[problem]


def load(
    spec: str,
    *,
    criteria: str | None = None,
    max_length: int | None = None,
    on_long: OnLong = "cut",
    template: str | None = None,
) -> ServerJudge:
    """Loads the judge openai:MODEL@URL#OPTIONS; arguments as in `flame_rank.load_judge`.

    Raises:
      UserError: the address is wrong, or the server cannot be reached or cannot give verdicts.
    """
    place, asked = address.parse(spec)
    instructions = with_criteria(criteria) if criteria else PAIRWISE
    wanted = capabilities.Wanted(instructions=instructions, max_length=max_length, on_long=on_long, template=template)
    return ServerJudge(Client(place, asked), wanted)
