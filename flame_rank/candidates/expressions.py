"""Calculates arithmetic as people write it: turns symbols, LaTeX and English words into tokens, and gives the value of
an expression in each way in which it can be read. equations.py and arithmetic.py find the expressions of a text."""

# ruff: noqa: RUF001 - signs of other scripts are meant

import re
from collections.abc import Sequence
from fractions import Fraction
from itertools import product
from typing import NamedTuple

NUMBER = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+"
OPERATORS = frozenset("+-*/^") | {"**", "of"}  # "25% of 80" is a product
_LONGEST = 24  # characters of a number in an expression
_READ = 1_000  # characters of any other number
_TOKENS = 60  # tokens of an expression
_DEEPEST = 12  # levels of nested parentheses
_EXPONENT, _BITS = 100, 2_000  # largest exponent, and size of the largest power, that are calculated


# --- signs

_SIGNS = str.maketrans(
    {**dict.fromkeys("−–", "-"), **dict.fromkeys("×·⋅∙", "*"), "÷": "/", "²": "^2", "³": "^3", "\u00a0": " "}
)
_MARKUP = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\[dt]?frac ?\{([^{}\\]{1,60})\} ?\{([^{}\\]{1,60})\}", r"((\1)/(\2))"),
        (r"\\[dt]?frac ?([0-9])([0-9])", r"(\1/\2)"),
        (r"\\(?:times|cdot|ast)(?![a-z])", "*"),
        (r"\\div(?![a-z])", "/"),
        (r"\\(?:left|right|displaystyle)(?![a-z])|\\[,;!:]|\\ ", ""),
        (r"\\([$%])", r"\1"),
        (r"\\(?:text|mathrm|boxed|mathbf|textbf) ?\{([^{}\\]{0,60})\}", r" \1 "),
        (r"\\[()\[\]]|&(?==)", " "),
        (r"(?<=[0-9])\{,\}(?=[0-9])", ","),
        (r"\^ ?\{([^{}\\]{1,20})\}", r"^(\1)"),
        (r"(?<![^\s(])\*\*(?=[^\s*])|(?<=[^\s*])\*\*(?![^\s.,;:!?)])", ""),  # emphasis
        (r"(?<=[0-9])(?: percent|%)", "%"),
        (r"[$€£](?=[0-9(.-])", " "),
        (r"[$€£]", ""),
        (r"(?<=[0-9%)]) (?:multiplied by|times) {1,2}(?=[0-9(-])", " * "),
        (r"(?<=[0-9%)]) divided by {1,2}(?=[0-9(-])", " / "),
        (r"(?<=[0-9%)]) plus {1,2}(?=[0-9(-])", " + "),
        (r"(?<=[0-9%)]) minus {1,2}(?=[0-9(-])", " - "),
        (r"(?<=[0-9)]) (?:raised )?to the power (?:of )?(?=[0-9])", "^"),
        (r"(?<=[0-9)]) squared(?![a-z])", "^2"),
        (r"(?<=[0-9)]) cubed(?![a-z])", "^3"),
        # Not a variable and not a hexadecimal number: "x" is between digits, with blanks on both sides or on neither.
        (r"(?<=[0-9%])(?<![^0-9]0)(?<!\A0)[xX](?=[0-9])|(?<=[0-9%)]) {1,2}[xX] {1,2}(?=[0-9(.])", "*"),
        (r"(?<=[0-9%)]) (?:is equal to|equals?|is|makes?|gives?) {1,2}(?=-?[0-9])", " =: "),
    )
)


def symbols(text: str) -> str:
    """Replaces words and markup by the symbols that they stand for; an equality in words becomes "=:"."""
    text = text.translate(_SIGNS)
    for pattern, replacement in _MARKUP:
        text = pattern.sub(replacement, text)
    return text


_SMALL = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SCALES = {"hundred": 100, "thousand": 1_000, "million": 10**6}
WORDS = {**{word: n for n, word in enumerate(_SMALL)}, **{word: 10 * n for n, word in enumerate(_TENS, 2)}, **_SCALES}
_WORD = rf"(?:{'|'.join(sorted(WORDS, key=len, reverse=True))})"
_SPELT = re.compile(rf"\b{_WORD}(?:(?:[ -]|(?<=hundred) and |(?<=thousand) and |(?<=million) and ){_WORD})*\b")


def with_digits(lowered: str) -> str:
    """Replaces English number words in a lower-case text by digits."""
    return _SPELT.sub(lambda match: _spelt(match[0]), lowered)


def _spelt(words: str) -> str:
    numbers, total, current, last = list[int](), 0, 0, 0
    for value in (WORDS[word] for word in re.findall("[a-z]+", words) if word != "and"):
        if value >= 100:
            current = max(1, current) * value
            if value > 100:
                total, current = total + current, 0
        elif not last or last >= 100 or (last >= 20 and 0 < value < 10):
            current += value
        else:  # "two two"
            numbers.append(total + current)
            total, current = 0, value
        last = value
    return " ".join(map(str, [*numbers, total + current]))


