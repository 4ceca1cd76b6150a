"""Reads judgements from a server's answers. An answer without the needed values gives a bound or an invalid
judgement, never a score."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from flame_rank.judges.server.client import Unreadable
from flame_rank.judges.written import Judgement

_IMPOSSIBLE = -1000.0  # servers write -9999 and the like for the logarithm of 0
_ROUNDED = 2.0**-24  # the probability that a sum of 1 in float32 can hide
_LARGEST = -math.log(2.0**-53)  # log-odds of the probability next to 1 that a double can hold


class TokenLogProb(NamedTuple):
    """A token that may come next."""

    id: int | None
    text: str
    log_prob: float


def likeliest(reply: Any) -> list[TokenLogProb]:
    """Reads the likeliest first tokens of an answer in the forms of chat and completion endpoints, vLLM and llama.cpp.

    Raises:
      Unreadable: the answer has no log-probabilities.
    """
    logprobs = reply["choices"][0].get("logprobs")
    if not isinstance(logprobs, dict):
        raise Unreadable("it has no log-probabilities")
    if logprobs.get("content"):
        tokens = at_position(logprobs["content"][0])
    else:
        top = (logprobs.get("top_logprobs") or [None])[0]
        if not isinstance(top, dict):
            raise Unreadable("it has no log-probabilities")
        tokens = [_token(text, log_prob) for text, log_prob in top.items()]
    if not tokens:
        raise Unreadable("it has no log-probabilities")
    return tokens


def at_position(entry: Any) -> list[TokenLogProb]:
    """Reads the likeliest tokens at one position of an answer."""
    return [_token(token["token"], token["logprob"], token.get("id")) for token in entry.get("top_logprobs") or [entry]]


def _token(text: str, log_prob: Any, number: Any = None) -> TokenLogProb:
    if isinstance(log_prob, bool) or not isinstance(log_prob, int | float) or not log_prob <= 1e-3:
        raise Unreadable(f"a log-probability is {log_prob!r}")
    if number is None and text.startswith("token_id:"):
        number = int(text.removeprefix("token_id:"))
    return TokenLogProb(number, text, min(float(log_prob), 0.0))


def from_tokens(
    tokens: Sequence[TokenLogProb], is_a: Callable[[TokenLogProb], bool], is_b: Callable[[TokenLogProb], bool]
) -> Judgement:
    """Makes a judgement from the likeliest tokens: exact if both labels are among them, a bound if only one is,
    otherwise invalid."""
    a, b = (_sum([token.log_prob for token in tokens if matches(token)]) for matches in (is_a, is_b))
    if a is not None and b is not None:
        return Judgement(log_odds=a - b, mass=min(1.0, math.exp(a) + math.exp(b)))
    known = a if a is not None else b
    if known is None:
        seen = ", ".join(repr(token.text) for token in tokens[:3])
        return Judgement(reason=f"neither A nor B is among the {len(tokens)} likeliest tokens ({seen}, ...)")
    size = known - _least(tokens)
    if size < 0:  # what is missing may be the likelier one
        return Judgement(reason=f"only one of A and B is among the {len(tokens)} likeliest tokens, and it is unlikely")
    return Judgement(log_odds=size if a is not None else -size, mass=math.exp(known), bound=True)


def of_letters(
    tokens: Sequence[TokenLogProb], matches: Sequence[Callable[[TokenLogProb], bool]]
) -> tuple[list[float], bool]:
    """Returns the log-probability of each letter, and whether one of them is a bound: the highest value possible for a
    letter that is not among the tokens.

    Raises:
      Unreadable: none of the letters is there.
    """
    known = [_sum([token.log_prob for token in tokens if is_letter(token)]) for is_letter in matches]
    if all(log_prob is None for log_prob in known):
        seen = ", ".join(repr(token.text) for token in tokens[:3])
        raise Unreadable(f"no letter is among the {len(tokens)} likeliest tokens ({seen}, ...)")
    least = _least(tokens)
    return [least if log_prob is None else log_prob for log_prob in known], None in known


def _least(tokens: Sequence[TokenLogProb]) -> float:
    """Returns the most that the log-probability of a token can be that is not among the likeliest."""
    rest = max(_ROUNDED, 1 - math.fsum(math.exp(token.log_prob) for token in tokens))
    return min([token.log_prob for token in tokens if token.log_prob > _IMPOSSIBLE] + [math.log(rest)])


def _sum(log_probs: list[float]) -> float | None:
    """Returns the logarithm of a sum of probabilities; None if all are 0."""
    possible = [value for value in log_probs if value > _IMPOSSIBLE]
    if not possible:
        return None
    top = max(possible)
    return top + math.log(math.fsum(math.exp(value - top) for value in possible))


def from_probabilities(a: Any, b: Any) -> Judgement:
    """Makes a judgement from a server's P(A) and P(B)."""
    if not (_is_probability(a) and _is_probability(b)):
        raise Unreadable(f"scores {a!r} and {b!r} are not probabilities")
    if a == 0 and b == 0:
        return Judgement(reason="neither A nor B has any probability")
    if a == 0 or b == 0:
        return Judgement(log_odds=math.copysign(_LARGEST, a - b), mass=a + b, bound=True)
    return Judgement(log_odds=math.log(a) - math.log(b), mass=min(1.0, a + b))


def from_share(a: Any) -> Judgement:
    """Makes a judgement from P(A) / (P(A) + P(B))."""
    if not _is_probability(a):
        raise Unreadable(f"a score is {a!r}, not a probability")
    if a in (0, 1):
        return Judgement(log_odds=_LARGEST if a else -_LARGEST, bound=True)
    return Judgement(log_odds=math.log(a) - math.log1p(-a))


def _is_probability(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
