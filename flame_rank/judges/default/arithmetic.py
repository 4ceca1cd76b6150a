"""Finds wrong arithmetic in a text: false equations, and a result other than the one that the prompt asks for. As in
text_rules.py, a rule applies only if it is certain: an expression that can be read in two ways counts as true."""

# ruff: noqa: RUF001 - signs of other scripts are meant

import re
import unicodedata
from fractions import Fraction
from math import isqrt, prod

from flame_rank.candidates.code_views import LONGEST
from flame_rank.candidates.equations import ANNOTATION, OTHERWISE
from flame_rank.candidates.expressions import NUMBER, OPERATORS, number, shows, symbols, tokenize, values, with_digits


def asked(prompt: str) -> Fraction | None:
    """Returns the value of the expression that the last turn of a prompt asks for ("What is 15% of 80?") if it asks for
    nothing else; None for every other prompt, such as a word problem."""
    *before, question = [turn for turn in _ROLE.split(prompt[-LONGEST:]) if turn.strip()] or [""]
    context = "\n".join(before)
    if len(question) > 300 or re.search("[0-9]", context) or OTHERWISE.search(context) or _RULES.search(context):
        return None
    core = _AFTER.sub("", _BEFORE.sub("", with_digits(question.strip().lower().replace("’", "'"))))
    worded = _worded(core)
    return _calculated(core) if worded is None else worded


def contradicts(prompt: str, text: str) -> bool:
    """Tells whether a text states a number as the result that a prompt asks for (see `asked`) and does not contain the
    right number. False if the text states no number, or a vague one."""
    value = asked(prompt)
    text = ANNOTATION.sub("", text[:LONGEST])
    if value is None or _VAGUE.search(text) or any(map(_is_foreign_number, text)):
        return False
    line, plain = (symbols(with_digits(each.lower())) for each in (prompt[-LONGEST:], text))
    if value < 0 and not re.search("-|minus|negative|below", plain):
        value = None  # no number in the text can be negative
    for whole, above, below in _MIXED.findall(plain):
        fraction = int(whole or 0) + Fraction(int(above), int(below))
        if value is not None and abs(value) == fraction and f"{above}/{below}" not in line.replace(" ", ""):
            return False
    numbers = {*re.findall(NUMBER, plain), *(group.replace(" ", "") for group in _GROUPS.findall(plain))}
    scales = (1, 100) if "%" in plain else (1,)
    if value is not None and any(shows(value * scale, digits) for digits in numbers for scale in scales):
        return False
    given = {number(digits) for digits in re.findall(NUMBER, line)}
    return any(
        match["equals"] is not None or (len(text) <= _SHORT and number(match["number"]) not in given)
        for match in _STATED.finditer(plain)
    )


# --- questions

_ROLE = re.compile(r"^[ \t]*(?:#+[ \t]*)?(?:user|human|assistant|system|question|q|a|answer)[ \t]*:", re.I | re.M)
_RULES = re.compile(r"\b(?:always|game|instead|li(?:ar|es?)|means?|opposite|replace|reverse|rules?|role|roman)\b", re.I)
_BEFORE = re.compile(
    r"^(?:(?:hi|hello|hey|please|ok|okay|so|now|and|quick question|(?:can|could|would|will) you(?: please)?"
    r"|i need to know|tell me|help me|do you know|calculate|compute|evaluate|work out|solve|find|give me|simplify"
    r"|answer|what's|whats|what is|what are|what does|what|how much (?:is|are|does)|what do you get for"
    r"|me|the (?:value|result|answer) (?:of|to|for)|the following(?: expression| sum)?"
    r"|this)(?![\w'])(?:[\s,:!?]|\.(?![0-9]))*)*"
)
_AFTER = re.compile(
    r"(?:[\s?.=:,]|(?<![0-9)])!|(?<= )(?:is|equals?|equal to|equal|make|give|come to|please|thanks|thank you"
    r"|(?:answer|reply|respond) with (?:just |only )?(?:the |a )?(?:number|result|answer)(?: only)?"
    r"|(?:just|only) (?:give )?(?:me )?(?:the |a )?(?:number|result|answer)|explain(?: your reasoning| step by step)?"
    r"|show your work(?:ing)?|step by step))*$"
)
# Expressions that are better known as something else.
_KNOWN_AS = re.compile(
    r"24/7|9/11|7/11|7/7|26/11|50/50|20/20|80/20|4/20|60/40|4/4|[1-9]/1[02]|[2468]x[2468]|3x3|5x5|[0-9]{3}-[0-9]{3,4}"
    r"|[0-9]+[-/][0-9]+[-/][0-9]+"
)
_N = rf"(-?(?:{NUMBER}))"
# each comma matches in one way only; otherwise matching takes exponential time
_LIST = rf"({_N}(?:(?:,? (?:and|&) |, ){_N})+)"
_FORMS = tuple(
    re.compile(rf"(?:the )?{form}")
    for form in (
        rf"(?:sum|total) of {_LIST}|add {_LIST}|add {_N} to {_N}",
        rf"product of {_LIST}|multiply {_LIST}|multiply {_N} by {_N}",
        rf"(?:average|mean|arithmetic mean)(?: \((?:mean|average)\))? (?:of|value of) {_LIST}",
        rf"difference between {_N} and {_N}|subtract {_N} from {_N}",
        rf"quotient of {_N} and {_N}|divide {_N} by {_N}",
        rf"square root of {_N}",
        rf"square of {_N}|{_N} squared",
        rf"cube of {_N}|{_N} cubed",
        rf"half (?:of )?{_N}",
        rf"(?:double|twice) {_N}",
        rf"(?:triple|thrice) {_N}",
        rf"(?:a|1) third of {_N}",
        rf"(?:a|1) (?:quarter|fourth) of {_N}",
    )
)


