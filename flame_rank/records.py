"""The input and the output of a ranking: a problem with its candidates, and their ranking.

flame_rank.io.jsonl reads problems and flame_rank.io.output writes rankings; both can also be made in Python.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast, overload

import msgspec

from flame_rank import messages
from flame_rank.cached import cached_property

if TYPE_CHECKING:  # a record needs no numpy
    from strategies.base import FloatArray, IntArray, Standing
    from strategies.consistency import Consistency


LIST_KEYS = ("candidates", "samples", "completions", "responses")  # the first of these that a record has
TEXT_KEYS = ("completion", "text", "response", "solution", "output", "generation")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An answer, with the other fields of its record.

    Attributes:
      text: the answer, as the judge reads it.
      fields: the other fields (a sample's temperature, its id), which are passed through and never judged.
      key: the field of the record that held the text, one of TEXT_KEYS; "solution" is a whole program, as in EvalPlus.
    """

    text: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    key: str = field(default="text", compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise TypeError(f"a candidate's text is {_kind(self.text)}, not a str")
        if self.key not in TEXT_KEYS:
            raise ValueError(f"a candidate's key is {self.key!r}; it must be one of {', '.join(TEXT_KEYS)}")


_CANDIDATE = (str, Candidate)  # a tuple, since making `str | Candidate` anew takes as long as the check


class RawFields(Mapping[str, Any]):
    """The fields of a JSON object, each decoded only when it is looked up.

    Attributes:
      raw: the fields' values, byte for byte as they were read.
    """

    def __init__(self, raw: Mapping[str, msgspec.Raw]):
        self.raw = raw

    def __getitem__(self, name: str) -> Any:
        return msgspec.json.decode(self.raw[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.raw)

    def __len__(self) -> int:
        return len(self.raw)

    def __repr__(self) -> str:
        return f"RawFields({', '.join(self.raw)})"


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupedRecord:
    """The line of a grouped file that a problem was read from.

    Attributes:
      fields: all fields of the line in their order, undecoded.
      key: the field that holds the candidates.
      group: the name of the problem; None if the line has no field for it.
      numbers: the line's number, from 1.
      lines: the line without its end.
      originals: each candidate as it is in another tool's line, undecoded; None if they are in `key`.
      messages: the prompt, undecoded, if it is a list of messages.
      implicit: whether the prompt is the start of each candidate's messages.
    """

    fields: Mapping[str, msgspec.Raw]
    key: str
    group: str | int | None
    numbers: tuple[int]
    lines: tuple[bytes]
    originals: tuple[msgspec.Raw, ...] | None = None
    messages: msgspec.Raw | None = None
    implicit: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class FlatRecord:
    """The lines of a flat file that a problem was read from, one for each candidate.

    Attributes:
      group_by: the field whose value the lines have in common.
      group: that value.
      numbers: the lines' numbers, from 1.
      lines: the lines without their ends, in the order of the candidates.
      messages: the prompt, undecoded, if it is a list of messages.
      texts: the candidates of another tool's lines; None for this library's own.
    """

    group_by: str
    group: str | int
    numbers: tuple[int, ...]
    lines: tuple[bytes, ...]
    messages: msgspec.Raw | None = None
    texts: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """A prompt and the candidates to choose from.

    Two problems are never equal, even with the same content, so that a problem can be the key of a dict.

    Attributes:
      prompt: a text, or a list of chat messages, which becomes a text (flame_rank.messages).
      candidates: texts or Candidates, at least one. A mapping with a text (one of TEXT_KEYS) or chat messages become
        Candidates.
      name: the name of the problem in messages (its task_id, or FILE:LINE).
      record: the lines that the problem was read from; None if it was made in Python.
      answers: each candidate's final answer, or None; by default read from the texts. Equal answers are one option.

    Raises:
      TypeError: a prompt, candidate or answer is not text.
      ValueError: there is no candidate, a text holds half of a surrogate pair, which no judge can read, or the numbers
        of answers and candidates differ.
    """

    prompt: str
    candidates: Sequence[str | Candidate]
    name: str = ""
    record: GroupedRecord | FlatRecord | None = field(default=None, repr=False)
    answers: Sequence[str | None] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.prompt, str):
            if not messages.is_messages(self.prompt):
                raise TypeError(f"prompt is {_kind(self.prompt)}; it must be a str or a list of chat messages")
            object.__setattr__(self, "prompt", messages.to_text(cast(Any, self.prompt)))
        if isinstance(self.candidates, str | bytes | Candidate | Mapping):
            raise TypeError(f"candidates is {_kind(self.candidates)}; put the candidates in a list")
        candidates = tuple(c if isinstance(c, _CANDIDATE) else _made(c, i) for i, c in enumerate(self.candidates))
        if not candidates:
            raise ValueError("no candidates: a problem has at least one")
        for i, candidate in enumerate(candidates):
            if not isinstance(candidate, _CANDIDATE):
                raise TypeError(
                    f'candidate {i} is {_kind(candidate)}; it must be a str, a flame_rank.Candidate or {{"text": ...}}'
                )
        object.__setattr__(self, "candidates", candidates)
        _check_text("prompt", self.prompt)
        for i, text in enumerate(self.texts):
            _check_text(f"candidate {i}", text)
        if self.answers is not None:
            self._check_answers(self.answers)

    def _check_answers(self, answers: Sequence[str | None]) -> None:
        if isinstance(answers, str) or len(answers) != len(self.candidates):
            raise ValueError(f"answers is {answers!r:.80}; it must list an answer, or None, for each candidate")
        for i, answer in enumerate(answers):
            if answer is not None and not isinstance(answer, str):
                raise TypeError(f"answer {i} is {_kind(answer)}; it must be a str, or None for a candidate without one")
            _check_text(f"answer {i}", answer or "")

    @classmethod
    def of(cls, given: "Problem | Mapping[str, Any]") -> "Problem":
        """Returns a problem as it is, or makes one.

        Args:
          given: a problem; a mapping with "prompt", "candidates" (or another of LIST_KEYS) and perhaps "task_id", whose
            other fields are ignored; or vLLM's RequestOutput.

        Raises:
          TypeError: `given` or a field has another type.
          ValueError: a field is missing.
        """
        if isinstance(given, Problem):
            return given
        if hasattr(given, "outputs") and hasattr(given, "prompt"):
            from flame_rank.request_output import fields_of

            given = fields_of(given)
        if not isinstance(given, Mapping):
            raise TypeError(
                f'a problem is {_kind(given)}; it must be a Problem or {{"prompt": ..., "candidates": [...]}}'
            )
        key = next((key for key in LIST_KEYS if key in given), None)
        if key is None or "prompt" not in given:
            raise ValueError(f'a problem has "prompt" and "candidates"; this one has {", ".join(map(repr, given))}')
        return cls(prompt=given["prompt"], candidates=given[key], name=str(given.get("task_id", "")))

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The candidates' texts, in their order."""
        return tuple(c if isinstance(c, str) else c.text for c in self.candidates)

    def __len__(self) -> int:
        """Returns the number of candidates."""
        return len(self.candidates)


@dataclass(frozen=True, kw_only=True, eq=False)
class Judgements:
    """The comparisons that were asked about a problem's candidates, in their order.

    Attributes:
      rounds: [M] int64, the round of each comparison, from 0.
      pairs: [M, 2] int64, the indices of the candidates (first, second); of candidates with equal texts, the first
        stands for all.
      log_odds: [M] float64, in nats, that the first is better; NaN = invalid.
    """

    rounds: "IntArray"
    pairs: "IntArray"
    log_odds: "FloatArray"


UNSURE = 0.1
_APART, _EXACT = 1e-8, 1e6  # nats; scores below the latter that differ by the former are not tied


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Ranking(Sequence[str | Candidate]):
    """The candidates of a problem as they were given, best first; it can be used like a list of them.

    Attributes:
      problem: the problem.
      standing: the strategy's result, indexed as in problem.candidates.
      comparisons: number of judgements that the strategy asked for, whether a ledger or the judge answered.
      strategy: name of the strategy.
      judge: name of the judge.
      invalid: number of judgements that failed and were left out.
      reasons: the distinct reasons why they failed.
      truncated: number of candidates that did not fit the judge's maximum length, or whose prompt did not.
      verdict_mass: the mean of P(A) + P(B) by a language model; None for any other judge.
      explanation: why the best candidate is better than the next, in the judge's words; None if not requested.
      option: [n] the number of each candidate's option: equal texts and, if answers vote, equal final answers are one
        option. None if only equal texts count as one.
      judgements: the questions and answers, if the Reranker keeps them (`keep_judgements`).
      consistency: how often the judge contradicted itself in what was asked about this problem.
      by_judge: for a panel, each judge's mean log-odds for each candidate: [n] float64, in nats.
    """

    problem: Problem
    standing: "Standing"
    comparisons: int
    strategy: str
    judge: str
    invalid: int = 0
    reasons: tuple[str, ...] = ()
    truncated: int = 0
    verdict_mass: float | None = None
    explanation: str | None = None
    option: "IntArray | None" = None
    judgements: Judgements | None = None
    by_judge: "Mapping[str, FloatArray] | None" = None
    consistency: "Consistency | None" = None

    @cached_property
    def order(self) -> list[int]:
        """The indices into problem.candidates, best first; always a permutation, even if the problem is undecided."""
        order: list[int] = self.standing.order.tolist()
        return order

    @property
    def scores(self) -> "FloatArray":
        """[n] float64, indexed by candidate, in nats: the difference of two scores is the log-odds that the first
        candidate is better."""
        return self.standing.scores

    @cached_property
    def p_best(self) -> "FloatArray":
        """[n] float64, indexed by candidate, the probability that its option is the best; it sums to 1 over options."""
        import numpy as np

        option = self.options
        if len(option) == len({*option.tolist()}):
            return np.minimum(self.standing.p_best, 1.0)
        return np.asarray(np.minimum(np.bincount(option, self.standing.p_best)[option], 1.0), np.float64)

    @cached_property
    def options(self) -> "IntArray":
        """[n] int64, indexed by candidate, the option of each candidate: `option`, or one option per distinct text if
        that is None."""
        import numpy as np

        if self.option is not None:
            return self.option
        number = {text: k for k, text in enumerate(dict.fromkeys(self.problem.texts))}
        return np.array([number[text] for text in self.problem.texts], np.int64)

    @property
    def decided(self) -> bool:
        """Whether enough judgements were valid to name a winner."""
        return bool(self.standing.decided)

    @cached_property
    def tied(self) -> list[int]:
        """The indices of the candidates that share the first place; empty if only one option has it."""
        scores = self.scores.tolist()
        best = scores[self.order[0]]
        if abs(best) < _EXACT and sum(abs(score - best) < _APART for score in scores) == 1:
            return []
        tied = self.standing.tied
        return tied if len({int(self.options[i]) for i in tied}) > 1 else []

    @cached_property
    def unsure(self) -> bool:
        """Whether the best candidate is hardly likelier to be the best than the others.

        This holds if its P(best) is less than the share UNSURE of the way from 1 / (number of options) to 1.
        """
        n = len({*self.options.tolist()})
        return n > 1 and self.decided and float(self.p_best[self.order[0]]) < 1 / n + UNSURE * (1 - 1 / n)

    @property
    def warnings(self) -> tuple[str, ...]:
        """The reasons not to trust this ranking: the judge flips or contradicts itself too often."""
        return () if self.consistency is None else self.consistency.warnings

    @property
    def best(self) -> str | Candidate | None:
        """The best candidate as it was given; None if the problem is undecided."""
        return self[0] if self.decided else None

    def top(self, k: int) -> list[str | Candidate]:
        """Returns the k best candidates, or all if there are fewer.

        Raises:
          ValueError: k is less than 1.
        """
        if k < 1:
            raise ValueError(f"top({k}): k must be 1 or more")
        return self[:k]

    def __len__(self) -> int:
        return len(self.problem)

    @overload
    def __getitem__(self, rank: int) -> str | Candidate: ...
    @overload
    def __getitem__(self, rank: slice) -> list[str | Candidate]: ...
    def __getitem__(self, rank: int | slice) -> str | Candidate | list[str | Candidate]:
        candidates = self.problem.candidates
        if isinstance(rank, slice):
            return [candidates[i] for i in self.order[rank]]
        return candidates[self.order[rank]]

    def __repr__(self) -> str:
        order = self.order
        shown = ", ".join(map(str, order[:8])) + (", ..." if len(order) > 8 else "")
        name = f"{self.problem.name!r}, " if self.problem.name else ""
        winner = f"p_best {self.p_best[order[0]]:.3f}" if self.decided else "undecided"
        return f"Ranking({name}order [{shown}], {winner}, {self.comparisons} comparisons)"


def _made(given: Any, i: int) -> Any:
    """Makes a Candidate of a mapping or of chat messages; returns anything else as it is."""
    turns = [given] if isinstance(given, Mapping) and messages.is_messages([given]) else given
    if messages.is_messages(turns) and not any(key in given for key in TEXT_KEYS):
        try:
            return Candidate(text=messages.to_text(turns), fields={"messages": list(turns)})
        except ValueError as error:
            raise ValueError(f"candidate {i}: {error}") from None
    return _candidate(given) if isinstance(given, Mapping) else given


def _candidate(given: Mapping[str, Any]) -> Candidate:
    key = next((key for key in TEXT_KEYS if key in given), None)
    if key is None:
        raise ValueError(f'a candidate has no "text"; it has {", ".join(map(repr, given))}')
    return Candidate(text=given[key], fields={name: value for name, value in given.items() if name != key}, key=key)


def _kind(value: object) -> str:
    """Names the type of a value, with its article, for a message."""
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}" if value is not None else "None"


def _check_text(what: str, text: str) -> None:
    """Raises ValueError if a text cannot be encoded."""
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{what} holds half of a surrogate pair at character {error.start}; it is not valid text: "
            "decode it with errors='replace'"
        ) from None
