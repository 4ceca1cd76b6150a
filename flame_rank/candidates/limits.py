"""Finds limits on an answer's form that a prompt states and a program can check, such as "in at most ten words", and
tells whether a text keeps them. They are of the kinds of IFEval (Zhou et al. 2023)."""

# ruff: noqa: RUF001 - signs of other scripts are meant

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

from flame_rank.candidates.code_views import LONGEST

Unit: TypeAlias = Literal["word", "sentence", "line", "paragraph", "character", "bullet"]
Check: TypeAlias = Callable[[str], bool]  # whether a text keeps a limit

_READ = 300  # characters at each end of a paragraph; the middle of a longer one is material to work on
_QUOTED = 60  # characters; a longer quotation is material as well
_SLACK = 1.5  # "in 50 words" asks for about 50
_ALMOST_ALL = 0.9  # of the letters: a text in capital letters may quote a name
_COUNTED = 12  # words; up to here "in ten words" is meant literally


@dataclass(frozen=True)
class Count:
    """How often a unit may occur in an answer: at least `least` times and at most `most` times."""

    unit: Unit
    least: float = 0
    most: float = math.inf

    def __call__(self, text: str) -> bool:
        low, high = _counts(self.unit, text)
        return high >= self.least and low <= self.most


def breaks_limit(prompt: str, text: str) -> bool:
    """Tells whether an answer certainly breaks a limit that the prompt states: on the number of its words, sentences,
    lines, paragraphs, characters or bullet points, on capital letters, commas and single words, or that it is nothing
    but JSON."""
    return any(not keeps(text) for keeps in _limits(prompt))


@lru_cache(maxsize=64)
def _limits(prompt: str) -> tuple[Check, ...]:
    asked = "\n".join(part for part in _SENTENCE_END.split(_instructions(prompt)) if not _REPORTED.search(part))
    own = _SHORT_QUOTATION.sub(" … ", asked)
    return (*_count_limits(own), *_letter_limits(own), *_word_limits(asked))


_TURN = re.compile(r"^[ \t]*(?:human|user|assistant|system)[ \t]*:[ \t]*", re.IGNORECASE | re.MULTILINE)
_QUOTATION = re.compile(
    rf"(?<!\w)(['\"])(?:(?!\1(?!\w)).){{{_QUOTED},}}?\1(?!\w)|[“‘][^”’]{{{_QUOTED},}}[”’]", re.DOTALL
)
_SHORT_QUOTATION = re.compile(rf"(?<!\w)(['\"])(?:(?!\1)[^\n]){{1,{_QUOTED}}}?\1(?!\w)|[“‘][^”’\n]{{1,{_QUOTED}}}[”’]")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s|\n")
# A sentence with one of these tells of a limit, or asks about one: "my essay must have 300 words".
_REPORTED = re.compile(
    r"\b(?:my (?:\w+ )?(?:must|should|(?:has|have|had|needs?) to|said|says|told|asked|wants me)"
    r"|(?:he|she|they|i) (?:said|told|wrote|asked)|i was (?:told|asked)"
    r"|why (?:should|shouldn't|do|must|can|can't|would) (?:i|we|you|one|people)"
    r"|(?:should|must|can|may|do) i (?:not |never )?(?:use|write|exceed|avoid|say|include|mention))\b"
)


def _instructions(prompt: str) -> str:
    """Returns the last turn of a prompt in lower case, without long quotations and the middle of long paragraphs."""
    last = next((turn for turn in reversed(_TURN.split(prompt)) if turn.strip()), "")
    lines = _QUOTATION.sub(" … ", _ends(last, 8 * _READ)).lower().splitlines()
    return "\n".join(_ends(line, _READ) for line in lines)


def _ends(text: str, each: int) -> str:
    return text if len(text) <= 2 * each else f"{text[:each]} … {text[-each:]}"


# --- numbers of words, sentences, lines, ...

