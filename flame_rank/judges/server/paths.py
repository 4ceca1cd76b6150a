"""The ways in which a server can be asked for a verdict, the best first. Each is tried on one comparison, once."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from flame_rank.judges.server import prompts, verdicts
from flame_rank.judges.server.client import Client, Refused, Unreadable
from flame_rank.judges.server.prompts import Comparison, Cut, TokenPrompts
from flame_rank.judges.server.verdicts import TokenLogProb
from flame_rank.judges.written import Judgement, Sample, answer_limit, outcome, read_sample
from flame_rank.prompts.instructions import VERDICTS, Instructions, with_reasons_first
from flame_rank.records import Problem

WIDTHS = (1000, 100, 20, 5)  # of likeliest tokens: vLLM and OpenAI give 20, llama.cpp as many as it has
SHORT = 512  # tokens of an answer that is a verdict and, of some hosted models, thoughts that are not shown
_FIRST_WIDTH = 20  # asked for at first; more only if a label is not among them


class Path(Protocol):
    """One way in which a server can be asked.

    Attributes:
      name: its name in the judge's identity.
      grouped: whether one request has all comparisons that share prompt and first response.
    """

    name: str
    grouped: bool

    def prepare(self, problems: Sequence[Problem]) -> None:
        """Prepares the requests of problems, outside of the event loop."""

    async def ask(self, group: Sequence[Comparison]) -> list[Judgement]:
        """Judges comparisons: all of one (prompt, first response) if the path is grouped, otherwise a single one.

        Raises:
          Refused, Unanswered, UserError: as in `Client.post`.
        """


class _TokenPath:
    """The common base of the paths that send token ids."""

    grouped = False

    def __init__(self, client: Client, tokens: TokenPrompts):
        self._client, self._model = client, client.address.model
        self.tokens = tokens

    def prepare(self, problems: Sequence[Problem]) -> None:
        self.tokens.prepare(problems)

    def _ids(self, group: Sequence[Comparison]) -> tuple[list[Cut], list[Judgement | None]]:
        """Returns the comparisons that can be asked, and for each comparison of the group the reason if it cannot."""
        cuts = [self.tokens.ids(asked) for asked in group]
        return [cut for cut in cuts if cut.too_long is None], [
            Judgement(reason=cut.too_long) if cut.too_long else None for cut in cuts
        ]


class _LabelScores(_TokenPath, ABC):
    """One request for all second responses: the server reads prompt and first response once, and generates nothing."""

    grouped = True

    async def ask(self, group: Sequence[Comparison]) -> list[Judgement]:
        cuts, outcomes = self._ids(group)
        by_prefix: dict[tuple[int, ...], list[Cut]] = {}
        for cut in cuts:  # cutting may leave prefixes that differ
            by_prefix.setdefault(cut.shared, []).append(cut)
        scored: dict[int, Judgement] = {}
        for shared, some in by_prefix.items():
            for cut, judgement in zip(some, await self._score(shared, some), strict=True):
                scored[id(cut)] = judgement
        judged = (scored[id(cut)] for cut in cuts)
        return [outcome or next(judged) for outcome in outcomes]

    @abstractmethod
    async def _score(self, shared: tuple[int, ...], cuts: Sequence[Cut]) -> list[Judgement]:
        """Asks for the scores of the labels after each text; all texts share a prefix."""

    def _body(self, shared: tuple[int, ...], cuts: Sequence[Cut]) -> dict[str, Any]:
        return {
            "model": self._model,
            "query": list(shared),
            "items": [list(cut.rest) for cut in cuts],
            "label_token_ids": list(self.tokens.verdict_ids),
        }


class SglangScores(_LabelScores):
    """SGLang's POST /v1/score: P(A) and P(B) of each item."""

    name = "label scores of SGLang"

    async def _score(self, shared: tuple[int, ...], cuts: Sequence[Cut]) -> list[Judgement]:
        def read(reply: Any) -> list[Judgement]:
            scores = reply["scores"]
            if len(scores) != len(cuts) or any(len(pair) != 2 for pair in scores):
                raise Unreadable(f"{len(scores)} scores for {len(cuts)} items of two labels")
            return [verdicts.from_probabilities(*pair) for pair in scores]

        body = {**self._body(shared, cuts), "apply_softmax": False}
        return await self._client.post("/v1/score", body, read, own=True, tokens=_tokens(shared, cuts))


