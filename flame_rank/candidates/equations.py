"""The false equations of a text. Only certain cases count: an equation that can be read in two ways, or that may be a
part of something else, is skipped."""

# ruff: noqa: RUF001 - signs of other scripts are meant

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction

from flame_rank.candidates.code_views import LONGEST
from flame_rank.candidates.expressions import OPERATORS, WORDS, Token, number, shows, symbols, tokenize, values
from flame_rank.candidates.languages import word_set
from flame_rank.candidates.text_rules import is_code

_EQUATION = re.compile(r"[0-9][^\n]{0,60}?(?:=|\b(?:is|equals?|makes?|gives?)\b)")
ANNOTATION = re.compile(r"<<([^<>\n]{0,200})>>")  # a calculator's note in GSM8K: <<48/2=24>>24
_CLAUSE = re.compile(r"\n|\\\\|(?<=[.;!?])\s|[。；]")
# A text with one of these words may state a false equation on purpose, or use another arithmetic.
OTHERWISE = re.compile(
    r"≠|≡|\\(?:pmod|bmod|neq?|equiv)|\b(?:mod|modulo|modular|modulus|binary|hexadecimal|octal|ternary|matri(?:x|ces)"
    r"|clock|wrong|incorrect\w*|mistakes?|oops|typo|false|myth|jok(?:e|ing)|fallacy|puzzle|riddle|orwell|pretend|invalid"
    r"|contradict\w*|absurd|xor"
    r"|boolean|gf|z_?[0-9]+|strings?|concat\w*|overflow\w*|wraps?"
    r"|base[ -](?:[0-9]|two|three|eight|ten))\b|not (?:right|true|correct)",
    re.IGNORECASE,
)
_ROUGHLY = re.compile(
    r"[≈≃≅∼~]|\\approx|\b(?:about|approx\w*|roughly|around|nearly|almost|estimat\w*|round\w*|nearest|remainder"
    r"|suppose|assum\w*|not|never|whole|ceil\w*|at (?:least|most)|up to)\b|n['’]t\b",
    re.IGNORECASE,
)
# An expression is incomplete if one of the first words precedes it, or one of the second follows it.
_GOES_BEFORE = word_set(
    "half third quarter fourth fifth twice double triple thrice squared cubed root square cube sin cos tan log ln exp"
    " sqrt gcd lcm max min floor ceil abs average mean median times plus minus by over divided multiplied from than"
    " less more another per negative positive base point to dozen if let billion the form"
) | frozenset(WORDS)
_GOES_ON = word_set(
    "remainder with thousand thousands million millions billion billions trillion hundred hundreds dozen dozens percent"
    " pm am squared cubed factorial times plus minus divided multiplied or half halves third thirds quarter quarters"
    " base to choose more less fewer greater smaller larger bigger longer apart out part parts digit digits per over is"
    " equals mod tens ones tenths hundredths fourth fourths fifth fifths tenth score pair pairs"
)
_MEASURES = word_set(
    "second minute hour day week month year cent dollar penny nickel dime quarter inch foot feet yard mile meter metre"
    " centimeter centimetre kilometer millimeter gram kilogram ounce pound ton liter litre milliliter cup pint gallon"
    " tablespoon teaspoon kg g mg km cm mm ml lb oz ft hr min sec pennie inche inches degree dozen percent"
)
_CONVERTED = (1, 7, 12, 16, 24, 52, 60, 100, 365, 1_000, 1_440, 3_600, 10**6)
_SCALES = (*map(Fraction, _CONVERTED), *(Fraction(1, factor) for factor in _CONVERTED))


def false_equations(text: str) -> int:
    """Counts the distinct false equations of a text; an equation is an expression in digits with the value that the
    text gives it.

    Rounded and truncated results count as true, and so does a running calculation ("5 * 2 = 10 * 3 = 30"). Programs,
    variables, units that differ, approximations, other arithmetic, and texts that themselves call something wrong are
    skipped.
    """
    text = text[:LONGEST]
    if not _EQUATION.search(text) or OTHERWISE.search(text) or is_code("", text):
        return 0
    annotations = "\n".join(ANNOTATION.findall(text))
    clauses = _CLAUSE.split(symbols(f"{ANNOTATION.sub('', text)}\n{annotations}"))
    return len({equation for clause in clauses for equation in _false_in(clause)})


