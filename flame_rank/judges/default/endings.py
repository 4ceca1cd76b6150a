"""Detects prose that ends in the middle of a sentence."""

# ruff: noqa: RUF001 - signs of other scripts are meant

import re
from collections.abc import Sequence

import numpy as np

from flame_rank.candidates.languages import identify, word_set, words
from flame_rank.candidates.text_rules import is_code
from strategies.base import FloatArray

_READ = 4_000  # characters at the end of a text
_LEAST = 5  # words; a shorter text is an answer, not a sentence
_TITLE = 5  # letters: in a title all words that are longer than most joining words have a capital
_NAME = 3  # words; as many may stand under "Best regards,"

# An English sentence does not end in one of these.
_NEVER = word_set(
    "a an the and or but nor if because although unless whereas whether than which whose who's my your our their"
    " every i we they he she it's i'm you're we're they're i've we've don't doesn't isn't such very"
)
# Nor in one of these, except for a stranded preposition or an ellipsis ("what to look for", "I know who they are").
_RARELY = word_set(
    "of to for from with into onto by at in on upon between among against during through about as is are was were be"
    " been has have had can could will would shall should may might must do does did that this when while where who"
    " what"
    " how until since so also its his"
)
_PRONOUNS = word_set("i you he she it we they this that there these those")
# These end sentences often; they count only if other sentences of the text end in punctuation.
_PARTICLES = word_set("on in at about through is are was were do does did have has had can could will would so also")
_STRANDS = re.compile(r"\b(?:what|which|who|whom|whose|where|how|that|than|as|to)\b", re.IGNORECASE)
_JOINING = word_set("and but or because although which whose")
_ENDS = frozenset(
    (verb, "to") for verb in word_set("want wants wanted like need have has had going used able supposed")
)
_CLOSERS = "\"'”’»)]}*_`~ \t\r\n"
_FINAL = re.compile(r"[.!?…。！？．；;:：।॥۔؟་។။]$")
_STOPS = re.compile(r"[.!?。！？।؟۔](?=[\s\"'”’»)*_]|$|[^\W\d_a-zA-Z])")
_ITEM = re.compile(r"^\s*(?:[-*•+–—#>|]|\(?\d{1,3}[.):]|\(?[A-Za-z][.)]\s)")
_ADDRESS = re.compile(r"[/@#\\_.]\S*$|\S['’]$")
_CUT = re.compile(r"[,،、，(\[{“„«‘¿¡]$|\s[&+=]$|(?<=\w)[-–—]$|\s[-–—]$")
_BRACKETS = ("()", "[]", "“”", "«»", "「」", "『』", "（）", "《》")


def broken_off(text: str) -> float:
    """Estimates how certain it is that a text breaks off: 1 if it ends in the middle of a sentence or with an open
    fence; 0.5 if its last sentence has no final punctuation although others have it; otherwise 0. Texts of fewer than
    five words and programs count as complete, and so do lists, titles, signatures and the like."""
    text = text.rstrip()[-_READ:]
    if text.count("```") % 2:
        return 1.0
    tokens = words(text)
    if len(tokens) < _LEAST or is_code("", text):
        return 0.0
    if _ADDRESS.search(text.rsplit(None, 1)[-1].rstrip(".,")):
        return 0.0  # an address, a path, a formula
    last = text.splitlines()[-1]
    own_line = "\n" in text
    if _CUT.search(text):
        # After "Best regards," a name is left out; a line of a poem may end in a comma.
        return 0.0 if own_line and (len(words(last)) <= _NAME or _ITEM.search(last)) else 0.5 if _verse(text) else 1.0
    bare = text.rstrip(_CLOSERS)
    if not bare or _FINAL.search(bare) or not (bare[-1].isalpha() and bare == text):
        return 0.0  # ends in punctuation, a closing mark, a number, a formula or a sign
    if any(last.rfind(pair[0]) > last.rfind(pair[1]) for pair in _BRACKETS):
        return 1.0
    sentences = len(_STOPS.findall(text))
    if _dangles(last, sentences) and not (own_line and _verse(text)):
        return 1.0
    return 0.5 if sentences >= 2 and not _needs_no_end(text) else 0.0


def _dangles(last: str, sentences: int) -> bool:
    """Tells whether an English sentence cannot end at the end of this line."""
    ending = re.findall(r"[\w'’]+", last.replace("’", "'"))[-30:]
    if not ending or (ending[-1] != ending[-1].lower() and ending[-1] != "I"):
        return False  # a name or an abbreviation: "vitamin A", "OR"
    if identify(last, short=True) not in (None, "English"):
        return False
    *before, word = (word.lower() for word in ending)
    if len(before) < 1:
        return False
    if word in _NEVER and word not in ("i", "a"):
        return True
    if word in _PRONOUNS and before[-1] in _NEVER | {"that", "when", "while", "where", "what"}:
        return True
    if word == "a" or (before[-1] in _JOINING and word in _RARELY | {"then"}):
        return True
    if word not in _RARELY or (before[-1], word) in _ENDS:
        return False
    if word not in ("so", "also") and re.search(r",\s+\w+$", last):
        return True
    stranded = _STRANDS.search(" ".join(before[-6:]))
    long = len(before) >= 12 and not stranded
    return sentences >= 1 or long or (word not in _PARTICLES and not _STRANDS.search(" ".join(before)))


def _verse(text: str) -> bool:
    """Tells whether most lines end without final punctuation, as in a poem, a list or a table."""
    lines = [line.rstrip(_CLOSERS) for line in text.splitlines() if line.strip()]
    return len(lines) >= 3 and sum(not _FINAL.search(line) for line in lines) > len(lines) / 2


def unfinished(texts: Sequence[str]) -> FloatArray:
    """Returns how certain it is that each text of a pool breaks off [n], 0 to 1: judged by itself, or because its last
    sentence has no end while other texts of the pool have one. A text that ends in something else than a sentence, a
    list for example, is only judged by itself.
    """
    alone = np.array([broken_off(text) for text in texts])
    open_ = np.array([_is_sentence(text) and not _is_closed(text) and not _needs_no_end(text) for text in texts])
    closed = any(_is_sentence(text) and _is_closed(text) for text in texts)
    return np.asarray(np.maximum(alone, open_ * float(closed)), np.float64)


def _is_sentence(text: str) -> bool:
    return len(words(text[-_READ:])) > _LEAST and not is_code("", text)


def _needs_no_end(text: str) -> bool:
    """Tells whether what a text ends in needs no final punctuation: an address, a title, a name on its own line, or an
    item of a list or a line of verse among others without it."""
    text = text[-_READ:].rstrip()
    *before, last = [line for line in text.splitlines() if line.strip()]
    if _ADDRESS.search(text.rsplit(None, 1)[-1]) or (before and len(words(last)) <= _NAME):
        return True
    long = [word for word in re.findall(r"[^\W\d_]+", last) if len(word) >= _TITLE]
    if len(long) > 2 and all(word[0].isupper() for word in long):
        return True
    if not _ITEM.search(last):
        return _verse(text)
    items = [line.rstrip(_CLOSERS) for line in before if _ITEM.search(line)]
    return 2 * sum(_FINAL.search(item) is None for item in items) >= len(items)


def _is_closed(text: str) -> bool:
    """Tells whether a text ends in anything but a word or a comma."""
    bare = text.rstrip(_CLOSERS)
    return not bare or bare != text.rstrip() or not (bare[-1].isalpha() or bare[-1] in ",、，")