class Token(NamedTuple):
    """A number, a word or a symbol.

    Attributes:
      spaced: whether white space precedes it.
    """

    text: str
    spaced: bool

    @property
    def is_number(self) -> bool:
        return self.text[-1] in "0123456789"

    @property
    def is_word(self) -> bool:
        return self.text[0].isalpha()


_TOKEN = re.compile(rf"(\s*)({NUMBER}|\*\*|[^\W\d_]+|=:|[<>!~:+*/^-]?=[=>]?|\S)")


def tokenize(text: str) -> list[Token]:
    """Splits a text that `symbols` returned into tokens."""
    return [Token(match[2], bool(match[1])) for match in _TOKEN.finditer(text)]


# --- values


def number(digits: str) -> Fraction:
    """Returns the value of a number in digits; only the first _READ characters count."""
    return Fraction(digits[:_READ].replace(",", ""))


def shows(value: Fraction, digits: str) -> bool:
    """Tells whether digits show a value, rounded or truncated to the number of their decimals; plus and minus signs are
    ignored."""
    value, shown = abs(value), number(digits)
    step = Fraction(1, 10 ** len(digits[:_READ].partition(".")[2]))
    off = value - shown
    float_ = "." in digits and abs(off) <= value / 10**9  # a float whose last digits are wrong
    return 2 * abs(off) <= step or 0 <= off < step or float_


class _Reading(NamedTuple):
    """One way to read an ambiguous expression.

    Attributes:
      percent: the factor that a percent sign stands for; 1 for "50% + 25% = 75".
      left: "100 / 5 * 2" is 40, as usual, not 10.
      tight: "-2^2" is -4 and "2^3^2" is 512, as usual, not 4 and 64.
    """

    percent: Fraction
    left: bool
    tight: bool


_READINGS = tuple(
    _Reading(*choice) for choice in product((Fraction(1, 100), Fraction(1)), (True, False), (True, False))
)


def values(expression: Sequence[Token]) -> list[Fraction]:
    """Returns the value of an expression in each way in which it can be read, the usual way first. Empty if the tokens
    are not an expression, or if a percentage is added or subtracted."""
    texts = [token.text for token in expression]
    if not texts or len(texts) > _TOKENS:
        return []
    if "%" in texts and {"+", "-"} & set(texts) and texts.count("%") < sum(token.is_number for token in expression):
        return []  # "50 + 10%"
    try:
        readings = _READINGS if {"%", "/", "^", "**"} & set(texts) else _READINGS[:1]
        return list(dict.fromkeys(_Calculation(texts, reading).value() for reading in readings))
    except (ValueError, ZeroDivisionError):
        return []


class _Calculation:
    """Evaluates one reading of an expression by recursive descent; raises ValueError if it is not an expression or too
    large."""

    def __init__(self, texts: Sequence[str], reading: _Reading):
        self.texts, self.reading, self.at, self.depth = texts, reading, 0, 0

    def value(self) -> Fraction:
        total = self._sum()
        if self.at < len(self.texts):
            raise ValueError
        return total

    def _next(self, *signs: str) -> str:
        if self.at == len(self.texts) or self.texts[self.at] not in signs:
            return ""
        self.at += 1
        return self.texts[self.at - 1]

    def _sum(self) -> Fraction:
        total = self._product()
        while sign := self._next("+", "-"):
            total += self._product() if sign == "+" else -self._product()
        return total

    def _product(self) -> Fraction:
        total = self._power()
        while sign := self._next("*", "/", "of"):
            if sign != "/":
                total *= self._power()
            else:
                total /= self._power() if self.reading.left else self._product()
        return total

    def _power(self) -> Fraction:
        negative = bool(self._next("-"))
        base = self._atom()
        if negative and not self.reading.tight:
            negative, base = False, -base
        while self._next("^", "**"):
            exponent = self._power() if self.reading.tight else -self._atom() if self._next("-") else self._atom()
            bits = base.numerator.bit_length() + base.denominator.bit_length()
            if exponent.denominator > 1 or abs(exponent) > _EXPONENT or bits * abs(exponent) > _BITS:
                raise ValueError
            base = base ** int(exponent)
        return -base if negative else base

    def _atom(self) -> Fraction:
        if self._next("("):
            self.depth += 1
            if self.depth > _DEEPEST:
                raise ValueError
            value = self._sum()
            self.depth -= 1
            if not self._next(")"):
                raise ValueError
        else:
            text = self.texts[self.at] if self.at < len(self.texts) else ""
            # A leading zero belongs to a date, a code or a version.
            if not re.fullmatch(NUMBER, text) or len(text) > _LONGEST or re.match("0[0-9]", text):
                raise ValueError
            self.at += 1
            value = number(text)
        return value * self.reading.percent if self._next("%") else value
