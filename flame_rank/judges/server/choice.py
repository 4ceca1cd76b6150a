"""A model behind a server that is shown all candidates at once, in several random orders, and chooses by a letter."""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict

import numpy as np

from flame_rank.judges.base import Notes, ProblemMemory
from flame_rank.judges.choice_prompts import (
    ROUNDS,
    ChoicePrompts,
    Shown,
    choosing,
    letters_of,
    message,
    orders,
    qualities,
)
from flame_rank.judges.function import awaited
from flame_rank.judges.options import OnLong
from flame_rank.judges.server import address, capabilities, verdicts
from flame_rank.judges.server.client import Client, Refused, Unanswered, Unreadable
from flame_rank.judges.server.paths import ChatLogProbs, Drawn, LabelLogProbs, is_letter
from flame_rank.judges.server.schedule import Request, send_all
from flame_rank.judges.server.usage import Usage
from flame_rank.judges.server.verdicts import TokenLogProb
from flame_rank.prompts.instructions import with_reasons_first
from flame_rank.records import Problem
from strategies.base import FloatArray, IntArray


class _Log:
    """The rounds of a problem, and the log-probabilities of the letters in those that were answered."""

    def __init__(self, shown: Shown):
        self.shown = shown
        self.log_probs: dict[int, FloatArray] = {}
        self.failures = dict.fromkeys(shown.failures)
        self.broken = False


