"""Judges by the sampler's own evidence: how likely the tokens of a candidate were under the model that wrote it, by the
log-probabilities that the sampler left in the candidate's record."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec
import numpy as np

from flame_rank.judges.base import Notes, ProblemMemory
from flame_rank.records import Candidate, GroupedRecord, Problem
from strategies.base import FloatArray, IntArray

Kind: TypeAlias = Literal["logprob", "self-certainty"]

FIELDS = ("logprobs", "details", "transition_scores", "cumulative_logprob")
_UNKNOWN = -1000.0  # servers write -9999 for a token whose probability they do not tell


class Position(NamedTuple):
    """One token of a candidate.

    Attributes:
      chosen: the log-probability of the token, in nats.
      top: the log-probabilities of the likeliest tokens at this position, the highest first; empty if the sampler did
        not keep them.
    """

    chosen: float
    top: tuple[float, ...] = ()


class SamplerEvidenceJudge:
    """Rates each candidate by the log-probabilities of its tokens.

    "logprob": their mean, in nats per token. "self-certainty": how far the model's distributions were from uniform
    (Kang et al. 2025): the mean over the tokens of -(1/V) sum_j log(V p_j), in nats. Only the likeliest V tokens are in
    a record, so V is the number of tokens that all positions of the problem have in the record. Neither is calibrated:
    P(best) is the softmax of these values.
    """

    pointwise = True
    one_by_one = False
    recorded = False  # a ledger's key does not hold the log-probabilities, and reading them costs nothing

    def __init__(self, kind: Kind):
        self.name: str = kind
        self.kind = kind
        self.pool_aware = kind == "self-certainty"
        self._seen: ProblemMemory[tuple[FloatArray, tuple[str, ...]]] = ProblemMemory()

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        """Returns the log-odds [M] for each problem: differences of values; NaN for a candidate without
        log-probabilities."""
        return [self._values(problem)[pairs] @ np.array([1.0, -1.0]) for problem, pairs in asked]

    def options(self, problem: Problem) -> list[str | None]:
        """Returns the text of each candidate; None for one whose record lacks the log-probabilities."""
        values = self._values(problem).tolist()
        return [None if math.isnan(value) else text for value, text in zip(values, problem.texts, strict=True)]

    def notes(self, problem: Problem) -> Notes:
        """Returns which candidates lack the log-probabilities, or have them in an unknown form."""
        self._values(problem)
        return Notes(failures=self._seen[problem][1])

    def _values(self, problem: Problem) -> FloatArray:
        if problem not in self._seen:
            self._seen[problem] = self._read(problem)
        return self._seen[problem][0]

    def _read(self, problem: Problem) -> tuple[FloatArray, tuple[str, ...]]:
        """Returns the values [n] of a problem's candidates, and why some are NaN."""
        read = mean_log_prob if self.kind == "logprob" else top_log_probs
        parts: dict[int, Any] = {}
        failures = []
        for i in range(len(problem)):
            try:
                parts[i] = read(sampler_fields(problem, i))
            except ValueError as error:
                failures.append(f"candidate {i}: {error}")
        values = np.full(len(problem), np.nan)
        width = min((min(map(len, rows)) for rows in parts.values()), default=0) if self.pool_aware else 0
        for i, part in parts.items():
            values[i] = self_certainty(np.array([row[:width] for row in part])) if self.pool_aware else part
        return values, tuple(failures)


def self_certainty(log_probs: FloatArray) -> float:
    """Computes how far distributions over V tokens are from uniform: the mean over T tokens of -(1/V) sum_j log(V p_j).

    Args:
      log_probs: [T, V], in nats.
    """
    return float(-(log_probs + np.log(log_probs.shape[1])).mean())


def mean_log_prob(fields: Mapping[str, Any]) -> float:
    """Returns the mean log-probability of a candidate's tokens, in nats.

    Raises:
      ValueError: the fields do not have it.
    """
    total, ids = fields.get("cumulative_logprob"), fields.get("token_ids")
    if all(fields.get(name) is None for name in FIELDS[:-1]) and total is not None:
        if not isinstance(ids, Sequence) or not ids:
            raise ValueError(
                '"cumulative_logprob" is a sum; "token_ids", which would show the number of tokens, is missing'
            )
        return _number(total, '"cumulative_logprob"', least=-math.inf) / len(ids)
    read = positions(fields)
    return math.fsum(position.chosen for position in read) / len(read)