def _worded(core: str) -> Fraction | None:
    """Returns the value of an expression in words that match one of _FORMS; None if it matches none."""
    form = next((at for at, form in enumerate(_FORMS) if form.fullmatch(core)), None)
    given = [-number(digits) if sign else number(digits) for sign, digits in re.findall(rf"(-?)({NUMBER})", core)]
    match form, given:
        case 0, _:
            return sum(given, Fraction())
        case 1, _:
            return prod(given, start=Fraction(1))
        case 2, _:
            return sum(given, Fraction()) / len(given)
        case 3, [first, second]:
            return abs(first - second) if core.startswith(("the diff", "diff")) else second - first
        case 4, [first, second]:
            return first / second if second else None
        case 5, [value] if value >= 0 and value.denominator == 1 and isqrt(int(value)) ** 2 == value:
            return Fraction(isqrt(int(value)))
        case (6 | 7) as power, [value]:
            return Fraction(value ** (power - 4))
        case (8 | 9 | 10 | 11 | 12) as share, [*_, value]:
            return value * (Fraction(1, 2), Fraction(2), Fraction(3), Fraction(1, 3), Fraction(1, 4))[share - 8]
    return None


def _calculated(core: str) -> Fraction | None:
    """Returns the value of an expression in signs or in words for signs; None if there is anything else."""
    if _KNOWN_AS.fullmatch(core):
        return None
    expression = tokenize(symbols(core))
    texts = [token.text for token in expression]
    if not OPERATORS & set(texts) or sum(token.is_number for token in expression) < 2:
        return None
    tight = re.fullmatch(r"[0-9]+([/-])[0-9]+", core)
    results = values(expression)
    if not results or (tight and (results[0] <= 0 or results[0].denominator > 1)):
        return None  # perhaps a date or a range
    if any(text == "of" and "%" not in texts[at - 1] and texts[at - 2] != "/" for at, text in enumerate(texts)):
        return None  # "3 of 5"
    powers = {"^", "**"} & set(texts)
    return None if powers and len(results) > 1 else results[0]


# --- answers

_SHORT = 60  # characters; the last number of so short a text is its answer, whatever the wording
_VAGUE = re.compile(
    r"[≈~]|\\approx|\b(?:about|approx\w*|roughly|around|nearly|almost|estimat\w*|dozens?|half|halves|thirds?|quarters?"
    r"|fourths?|fifths?|pairs?|couple|score|nothing|none|nil|nought|naught|infinit\w*|undefined|roman|binary)\b"
    r"|[0-9]e[+-]?[0-9]|10\^|[0-9] ?(?:k|hundred|thousand|million|billion|trillion)\b"
    r"|(?:\bnot|n't|n’t|\bnever)(?: \w+)? [0-9]",
    re.IGNORECASE,
)
_MIXED = re.compile(r"(?:\b([0-9]{1,9}) )?\({0,2}\b([0-9]{1,9})\)? ?/ ?\(?([1-9][0-9]{0,8})\b")
_GROUPS = re.compile(r"[0-9]{1,3}(?: [0-9]{3})+")
# A number that is not part of an expression or a word, and not the mark of a list item.
_STATED = re.compile(
    r"(?P<equals>(?:\A\s*|=:?|\b(?:is|equals?|makes?|gives?|get|(?:it|that)['’]s|(?:up|out|comes?|equal) to|answer:"
    r"|result:))[\s*:]*)?(?:(?<=^)|(?<=[\s*=:(]))-?"
    rf"(?P<number>{NUMBER})(?![0-9]|,[0-9]|\.[0-9]|[\w%]|\s*[-+*/^(]|\s*\*\*|\s+of\b|\s+[x×]\s|[.)]\s+\w|\s+[0-9])"
)


def _is_foreign_number(sign: str) -> bool:
    return sign > "\x7f" and sign not in "²³" and unicodedata.numeric(sign, None) is not None