class VllmScores(_LabelScores):
    """vLLM's POST /generative_scoring: the share of P(A) in P(A) + P(B)."""

    name = "label scores of vLLM"

    async def _score(self, shared: tuple[int, ...], cuts: Sequence[Cut]) -> list[Judgement]:
        def read(reply: Any) -> list[Judgement]:
            data = sorted(reply["data"], key=lambda item: item["index"])
            if [item["index"] for item in data] != list(range(len(cuts))):
                raise Unreadable(f"{len(data)} scores for {len(cuts)} items")
            return [verdicts.from_share(item["score"]) for item in data]

        body = {**self._body(shared, cuts), "apply_softmax": True, "add_special_tokens": False}
        return await self._client.post("/generative_scoring", body, read, own=True, tokens=_tokens(shared, cuts))


def _tokens(shared: Sequence[int], cuts: Sequence[Cut]) -> int:
    return sum(len(shared) + len(cut.rest) for cut in cuts)


class LabelLogProbs(_TokenPath):
    """The log-probabilities of exactly A and B, with vLLM's `logprob_token_ids`."""

    name = "log-probabilities of the labels"

    async def open(self) -> None:
        """Finds out whether the server returns the tokens that it is asked for.

        Raises:
          Refused: the server does not return them.
        """
        unlikely = self.tokens.frame[0][0]  # what a chat begins with
        tokens = await self._top(Cut(self.tokens.frame[0], ()), 2, logprob_token_ids=[unlikely])
        if unlikely not in {token.id for token in tokens}:
            raise Refused("the server ignores logprob_token_ids")

    async def _top(self, cut: Cut, width: int, **fields: Any) -> list[TokenLogProb]:
        ids = [*cut.shared, *cut.rest]
        body = {"model": self._model, "prompt": ids, "max_tokens": 1, "temperature": 0, "logprobs": width}
        return await self._client.post(
            "/completions",
            {**body, "return_tokens_as_token_ids": True, **fields},
            verdicts.likeliest,
            tokens=len(ids) + 1,
        )

    async def top(self, ids: Sequence[int], labels: Sequence[int]) -> list[TokenLogProb]:
        """Returns tokens that may come next, the labels among them if the server returns those.

        Raises:
          Refused, Unanswered, UserError: as in `Client.post`.
        """
        return await self._top(Cut(tuple(ids), ()), len(labels), logprob_token_ids=list(labels))

    def _read(self, tokens: Sequence[TokenLogProb]) -> Judgement:
        (a, b), (text_a, text_b) = self.tokens.verdict_ids, self.tokens.labels

        def is_label(token: TokenLogProb, number: int, text: str) -> bool:
            return token.id == number if token.id is not None else token.text.strip() == text

        return verdicts.from_tokens(tokens, lambda t: is_label(t, a, text_a), lambda t: is_label(t, b, text_b))

    async def ask(self, group: Sequence[Comparison]) -> list[Judgement]:
        cuts, outcomes = self._ids(group)
        labels = list(self.tokens.verdict_ids)
        return [outcome or self._read(await self._top(cuts[0], 2, logprob_token_ids=labels)) for outcome in outcomes]


class TopLogProbs(LabelLogProbs):
    """The log-probabilities of the likeliest first tokens after the exact ids of a comparison."""

    def __init__(self, client: Client, tokens: TokenPrompts):
        super().__init__(client, tokens)
        self._widen(_FIRST_WIDTH)

    def _widen(self, width: int) -> None:
        self.width, self.name = width, f"log-probabilities of the likeliest {width} tokens"

    async def open(self) -> None:
        """Finds out how many tokens the server returns at most.

        Raises:
          Refused: the server returns none.
        """
        few = Cut(self.tokens.frame[0], ())
        for width in WIDTHS:
            try:
                self._widen(len(await self._top(few, width)))
                return
            except Refused:
                if width == WIDTHS[-1]:
                    raise

    async def top(self, ids: Sequence[int], labels: Sequence[int]) -> list[TokenLogProb]:
        for width in sorted({min(_FIRST_WIDTH, self.width), self.width}):
            tokens = await self._top(Cut(tuple(ids), ()), width)
            if {*labels} <= {token.id for token in tokens}:
                break
        return tokens

    async def ask(self, group: Sequence[Comparison]) -> list[Judgement]:
        cuts, outcomes = self._ids(group)
        if outcomes[0] is not None:
            return [outcomes[0]]
        width = min(_FIRST_WIDTH, self.width)
        judgement = self._read(await self._top(cuts[0], width))
        if width < self.width and (judgement.bound or judgement.reason):
            judgement = self._read(await self._top(cuts[0], self.width))
        return [judgement]


def is_letter(letter: str) -> Callable[[TokenLogProb], bool]:
    """Returns a function that tells whether a token is this letter."""
    return lambda token: token.text.strip() == letter


