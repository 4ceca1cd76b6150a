"""The final answer that a text comes to, where it states one: what a pool of worked solutions can vote on
(self-consistency, Wang et al. 2022)."""

import re
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from fractions import Fraction

import numpy as np

from strategies.base import FloatArray

SHORT = 40  # characters of a text that is nothing but an answer

_STATED = re.compile(
    r"\\boxed\{((?:[^{}]|\{[^{}]*\})+)\}"
    r"|^[ \t]*####[ \t]*(.+)$"
    r"|^[ \t*]*(?:A|(?:final )?answer)[ \t*]*:[ \t*]*(\S.*)$"
    r"|^#+[ \t]*answer[ \t]*\n+(.+)$"
    r"|\banswer is:?[ \t]+([^\n]+?)(?:\.(?=\s)|$)",
    re.MULTILINE | re.IGNORECASE,
)
_RATIO = re.compile(r"-?[0-9]{1,100}/0*[1-9][0-9]{0,99}")
_MARKS = re.compile(r"[$*`\"'\\ \t]|(?<=\d),(?=\d{3})")


def final(text: str) -> str | None:
    """What a text answers, in a form in which equal answers are equal; None where it states none."""
    text = text.strip()
    found = [next(filter(None, match.groups()), "") for match in _STATED.finditer(text)]
    stated = found[-1] if found else text if len(text) <= SHORT and "\n" not in text else ""
    plain = _MARKS.sub("", stated).strip().rstrip(".").casefold()
    return _number(plain) or plain or None


def _number(text: str) -> str | None:
    """A number in the one form that all ways to write it share, exactly; None for what is none."""
    if _RATIO.fullmatch(text):
        return str(Fraction(text))
    try:
        sign, digits, exponent = Decimal(text).as_tuple()
    except InvalidOperation:
        return None
    if not isinstance(exponent, int):  # no number, or an infinite one
        return None
    written = "".join(map(str, digits))
    exponent += len(written) - len(written.rstrip("0"))
    written = written.strip("0")
    if not written:
        return "0"
    whole = f"{'-' * sign}{written}"
    return str(Fraction(f"{whole}e{exponent}")) if len(written) + abs(exponent) < 1_000 else f"{whole}e{exponent}"


def shared(texts: Sequence[str]) -> list[str | None] | None:
    """The answer that each text comes to, None for one without; None where most state none, or no two the same."""
    answers = [final(text) for text in texts]
    counts = Counter(answer for answer in answers if answer is not None)
    return None if 2 * counts.total() <= len(texts) or max(counts.values()) == 1 else answers


def votes(texts: Sequence[str]) -> FloatArray | None:
    """For each text the share of texts that come to its answer [n], 0 for one without; None where `shared` is."""
    answers = shared(texts)
    if answers is None:
        return None
    counts = Counter(answers)
    return np.array([0.0 if answer is None else counts[answer] / len(texts) for answer in answers])
