"""Reads verdicts that a model writes, on this machine or behind a server, with or without reasons before them. A
text without a verdict is invalid; there is no default."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flame_rank.prompts.instructions import VERDICTS

_VERDICT = 32  # tokens of a verdict in its fixed form
_ALONE = re.compile(r"(?:choice:)?\s*(?:\*\*)?([A-Z])(?:\*\*)?\.?", re.IGNORECASE)
_LAST_LINE = re.compile(r"(?:\*\*)?choice:(?:\*\*)?\s*(?:\*\*)?([A-Z])(?:\*\*)?\.?", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class DrawOptions:
    """How verdicts are sampled.

    Attributes:
      think: the most tokens of reasoning before the verdict; None for a verdict without reasoning.
      samples: the number of verdicts for one comparison.
      temperature: the temperature of verdicts and reasoning.
      top_p: the total probability of the likeliest tokens to which sampling is limited.
    """

    think: int | None = None
    samples: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The judgement of one comparison.

    Attributes:
      log_odds: the log-odds in nats that the first response is better; NaN for an invalid judgement.
      mass: P(A) + P(B); NaN if the server does not report it.
      bound: whether the log-odds are only a bound, the smallest magnitude that the answer allows.
      words: the judge's reasoning.
      reason: why it is invalid.
    """

    log_odds: float = math.nan
    mass: float = math.nan
    bound: bool = False
    words: str | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One written answer.

    Attributes:
      verdict: the letter; None for a truncated answer or any other text.
      judgement: the judgement by the log-probabilities of the verdict's token; None without them.
      words: the model's reasoning.
      reason: why there is no verdict.
    """

    verdict: str | None = None
    judgement: Judgement | None = None
    words: str | None = None
    reason: str | None = None


def read_sample(
    message: Mapping[str, Any], *, ended: bool, thinks: bool, limit: int, letters: Sequence[str] = VERDICTS
) -> Sample:
    """Reads an answer, without its log-probabilities.

    Args:
      message: the message, with `content` and perhaps a field with the model's reasoning.
      ended: whether the model ended it, instead of the limit.
      thinks: whether reasons precede the verdict.
      limit: the most tokens of the answer.
      letters: the verdicts.
    """
    content = message.get("content") or ""
    words = reasoning(message) if thinks else None
    if not ended:
        return Sample(words=words, reason=f"no verdict within {limit} tokens")
    verdict = (verdict_after_reasons if thinks else verdict_alone)(content, letters)
    reason = f"an answer that is no verdict: {' '.join(content.split())[-60:]!r}"
    return Sample(verdict=verdict, words=words, reason=None if verdict else reason)


def outcome(drawn: Sequence[Sample]) -> Judgement:
    """Combines samples of the verdict A or B: by their mean log-odds if all have log-probabilities, otherwise by
    their votes. Answers without a verdict do not count; without any verdict the judgement is invalid."""
    valid = [sample for sample in drawn if sample.verdict]
    words = next((sample.words for sample in valid if sample.words), None)
    if not valid:
        return Judgement(reason=drawn[0].reason, words=words)
    read = [sample.judgement for sample in valid if sample.judgement]
    if len(read) == len(valid):
        mean = sum(judgement.log_odds for judgement in read) / len(read)
        return Judgement(log_odds=mean, bound=any(judgement.bound for judgement in read), words=words)
    votes = [sample.verdict for sample in valid]
    return Judgement(log_odds=from_votes(votes.count("A"), votes.count("B")), words=words)


def answer_limit(think: int) -> int:
    """Returns the most tokens of an answer: reasoning, and a verdict after it."""
    return think + _VERDICT


def from_votes(a: int, b: int) -> float:
    """Returns the log-odds of two counts of verdicts; half a vote is added to each, so that the result is finite."""
    return math.log(a + 0.5) - math.log(b + 0.5)


def verdict_alone(text: str, letters: Sequence[str] = VERDICTS) -> str | None:
    """Returns the verdict of an answer that consists of nothing else; None for any other text."""
    return _letter(_ALONE.fullmatch(_spoken(text)[1].strip()), letters)


def verdict_after_reasons(text: str, letters: Sequence[str] = VERDICTS) -> str | None:
    """Returns the verdict in the last line of an answer if that line has nothing else; None otherwise."""
    lines = _spoken(text)[1].strip().splitlines()
    return _letter(_LAST_LINE.fullmatch(lines[-1].strip()) if lines else None, letters)


def _letter(match: re.Match[str] | None, letters: Sequence[str]) -> str | None:
    return match[1].upper() if match and match[1].upper() in letters else None


def reasoning(message: Any) -> str:
    """Returns a model's reasoning before its verdict, from the server's field for it and from the answer."""
    thought, spoken = _spoken(message.get("content") or "")
    own = next((value for key in ("reasoning_content", "reasoning") if isinstance(value := message.get(key), str)), "")
    lines = spoken.strip().splitlines()
    if lines and _LAST_LINE.fullmatch(lines[-1].strip()):
        lines = lines[:-1]
    return "\n\n".join(filter(None, (own.strip(), thought, "\n".join(lines).strip())))


def _spoken(text: str) -> tuple[str, str]:
    """Splits an answer into its reasoning, if the server leaves that in <think>, and the rest; the rest is empty if
    the reasoning does not end."""
    before, end, behind = text.rpartition("</think>")
    if end:
        return before.replace("<think>", "").strip(), behind
    before, begin, behind = text.partition("<think>")
    return (behind.strip(), before) if begin else ("", text)