class ServerChoiceJudge:
    """Rates all candidates of a problem by the mean log-probability of their letters over `ROUNDS` random orders.

    A problem is rated once all its rounds are answered. If the server returns no log-probabilities, the letters that it
    writes count as votes.

    Attributes:
      path: the way in which the server is asked; it is part of the name.
      price: the price of a million tokens, as the user gave it.
    """

    pool_aware = True
    pointwise = True
    one_by_one = False

    def __init__(self, client: Client, wanted: capabilities.Wanted):
        """Finds out what the server can do.

        Raises:
          UserError: the server cannot be reached, or cannot give verdicts.
        """
        known = capabilities.discover(client, wanted, awaited)
        self._client, self.path, self._concurrency = client, known.path, known.concurrency
        self._instructions, options = wanted.instructions, client.options
        self._prompts: ChoicePrompts | None = None
        length = None
        if known.form is not None and isinstance(known.path, LabelLogProbs):
            length = known.path.tokens.max_length
            self._prompts = ChoicePrompts(
                known.form, wanted.instructions, max_length=length, on_long=wanted.on_long, rounds=ROUNDS
            )
        if isinstance(known.path, Drawn) and known.path.thinks:
            last = "`choice:` with the letter of the best response"
            self._instructions = with_reasons_first(wanted.instructions, last)
        drawn = [options.think, options.effort, options.temperature, options.top_p]
        stated = [
            asdict(self._instructions),
            known.form.chat if known.form else None,
            length,
            wanted.on_long,
            known.weights,
            drawn if isinstance(known.path, Drawn) else None,
        ]
        digest = hashlib.sha256(json.dumps(stated).encode()).hexdigest()[:12]
        self.name = f"{client.address.name} (choice of {ROUNDS} by {known.path.name}):{digest}"
        self.price = options.price
        self._logs: ProblemMemory[_Log] = ProblemMemory()

    @property
    def usage(self) -> Usage:
        return self._client.usage

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        """Returns log-odds [M] for each problem: differences of qualities; NaN for what the server did not answer.

        Raises:
          UserError: a problem has more than 26 distinct candidates, or is too long and `on_long` is "fail"; or the
            server denies access.
        """
        problems = list(dict.fromkeys(problem for problem, _ in asked))
        for problem in problems:
            if problem not in self._logs:
                self._logs[problem] = _Log(self._shown(problem))
        requests = [
            Request((problem, k), ((id(problem),),))
            for problem in problems
            for k in range(len(self._logs[problem].shown.orders))
            if k not in self._logs[problem].log_probs
        ]
        awaited(send_all(requests, self._send, self._concurrency, set()))
        return [self._qualities(problem)[pairs] @ np.array([1.0, -1.0]) for problem, pairs in asked]

    def notes(self, problem: Problem) -> Notes:
        """Returns how many candidates were cut, and why the problem was not judged."""
        log = self._logs.get(problem)
        if log is None:
            return Notes()
        return Notes(truncated=log.shown.cut, failures=tuple(log.failures), broken=log.broken)

    def verdict_mass(self, problem: Problem, pairs: IntArray) -> FloatArray:
        """Returns the probability [M] of all letters together; NaN if the server does not report it."""
        log = self._logs.get(problem)
        if log is None or not log.log_probs or isinstance(self.path, Drawn):
            return np.full(len(pairs), np.nan)
        return np.full(len(pairs), np.mean([np.exp(row).sum() for row in log.log_probs.values()]))

    def _shown(self, problem: Problem) -> Shown:
        letters_of(problem)  # raises for too many candidates
        return self._prompts.shown(problem) if self._prompts else Shown([], orders(problem, ROUNDS), [])

    def _qualities(self, problem: Problem) -> FloatArray:
        log = self._logs[problem]
        if not log.log_probs or len(log.log_probs) < len(log.shown.orders):
            return np.full(len(problem), np.nan)
        rounds = sorted(log.log_probs)
        return qualities(problem, [log.log_probs[k] for k in rounds], log.shown.orders)

    async def _send(self, asked: tuple[Problem, int]) -> None:
        problem, k = asked
        log, name = self._logs[problem], self._client.address.name
        try:
            log.log_probs[k] = np.array(await self._ask(problem, log.shown, k))
        except (Refused, Unanswered, Unreadable) as error:
            log.broken |= isinstance(error, Unanswered)
            log.failures[f"{name}: {error}"] = None

    async def _ask(self, problem: Problem, shown: Shown, k: int) -> list[float]:
        """Returns the log-probability of each letter in a round."""
        letters = letters_of(problem)
        if isinstance(self.path, LabelLogProbs):
            ids = [token for piece in shown.paths[k] for token in piece]
            tokens = await self.path.top(ids, shown.letters)
            return self._read(tokens, letters, dict(zip(letters, shown.letters, strict=True)))
        messages = message(self._instructions, problem, shown.orders[k])
        if isinstance(self.path, ChatLogProbs):
            return self._read(await self.path.top(messages), letters, {})
        assert isinstance(self.path, Drawn), "the other paths are not tried"
        samples = await self.path.draw(messages, letters)
        votes = [sample.verdict for sample in samples if sample.verdict]
        if not votes:
            raise Unreadable(str(samples[0].reason))
        return [math.log(votes.count(letter) + 0.5) for letter in letters]

    def _read(self, tokens: Sequence[TokenLogProb], letters: str, ids: dict[str, int]) -> list[float]:
        def matching(letter: str) -> Callable[[TokenLogProb], bool]:
            return lambda t: t.id == ids[letter] if ids and t.id is not None else is_letter(letter)(t)

        log_probs, bound = verdicts.of_letters(tokens, [matching(letter) for letter in letters])
        self.usage.bounds += bound
        return log_probs


def load(
    spec: str,
    *,
    criteria: str | None = None,
    max_length: int | None = None,
    on_long: OnLong = "cut",
    template: str | None = None,
) -> ServerChoiceJudge:
    """Loads the judge openai:MODEL@URL#OPTIONS; arguments as in `flame_rank.load_judge`.

    Raises:
      UserError: the address is wrong, or the server cannot be reached or cannot give verdicts.
    """
    place, asked = address.parse(spec)
    wanted = capabilities.Wanted(
        instructions=choosing(criteria), max_length=max_length, on_long=on_long, template=template, letters=True
    )
    return ServerChoiceJudge(Client(place, asked), wanted)