def _false_in(clause: str) -> Iterator[str]:
    """Yields the equations of a clause that are false however they are read."""
    if "=" not in clause or _ROUGHLY.search(clause):
        return
    tokens = tokenize(clause)
    measured = any(_stem(token) in _MEASURES or token.text in ("%", "¢", "°") for token in tokens)
    start = 0
    for at, sign in enumerate(tokens):
        if sign.text not in ("=", "=:"):
            continue
        left, right = _left(tokens, start, at), _right(tokens, at + 1)
        end = at + 1 + len(right or ())
        after = _stem(tokens[end]) if end < len(tokens) else ""
        if left and right and _is_false(left, right, after, measured=measured, in_words=sign.text == "=:"):
            yield "".join(token.text for token in [*left, Token("=", False), *right])
        start = at + 1


def _stem(token: Token) -> str:
    word = token.text.lower()
    return word.removesuffix("s") if len(word) > 2 else word


def _left(tokens: Sequence[Token], start: int, end: int) -> Sequence[Token] | None:
    """Returns the expression that ends before `end`; None if it may be only a part of what is meant."""
    at, depth = end, 0
    while at > start:
        token = tokens[at - 1]
        ends = at == end or tokens[at].text in OPERATORS or tokens[at].text in (")", "%")
        if token.text == ")" and ends:
            depth += 1
        elif token.text == "(" and depth:
            depth -= 1
        elif token.text in OPERATORS:
            if at == end or (token.text == "of" and not _is_share(tokens, at - 2)):
                break
        elif token.is_number:
            if not ends and not _is_unit(tokens, at, end):
                break
        elif not (token.text == "%" and ends) and not _is_unit(tokens, at - 1, end):
            break
        at -= 1
    whole = depth == 0 and at < end and _opens(tokens, start, at)
    if not whole or (tokens[at].text == "-" and at > 0 and tokens[at - 1].is_word):  # "Income - 5 + 3"
        return None
    return tokens[at:end]


def _right(tokens: Sequence[Token], start: int) -> Sequence[Token] | None:
    """Returns the expression that begins at `start`; None if it may go on."""
    at, depth = start, 0
    while at < len(tokens):
        token, ends = tokens[at], at > start and _ends_value(tokens, at - 1)
        if token.text == "(" and not ends:
            depth += 1
        elif token.text == ")" and ends and depth:
            depth -= 1
        elif token.text in OPERATORS:
            if (not ends and token.text != "-") or (token.text == "of" and not _is_share(tokens, at - 1)):
                break
        elif not (token.text == "%" if ends else token.is_number) and not _is_unit(tokens, at, -1):
            break
        at += 1
    return tokens[start:at] if start < at and depth == 0 and _closes(tokens, at) else None


def _ends_value(tokens: Sequence[Token], at: int) -> bool:
    return at >= 0 and (
        tokens[at].is_number or tokens[at].text in ("%", ")") or (tokens[at].is_word and tokens[at].text != "of")
    )


def _is_share(tokens: Sequence[Token], at: int) -> bool:
    """Tells whether a share such as "25%" or "1/4" ends at a token, so that a following "of" multiplies by it."""
    return at > 0 and (tokens[at].text in ("%", ")") or (tokens[at].is_number and tokens[at - 1].text == "/"))


def _is_unit(tokens: Sequence[Token], at: int, end: int) -> bool:
    """Tells whether a token is a unit: a word between a number and an operator or the end ("3 apples + ...")."""
    if not tokens[at].is_word or len(tokens[at].text) == 1 or not tokens[at].spaced or at == 0:
        return False
    word, last = tokens[at].text.lower(), at + 1 == end
    if not tokens[at - 1].is_number or word == "of" or word in _GOES_ON or word in _GOES_BEFORE:
        return False
    return last or (at + 1 < len(tokens) and tokens[at + 1].text in ("+", "-", "*", ")") and tokens[at + 1].spaced)