def top_log_probs(fields: Mapping[str, Any]) -> list[tuple[float, ...]]:
    """Returns the log-probabilities of the likeliest tokens, two or more, at each position of a candidate.

    Raises:
      ValueError: the fields do not have them.
    """
    tops = [position.top for position in positions(fields)]
    short = next((t for t, top in enumerate(tops) if len(top) < 2), None)
    if short is not None:
        raise ValueError(
            f"token {short} has fewer than two likeliest tokens in its record, and self-certainty needs two at each "
            "position: sample with top_logprobs (OpenAI), logprobs (vLLM) or top_n_tokens (text-generation-inference)"
        )
    return tops


def sampler_fields(problem: Problem, i: int) -> Mapping[str, Any]:
    """Returns what a sampler left beside the text of candidate i: the candidate's own fields, or those of another
    tool's record."""
    candidate = problem.candidates[i]
    if isinstance(candidate, Candidate) and candidate.fields:
        return candidate.fields
    record = problem.record
    if isinstance(record, GroupedRecord) and record.originals is not None:
        original = msgspec.json.decode(record.originals[i])
        return original if isinstance(original, dict) else {}
    return {}


def positions(fields: Mapping[str, Any]) -> list[Position]:
    """Reads the tokens of a candidate from the fields that a known sampler left in its record.

    - logprobs: OpenAI's chat completions ({"content": [{"logprob", "top_logprobs": [...]}]}) and completions
      ({"token_logprobs", "top_logprobs": [{token: logprob}]}); vLLM's ([{token id: {"logprob"}}], in which the sampled
      token is the first); or a number for each token.
    - details: of Hugging Face's text-generation-inference ({"tokens": [{"logprob"}], "top_tokens": [[...]]}).
    - transition_scores: of transformers' compute_transition_scores with normalize_logits, a number for each token.

    Raises:
      ValueError: there is no such field, or it has another form.
    """
    name = next((name for name in FIELDS[:-1] if fields.get(name) is not None), None)
    if name is None:
        raise ValueError('no "logprobs" in its record; have the sampler return them')
    given = fields[name]
    try:
        read = _of_details(given) if name == "details" else _of_log_probs(given, name)
    except (TypeError, AttributeError, LookupError) as error:
        raise ValueError(f'"{name}" has another form than that of OpenAI, vLLM or Hugging Face') from error
    if not read:
        raise ValueError(f'"{name}" has no tokens')
    return read


def _of_log_probs(given: Any, name: str) -> list[Position]:
    if isinstance(given, Mapping):
        if given.get("content") is not None:
            return _of_entries(given["content"], name)
        tops = given.get("top_logprobs") or [None] * len(given["token_logprobs"])
        return [
            Position(_number(chosen, f'"{name}", token {t}'), _likeliest((top or {}).values(), name))
            for t, (chosen, top) in enumerate(zip(given["token_logprobs"], tops, strict=True))
        ]
    if isinstance(given, str):
        raise TypeError
    return _of_entries(given, name)


def _of_entries(entries: Sequence[Any], name: str) -> list[Position]:
    read = []
    for t, entry in enumerate(entries):
        place = f'"{name}", token {t}'
        if not isinstance(entry, Mapping):
            read.append(Position(_number(entry, place)))
        elif "logprob" in entry:
            top = [other["logprob"] for other in entry.get("top_logprobs") or []]
            read.append(Position(_number(entry["logprob"], place), _likeliest(top, name)))
        else:  # vLLM's
            values = [_log_prob(value) for value in entry.values()]
            read.append(Position(_number(values[0], place), _likeliest(values, name)))
    return read


def _of_details(given: Any) -> list[Position]:
    tokens = given["tokens"]
    tops = given.get("top_tokens") or [[]] * len(tokens)
    return [
        Position(_number(token["logprob"], f'"details", token {t}'), _likeliest([o["logprob"] for o in top], "details"))
        for t, (token, top) in enumerate(zip(tokens, tops, strict=True))
    ]


def _log_prob(value: Any) -> Any:
    """Returns the log-probability of an entry of vLLM, whose Logprob may be written as a mapping."""
    return value["logprob"] if isinstance(value, Mapping) else getattr(value, "logprob", value)


def _likeliest(values: Iterable[Any], name: str) -> tuple[float, ...]:
    known = [value for value in values if not (isinstance(value, int | float) and value <= _UNKNOWN)]
    return tuple(sorted((_number(value, f'"{name}", a likeliest token') for value in known), reverse=True))


def _number(value: Any, place: str, *, least: float = _UNKNOWN) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least < value <= 1e-3:
        raise ValueError(f"{place}: {value!r:.40} is not a log-probability")
    return min(float(value), 0.0)