class ChatLogProbs:
    """The log-probabilities of the likeliest first tokens of a chat's answer."""

    grouped = False

    def __init__(self, client: Client, instructions: Instructions, fields: dict[str, Any], width: int):
        """Args:
        fields: added to each request, besides the messages.
        width: how many of the likeliest tokens the server returns.
        """
        self._client, self._instructions, self._fields, self._width = client, instructions, fields, width
        self.name = f"log-probabilities of the likeliest {width} tokens of a chat's answer"

    def prepare(self, problems: Sequence[Problem]) -> None:
        pass

    async def ask(self, group: Sequence[Comparison]) -> list[Judgement]:
        (asked,) = group
        top = await self.top(prompts.message(self._instructions, asked))
        return [verdicts.from_tokens(top, is_letter("A"), is_letter("B"))]

    async def top(self, messages: list[dict[str, str]]) -> list[TokenLogProb]:
        """Returns the likeliest first tokens of an answer.

        Raises:
          Refused, Unanswered, UserError: as in `Client.post`.
        """
        body = {"model": self._client.address.model, "messages": messages, "logprobs": True, **self._fields}
        return await self._client.post(
            "/chat/completions",
            {**body, "top_logprobs": self._width},
            verdicts.likeliest,
            tokens=estimate(messages) + 1,
        )


class Drawn:
    """Verdicts that a model writes, after reasons if it should think; they are read strictly."""

    grouped = False

    def __init__(
        self,
        client: Client,
        instructions: Instructions,
        fields: dict[str, Any],
        *,
        samples: int,
        think: int | None,
    ):
        """Args:
        fields: added to each request, besides the messages.
        samples: the number of verdicts for one comparison.
        think: the most tokens of reasoning before a verdict; None for a verdict without reasoning.
        """
        self._client, self._fields = client, fields
        self._instructions = instructions if think is None else with_reasons_first(instructions)
        self._samples, self.thinks = samples, think is not None
        self._limit = SHORT if think is None else answer_limit(think)
        self._several = True  # whether the server draws several answers for one request; llama.cpp does not
        verdict = "verdicts" if samples > 1 else "verdict"
        reasons = "" if think is None else f", each after {think} tokens of thought at most"
        self.name = f"{samples} drawn {verdict}{reasons}"

    def prepare(self, problems: Sequence[Problem]) -> None:
        pass

    async def ask(self, group: Sequence[Comparison]) -> list[Judgement]:
        (asked,) = group
        return [outcome(await self.draw(prompts.message(self._instructions, asked)))]

    async def draw(self, messages: list[dict[str, str]], letters: Sequence[str] = VERDICTS) -> list[Sample]:
        """Draws answers.

        Raises:
          Refused, Unanswered, UserError: as in `Client.post`.
        """
        drawn: list[Sample] = []
        several = self._several
        while len(drawn) < self._samples:  # servers may give fewer choices than they are asked for
            left = self._samples - len(drawn) if several else 1
            try:
                drawn += await self._draw(messages, left, letters)
                self._several = several
            except Refused:  # of several answers, or of this comparison
                if left == 1:
                    raise
                several = False
        return drawn[: self._samples]

    async def _draw(self, messages: list[dict[str, str]], count: int, letters: Sequence[str]) -> list[Sample]:
        body = {"model": self._client.address.model, "messages": messages, **self._fields}
        return await self._client.post(
            "/chat/completions",
            {**body, "n": count} if count > 1 else body,
            lambda reply: [self._read(choice, letters) for choice in reply["choices"]] or _nothing(),
            tokens=estimate(messages) + count * self._limit,
        )

    def _read(self, choice: Any, letters: Sequence[str]) -> Sample:
        """Reads one of the answers to a request."""
        message = choice["message"]
        if not isinstance(message.get("content") or "", str):
            raise Unreadable(f"the answer is a {type(message['content']).__name__}, not a text")
        ended = choice.get("finish_reason") != "length"
        sample = read_sample(message, ended=ended, thinks=self.thinks, limit=self._limit, letters=letters)
        tokens = (choice.get("logprobs") or {}).get("content") or []
        behind = ""
        for entry in reversed(tokens if sample.verdict and letters == VERDICTS else []):
            behind = entry["token"] + behind
            if "\n" in behind.strip():  # the verdict is in the last line
                break
            if entry["token"].strip() == sample.verdict:
                judgement = verdicts.from_tokens(verdicts.at_position(entry), is_letter("A"), is_letter("B"))
                return sample if judgement.reason else replace(sample, judgement=judgement)
        return sample


def _nothing() -> Any:
    raise Unreadable("it has no choices")


def estimate(messages: Sequence[dict[str, str]]) -> int:
    """Estimates the number of tokens of a chat; the server's tokenizer is not available."""
    return sum(len(message["content"]) for message in messages) // 4 + 16