def _opens(tokens: Sequence[Token], start: int, at: int) -> bool:
    """Tells whether an expression is complete, by the tokens before it."""
    if at == start:
        return True
    before, spaced = tokens[at - 1], tokens[at].spaced
    if before.is_word:
        word = before.text.lower()
        if word == "of":
            return at > 1 and tokens[at - 2].text.lower() in ("total", "sum")
        return spaced and word not in _GOES_BEFORE and (len(word) > 1 or before.text in ("a", "A", "I"))
    if before.text == "(":  # an equation in parentheses, not an argument or a factor
        return at == 1 or (before.spaced and tokens[at - 2].text not in OPERATORS and _opens(tokens, start, at - 1))
    if before.text == ")":  # "1) 3 + 4"
        return at == 2 and spaced and tokens[0].is_number
    if before.text == ":":
        label = at > 1 and (tokens[at - 2].is_word or (spaced and at > 2 and tokens[at - 3].is_word))  # "Step 1: 3 + 4"
        return label or (spaced and not _ends_value(tokens, at - 2))
    return spaced and before.text in ".,;!?\"'”’•|—>→…"


def _closes(tokens: Sequence[Token], at: int) -> bool:
    """Tells whether an expression is complete, by the tokens after it."""
    if tokens[at - 1].text in OPERATORS:
        return False
    after, following = (tokens[to] if to < len(tokens) else None for to in (at, at + 1))
    if after is None:
        return True
    if after.is_word:
        word, measure = after.text.lower(), _stem(after) in _MEASURES
        if following is not None and following.text.lower() == "and":
            following = tokens[at + 2] if at + 2 < len(tokens) else None
        continued = following is not None and (following.is_number or following.text.lower() in ("a", "one", "half"))
        if (
            word in _GOES_ON
            or (len(word) == 1 and after.text not in ("a", "A", "I"))
            or (continued and (measure or word in ("and", "of")))
        ):
            return False  # "2 hours 30 minutes", "3 and a half", "1 of 3"
        return after.spaced or measure
    if after.text in (".", ",", ":"):
        return following is None or not following.is_number or (following.spaced and after.text != ":")
    if after.text in "(!|":  # a remark, not a factor or a factorial
        return after.spaced and (following is None or following.is_word)
    return after.text in ("=", "=:") or after.text in ")];\"'”’—<>→…"


def _is_false(left: Sequence[Token], right: Sequence[Token], after: str, *, measured: bool, in_words: bool) -> bool:
    units = [_stem(token) for token in (*left, *right) if token.is_word and token.text != "of"]
    if units and after not in units:
        return False  # "1/4 box = 20/4"
    left, right = ([token for token in side if not token.is_word or token.text == "of"] for side in (left, right))
    texts = [token.text for token in left]
    numbers = sum(token.is_number for token in left)
    if not OPERATORS & set(texts) or numbers < 2 or len(set(units)) > 1:
        return False
    if set(units) & _MEASURES and {"+", "-"} & set(texts) and len(units) < numbers:
        return False  # "2 hours + 30"
    tight = len(left) == 3 and not left[1].spaced and (texts[1] == "-" or (texts[1] == "/" and in_words))
    if tight and number(texts[0]) < number(texts[2]):
        return False  # "3-5 = 2 points" is a range, and "1/3 is 1 part" a share
    if re.fullmatch(r"[0-9]{1,4}([-/])[0-9]{1,2}\1[0-9]{1,4}", "".join(texts)):
        return False  # a date
    results = values(left)
    if not results or not values(right):
        return False
    for marks in (1, 2):  # the mark of a list item: "- 3 + 4 = 7", "1 - 3 + 4 = 7"
        if len(left) > 3 and texts[marks - 1] == "-" and left[marks].spaced:
            results += values(left[marks:])
    return not any(_holds(value, right, measured) for value in results)


def _holds(value: Fraction, right: Sequence[Token], measured: bool) -> bool:
    # "90 / 60 = 1.5 hours", "20 + 40 = 1 hour", "1/4 = 25%"
    scaled = [value * scale for scale in (_SCALES if measured else _SCALES[:1])]
    texts = [token.text for token in right]
    shown = next(token.text for token in right if token.is_number)
    if sum(map(texts.count, OPERATORS - {"-"})) == 0 and "-" not in texts[1:]:
        same_sign = value <= 0 if texts[0] == "-" else value >= 0
        return same_sign and any(shows(each, shown) for each in scaled)
    others = values(right)
    near = Fraction(1, 100) if any("." in text for text in texts) else 0
    # In a running calculation only the first number of the next expression is the result.
    return any(abs(each - other) <= abs(other) * near for each in scaled for other in others) or (
        value >= 0 and any(shows(each, shown) for each in scaled)
    )
