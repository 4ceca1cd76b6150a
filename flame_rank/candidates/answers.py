"""The final answer of a text, if it states one. A pool of worked solutions votes on it (self-consistency, Wang et al.
2022)."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import TypeAlias

import numpy as np

from flame_rank.records import Problem
from strategies.base import FloatArray

Extract: TypeAlias = Callable[[str], str | None]  # a text's final answer, None if it states none

SHORT = 40  # characters; a text of at most so many may be an answer as a whole
# Characters at the end of a text in which its last number is searched for, and in which a calculation is.
_TAIL, _WORK = 200, 10_000

# Marks of an answer, the surest kind first: the last one of the first kind that a text has.
_MARKED = (
    re.compile(
        r"\\boxed\{((?:[^{}]|\{[^{}]*\})+)\}"
        r"|^[ \t]*####[ \t]*([-$€£]*[0-9.,/%]+)[ \t]*$"
        r"|^#+[ \t]*answer[ \t]*\n+(.+)$",
        re.MULTILINE | re.IGNORECASE,
    ),
    re.compile(
        r"^[ \t]*####[ \t]*(.+)$"
        r"|^[ \t*]*(?:final )?answer[ \t*]*:[ \t*]*(\S.*)$"
        # Up to the end of the sentence, which is not after an abbreviation or initials.
        r"|(?<!\bthis )(?<!\bmy )\banswer is:?[ \t]+"
        r"((?:\b(?:Mrs?|Ms|Dr|St|Prof|Jr|Sr|Mt|Ft|vs)\.|\b(?:[A-Z]\. ){2,}|[^\n])+?)(?:\.(?=\s)|$)",
        re.MULTILINE | re.IGNORECASE,
    ),
    re.compile(r"^[ \t*]*A[ \t*]*:[ \t*]*(\S.*)$", re.MULTILINE | re.IGNORECASE),
)
_COLON = re.compile(r"(?:answer|\ba)[ \t*]*:")
# A calculation, the end of a sentence, a number, and what may follow the last number: its unit.
_CALCULATED = re.compile(r"\d[^\S\n]*[-+*/\xd7\xf7\xb7x][^\S\n]*\$?\d[\d., ]*=[^\S\n]*[-$€£]*\.?\d")
_SENTENCE = re.compile(r"[.!?]\s|\n")
_NUMBER = re.compile(r"(?:(?<![\w)])-)?[$€£]?(?:(?<![\w)])-)?(?:\d+(?:,\d{3}(?!\d))*(?:\.\d+)?(?:/\d+)?|\.\d+)")
_UNIT = re.compile(r"[^\S\n]?[%°]?(?:[^\S\n]+[^\W\d]+){0,4}[.!)*$]*")
_MEASURED = re.compile(r"(-?[0-9][0-9./]*)[^\W\d_]+")
_RATIO = re.compile(r"-?[0-9]{1,100}/0*[1-9][0-9]{0,99}")
_DIGIT = re.compile(r"\d")
_WRAPPED = re.compile(r"\\(?:text|mathrm|mathbf|textbf)\{([^{}]*)\}")
_FRACTION = re.compile(r"\\[dt]?frac\{(\d+)\}\{(\d+)\}")
_LETTER = re.compile(r"^\(?([a-z])\)$")  # "(C)" and "C)" are C
_MARKS = re.compile(r"[$*`\"'\\ \t]|(?<=\d),(?=\d{3})")


def pattern(expression: str) -> Extract:
    """Returns an extractor that gives the first group of the last match in which that group takes part, or the whole
    match if the regular expression has no group.

    Raises:
      ValueError: `expression` is not a regular expression.
    """
    try:
        compiled = re.compile(expression)
    except re.error as error:
        raise ValueError(f"{expression!r} is not a regular expression: {error}") from error
    group = 1 if compiled.groups else 0

    def extract(text: str) -> str | None:
        matches = [match[group] for match in compiled.finditer(text)]
        return next(filter(None, reversed(matches)), None)

    return extract


def problem_answers(problem: Problem) -> list[str | None]:
    """Returns each candidate's answer: the one that the problem gives, or else the one that its text states. A number
    with a unit counts as the bare number if another candidate states the bare number."""
    if problem.answers is not None:
        return [None if answer is None else _plain(answer) for answer in problem.answers]
    own_answers = [final(text) for text in problem.texts]
    if not any(own_answers):
        return own_answers
    stated = {answer for answer in own_answers if answer}
    numbers = {answer: number for answer in stated if (number := _without_unit(answer)) in stated}
    return [answer and numbers.get(answer, answer) for answer in own_answers]


def final(text: str) -> str | None:
    """Returns the answer of a text, normalised so that equal answers are equal strings; None if it states none.

    The answer is what follows a mark (`####`, `\\boxed`, "The answer is"); or else, in a text with a calculation, the
    number at its end; or else the whole of a short text.
    """
    text = text.strip()
    if _may_have_a_mark(text.casefold()):
        for kind in _MARKED:
            if marked := [next(filter(None, match.groups()), "") for match in kind.finditer(text)]:
                return _plain(marked[-1])
    return _plain(_concluded(text) or (text if len(text) <= SHORT and "\n" not in text else ""))


def _may_have_a_mark(folded: str) -> bool:
    """Returns False for most texts without a mark, which need not be searched: that takes ten times as long."""
    return (
        "answer is" in folded
        or "\\boxed" in folded
        or "####" in folded
        or (":" in folded and _COLON.search(folded) is not None)
        or ("#" in folded and "answer" in folded)
    )


def _without_unit(answer: str) -> str | None:
    """Returns the number of an answer that is a number and a unit, such as "72clips"."""
    match = _MEASURED.fullmatch(answer)
    return _number(match[1]) if match else None


def _concluded(text: str) -> str:
    """Returns the number in which the last sentence of a worked solution ends; "" if there is none or it is unclear."""
    if "=" not in text or not _CALCULATED.search(text[-_WORK:]):
        return ""
    sentence = _SENTENCE.split(text[-_TAIL:])[-1]
    numbers = list(_NUMBER.finditer(sentence))
    if not numbers:
        return ""
    last = numbers[-1]
    if "=" in sentence:
        result = _NUMBER.match(sentence.rsplit("=", 1)[1].lstrip())
        return last[0] if result and result[0] == last[0] else ""
    return last[0] if _UNIT.fullmatch(sentence, last.end()) else ""


def _plain(stated: str) -> str | None:
    if not stated:
        return None
    stated = _FRACTION.sub(r"\1/\2", _WRAPPED.sub(r"\1", stated)).replace("\N{MINUS SIGN}", "-")
    plain = _MARKS.sub("", stated).strip().rstrip(".").casefold()
    plain = _LETTER.sub(r"\1", plain)
    return _number(plain) or plain or None


def _number(text: str) -> str | None:
    """Returns the canonical form of a number, exactly, however it is written; None if the text is not a number."""
    if _RATIO.fullmatch(text):
        return str(Fraction(text))
    if not _DIGIT.search(text):
        return None
    try:
        sign, digits, exponent = Decimal(text).as_tuple()
    except InvalidOperation:
        return None
    if not isinstance(exponent, int):  # not a number, or infinite
        return None
    written = "".join(map(str, digits))
    exponent += len(written) - len(written.rstrip("0"))
    written = written.strip("0")
    if not written:
        return "0"
    whole = f"{'-' * sign}{written}"
    return str(Fraction(f"{whole}e{exponent}")) if len(written) + abs(exponent) < 1_000 else f"{whole}e{exponent}"


def shared(answers: Sequence[str | None]) -> bool:
    """Tells whether a pool votes: most of its texts state an answer, and at least two state the same one."""
    counts = Counter(answer for answer in answers if answer is not None)
    if not counts:
        return False
    return 2 * counts.total() > len(answers) and max(counts.values()) > 1


def votes(answers: Sequence[str | None]) -> FloatArray | None:
    """Returns for each candidate the share of the pool that has the same answer [n], 0 if it has no answer; None if the
    pool does not vote."""
    if not shared(answers):
        return None
    counts = Counter(answers)
    return np.array([0.0 if answer is None else counts[answer] / len(answers) for answer in answers])