_NAMED = {
    **{"one": 1, "a single": 1, "single": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7},
    **{"eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "fifteen": 15, "twenty": 20, "thirty": 30},
    **{"forty": 40, "fifty": 50, "a hundred": 100, "one hundred": 100, "two hundred": 200},
}
_NUMBER = rf"(?:\b(?:{'|'.join(sorted(_NAMED, key=len, reverse=True))}|\d{{1,3}},\d{{3}}|\d{{1,4}}))"
_COUNT = re.compile(
    rf"(?:(?P<low>{_NUMBER})\s*(?:-|–|to|and|or)\s*)?(?P<n>{_NUMBER})(?P<more>\+?)(?P<joined>[\s-]+)"
    r"(?:(?:short|complete|full|concise|simple|clear|rhyming|different)\s+)?"
    r"(?P<unit>word|sentence|line|paragraph|character|bullet)(?:s|[ -]points?)?\b"
)
_MOST = re.compile(
    r"\b(?:at (?:the )?most|(?:no|not|n't want anything) (?:more|longer|over) than|(?:fewer|less|shorter) than|under"
    r"|below|up to|within|exceed(?:ing)?|max(?:imum)?(?: of|:)?|limit(?:ed)?(?: \w+){0,3} to)(?: a total of)?\s*$"
)
_MOST_AFTER = re.compile(r" (?:or (?:less|fewer)|at most|max(?:imum)?\b|limit\b)")
_LEAST = re.compile(r"\b(?:at least|(?:no|not) (?:less|fewer) than|more than|over|minimum(?: of|:)?)\s*$")
_LEAST_AFTER = re.compile(r" (?:or more|at least|minimum\b)")
_EXACTLY = re.compile(r"\b(?:exactly|precisely)\s*$")
_ASKED = re.compile(  # "three sentences" without one of these may be about something else than the answer
    r"\b(?:(?:in|with|using|into|of|contains?|in the range of)(?: just| only)?|just|only|between"
    r"|(?:write|give|compose|create|generate|provide)(?: me)?(?: just| only)?)\s*$"
)
_COMPOUND = re.compile(r"\b(?:an?|your)(?: \w+)?\s*$")  # "a polite one-sentence request"
_OF_LINES = re.compile(r"[ -](?:\w+ )?(?:answer|greeting|joke|message|poem|reply|rhyme|song|summary)")  # not "function"


def _count_limits(asked: str) -> Iterator[Count]:
    for match in _COUNT.finditer(asked):
        unit: Unit = match["unit"]  # type: ignore[assignment]
        before, after = asked[max(0, match.start() - 40) : match.start()], asked[match.end() : match.end() + 20]
        number = _number(match["n"])
        if _MOST.search(before) or _MOST_AFTER.match(after):
            yield Count(unit, most=number)
        elif match["more"] or _LEAST.search(before) or _LEAST_AFTER.match(after):
            yield Count(unit, least=number)
        elif _EXACTLY.search(before):
            yield Count(unit, number, number)
        elif not (
            _ASKED.search(before)
            or ("-" in match["joined"] and _COMPOUND.search(before) and (unit != "line" or _OF_LINES.match(after)))
        ):
            continue
        elif match["low"]:
            yield Count(unit, _number(match["low"]), number)
        elif number <= _COUNTED and unit not in ("word", "character"):
            yield Count(unit, number, number)
        else:
            yield Count(unit, most=number if number <= _COUNTED else number * _SLACK)


def _number(text: str) -> int:
    text = " ".join(text.split())
    return _NAMED[text] if text in _NAMED else int(text.replace(",", ""))


_ABBREVIATION = re.compile(r"\b(?:mr|mrs|ms|dr|prof|st|no|vs|etc|e\.g|i\.e|fig|approx|[a-z])\.", re.IGNORECASE)
_STOP = re.compile(r"(?<![.!?…])[.!?…]+[\"'”’)\]*]*(?=\s+[\"'“‘(*]*[A-Z0-9]|\s*\n|\s*$)|[。！？।]")
_SAME_NAME = re.compile(r"(?<=[a-z]) (?=[A-Z][a-z])")  # "New York" may count as one word
_DIVIDER = re.compile(r"^[ \t]*[*_=~-]{3,}[ \t]*$", re.MULTILINE)
_BULLET = re.compile(r"^[ \t]*(?:[-*•+–—]|\(?\d{1,3}[.)])[ \t]+", re.MULTILINE)


def _counts(unit: Unit, text: str) -> tuple[int, int]:
    """Returns the least and the largest number of times that a unit occurs in a text, where one can count
    differently."""
    text = text[:LONGEST].strip()
    if unit == "word":
        whole = sum(any(map(str.isalnum, word)) for word in _BULLET.sub("", text).split())
        same = len(_SAME_NAME.findall(text)) if whole <= _COUNTED else 0
        return whole - same, max(whole, len(re.findall(r"[^\W_]+", text)))
    lines = [line for line in text.splitlines() if line.strip()]
    if unit == "sentence":
        stops = len(_STOP.findall(_ABBREVIATION.sub(" ", text)))
        return max(1, stops - bool(_BULLET.search(text))), max(stops, len(lines), 1)
    if unit == "character":
        return len(text.replace(" ", "")), len(text)
    if unit == "paragraph":
        blocks = _DIVIDER.split(text) if _DIVIDER.search(text) else re.split(r"\n\s*\n", text)
        return sum(any(map(str.isalnum, block)) for block in blocks), len(lines)
    if unit == "bullet":
        bullets = len(_BULLET.findall(text))
        return bullets, max(bullets, len(lines))
    return len(lines), len(lines)


# --- capital letters, commas, JSON

_LETTERS = r"(?:capital(?:s| letters)|capitalized letters|caps|upper.?case(?: letters)?|block letters)"
_SMALL_LETTERS = r"(?:lower.?case(?: letters)?|small letters)"
_WAY = r"\b(?:in|using|use|with|write)(?: english and)?(?: only| all| just)*"
_CAPITALS = re.compile(rf"{_WAY} {_LETTERS}\b|\ball.{_LETTERS}\b|\bonly (?:use )?{_LETTERS}\b|\bno {_SMALL_LETTERS}")
_SMALL = re.compile(rf"{_WAY} {_SMALL_LETTERS}\b|\ball.{_SMALL_LETTERS}\b|\bonly (?:use )?{_SMALL_LETTERS}\b")
_NO_CAPITALS = re.compile(rf"\b(?:no|without(?: using)?(?: any)?) {_LETTERS}\b")
# A sentence with one of these speaks of some of the letters, or of the letters of the prompt.
_SOME = re.compile(
    r"\b(?:words?|phrases?|titles?|headings?|names?|begin|start|first|initials?|not|never|avoid|\w+n't|convert|following"
    r"|at least|than)\b"
)
_NO_COMMAS = re.compile(
    r"\b(?:without|no|(?:not|\w+n't) (?:allowed to )?(?:use|contain|include)|avoid|refrain from)"
    r"(?: using)?(?: any)? commas?\b|\bcommas are not allowed"
)
_ONLY_JSON = re.compile(
    r"\b(?:only|just|nothing but|output) (?:in |with |as |the |a |valid |raw )*json\b"
    r"(?! (?:module|library|parser|package))"
    r"|\bjson(?: object| array)?(?: only|,? and nothing else)"
)
_ONE_PER_LINE = re.compile(
    r"\b(?:one|each(?: \w+)?) (?:per line|(?:on|in) (?:each|its own|a(?: new| separate|n own)?) line)\b"
)
_FENCE = re.compile(r"\A\s*```\w*\n(.*?)\n?```\s*\Z", re.DOTALL)


def _letter_limits(asked: str) -> Iterator[Check]:
    for sentence in _SENTENCE_END.split(asked):
        if _NO_CAPITALS.search(sentence) or (_SMALL.search(sentence) and not _SOME.search(sentence)):
            yield lambda text: _share(text, str.islower) > _ALMOST_ALL
        elif _CAPITALS.search(sentence) and not _SOME.search(sentence):
            yield lambda text: _share(text, str.isupper) > _ALMOST_ALL
    if _NO_COMMAS.search(asked):
        yield lambda text: "," not in text
    if _ONLY_JSON.search(asked):
        yield _is_json
    if _ONE_PER_LINE.search(asked):
        yield lambda text: len(text.strip().splitlines()) > 1


def _share(text: str, is_so: Callable[[str], bool]) -> float:
    """Returns the share of the letters with upper and lower case of which a function is true; 1 without letters."""
    letters = [sign for sign in text if sign.isupper() or sign.islower()]
    return sum(map(is_so, letters)) / len(letters) if letters else 1.0


def _is_json(text: str) -> bool:
    fenced = _FENCE.match(text)
    try:
        json.loads(fenced[1] if fenced else text)
    except (ValueError, RecursionError):
        return False
    return True


# --- words that have to occur, or must not

_QUOTED_WORD = r"['\"“‘][^'\"”’\n]{1,40}['\"”’]"
_QUOTED_WORDS = rf"(?P<words>{_QUOTED_WORD}(?:,? (?:and |or )?{_QUOTED_WORD})*)"
_NAMES = r"(?:the )?(?:exact |following )?(?:key)?(?:words?|terms?|phrases?):? "
_WITHOUT = re.compile(
    r"\b(?:(?:without|avoid) (?:using|mentioning|saying|including)|exclude"
    rf"|(?:not(?: to)?|\w+n't|never) (?:use|mention|say|write|include)) {_NAMES}{_QUOTED_WORDS}"
)
_WITH = re.compile(
    r"(?<!not )(?<!not to )(?<!n't )(?<!without )(?<!never )(?<!avoid )\b(?:contain(?:s|ing)?"
    rf"|includ(?:e|es|ing)|use|using|mention|(?:start|begin|end)(?:s|ning|ing)? with) {_NAMES}{_QUOTED_WORDS}"
)
_CHANGED = re.compile(r"\b(?:replac|remov|rewrit|delet|chang|correct|edit|synonym|translat|meaning)")


def _word_limits(asked: str) -> Iterator[Check]:
    if _CHANGED.search(asked):
        return
    for pattern, occurs in ((_WITHOUT, False), (_WITH, True)):
        for match in pattern.finditer(asked):
            for word in re.findall(_QUOTED_WORD, match["words"]):
                yield _occurrence(word[1:-1].strip(" .,"), occurs)


def _occurrence(word: str, occurs: bool) -> Check:
    # Whoever asks for a word also takes its plural; whoever forbids one forbids no longer word that begins with it.
    pattern = re.compile(rf"(?<!\w){re.escape(word)}" + ("" if occurs else r"(?!\w)"), re.IGNORECASE)
    return lambda text: (pattern.search(text) is not None) == occurs
