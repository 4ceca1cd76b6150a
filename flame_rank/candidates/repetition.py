"""Detects texts that repeat themselves in a loop, as language models do when they degenerate (Holtzman et al. 2020)."""

# ruff: noqa: RUF001 - signs of other scripts are meant

import re
from operator import eq

from flame_rank.candidates.languages import LATEX, word_set, words

_WINDOW = 2_000  # words at the end of a text that are searched for loops
_LONGEST_UNIT = 48  # words of a repeated unit; longer units are found as sentences
_LONGEST_PASSAGE = 24  # sentences of a repeated passage

# Words that people repeat for emphasis, for their sound, or in laughter.
_SOUNDS = word_set(
    "no yes yeah nope yep ha haha hahaha he heh hehe ho hi la na da dum doo boo ah ahh oh ooh uh um er hm hmm mm"
    " wow yay hey"
    " very really so much many more again never ever please go run help sorry bye hip hooray blah bla yada etc tick"
    " tock"
    " knock ding dong beep boop buzz ring row chug choo woof meow moo quack oink tweet bang boom tap drip clap love"
    " nein ja non oui sí si 哈 呵 嘻 笑 嗯 啊 哦 w ㅋ ㅎ ㅠ ха хе ๆ"
)
# Prompts whose right answer may repeat itself.
_ASKED = re.compile(
    r"\b(?:(?:\d+|twice|two|three|four|five|six|seven|ten|hundred|many|several|multiple) times\b"
    r"|again and again|annoy|beat\b|chant|cheer\b|chords?\b|choreograph|chorus|continue the\b|crochet|dna\b"
    r"|drill|echo|exercise|fill\b|gene\b|haiku|knit|litany|loop|lullab|lyric|mantra|melod|music|noises?\b"
    r"|nursery|onomatop|over and over|palindrom|parrot|patterns?\b|poems?\b|poetry|prayer|quot|rap\b|refrain"
    r"|repeat|repetir|repetit|repetition|repite|rhym|rhythm|ripet|rna\b|routine|répét|said\b|say\b|sequence"
    r"|shout|sing\b|slogan|songs?\b|sounds?\b|spam|stutter|times in a row|tongue.?twister|verse|wiederhol"
    r"|workout|повтор)|重复|繰り返"
)
# Prompts that ask for a label of each item, where the same label may be right many times in a row.
_LABELS = re.compile(
    r"\b(?:annotat|board\b|categor|classif|column|csv\b|each of\b|following\b|for (?:each|every|all)\b|grade\b"
    r"|grid\b|items\b|label|matrix|per line\b|questions\b|rate\b|respectively|score|sentiment|statements\b"
    r"|table\b|tag\b|tags\b|true or false|yes or no)"
)
_ENUMERATOR = re.compile(
    r"^[ \t]*(?:[-*•+]+|\(?\d{1,3}[.):]|(?:step|day) \d{1,3}\W)[ \t]*", re.IGNORECASE | re.MULTILINE
)
_SENTENCE = re.compile(r"[.!?。！？…]+(?=\s|$|[^\W\d_])|\n")
_DISTINCT = (
    (10, 0.28),
    (16, 0.33),
)  # (least number of words, a share of distinct words so low that no sentence has it)
_FEW = 60  # words; in longer texts the share of distinct words is low anyway


def is_loop(prompt: str, text: str) -> bool:
    """Tells whether a text, or its end, is mostly repetition although the prompt does not ask for repetition."""
    if text.count("|") >= 8 or _ASKED.search(prompt.lower()):
        return False
    text = LATEX.sub(" ", text)  # a formula repeats its letters
    tokens = words(text)[-_WINDOW:]
    labels = bool(_LABELS.search(prompt.lower()))
    if _is_stuck(tokens):
        return True
    size = len(tokens)
    given = f" {' '.join(words(prompt))} "
    for unit, length, at_end in _runs(tokens, _LONGEST_UNIT):
        times = length / len(unit)
        if not _counts(unit, times, labels) or f" {' '.join(unit * 2)} " in given:
            continue  # numbers, sounds, labels, or repetition in the prompt itself
        spaced = max(map(len, unit)) > 1
        few = 3 if len(unit) >= 4 and spaced and length + 1 >= 0.9 * size else 4 if len(unit) > 1 or spaced else 8
        # The last connective is missing from "a towel, and a towel, and a towel".
        whole = (length + (len(unit) >= 4)) / len(unit) >= few and length >= 0.6 * size
        tail = at_end and times >= (4 if len(unit) >= 3 else 8) and length >= 16
        if whole or tail:
            return True
    return not labels and (_is_poor(tokens) or _repeats_sentences(text))


def _runs(tokens: list[str], longest: int) -> list[tuple[list[str], int, bool]]:
    """Finds, for every period, the longest stretch of tokens that repeats with it (almost) three times or more.

    Returns:
      for each stretch the repeated unit, the number of tokens, and whether the text ends with it.
    """
    numbers = {token: chr(number) for number, token in enumerate(dict.fromkeys(tokens))}
    line = "".join(map(numbers.__getitem__, tokens))
    runs = []
    for period in range(1, min(longest, len(line) // 2) + 1):
        same = bytes(map(eq, line, line[period:]))
        stretch = max(same.split(b"\0"), key=len)
        length = len(stretch) + period
        if length + 1 >= 3 * period:
            start = same.rindex(stretch)  # the last one of this length
            runs.append((tokens[start : start + period], length, start + length == len(line)))
        tail = len(same) - 1 - same.rfind(b"\0") + period
        if tail != length and tail >= 4 * period:
            runs.append((tokens[-period:], tail, True))
    return runs


def _counts(unit: list[str], times: float, labels: bool) -> bool:
    if not any(map(str.isalpha, unit)):
        return False  # rows of numbers
    if labels and len(unit) <= 6:
        return False
    return times >= 30 or not _SOUNDS.issuperset(unit)


def _is_stuck(tokens: list[str]) -> bool:
    """Tells whether most letters are in words that repeat a few letters: "abcabcabcabc"."""
    total = stuck = 0
    for token in tokens:
        total += len(token)
        if len(token) >= 12 and token.isalpha():
            period = (token[:400] * 2).find(token[:400], 1)
            # Rotation does not find the period of a word that ends within a unit; a shorter prefix shows it.
            for shorter in range(1, min(12, len(token) // 4) + 1):
                if token[shorter:400] == token[: min(len(token), 400) - shorter]:
                    period = shorter
                    break
            unit = token[:period]
            sounds = len(unit) <= 2 and set(unit) <= set("aehiojklmwxz")
            if 4 * period <= len(token) and not (sounds and len(token) < 60):
                stuck += len(token)
    return stuck >= 12 and stuck >= 0.7 * total


def _is_poor(tokens: list[str]) -> bool:
    """Tells whether a short text uses very few distinct words: "names are names and names are names"."""
    if len(tokens) > _FEW or not all(map(str.isalpha, tokens)) or _SOUNDS.issuperset(tokens):
        return False
    if tokens and max(map(len, tokens)) == 1:
        return False  # single letters, or characters of a script without spaces
    share = len(set(tokens)) / max(1, len(tokens))
    return any(len(tokens) >= least and share <= most for least, most in _DISTINCT)


def _repeats_sentences(text: str) -> bool:
    """Tells whether a text repeats one passage of sentences or lines, enumerated or not."""
    parts = [tokens for part in _SENTENCE.split(_ENUMERATOR.sub("", text)) if (tokens := words(part))][-_WINDOW:]
    keys = [" ".join(part) for part in parts]
    total = sum(map(len, parts))
    for unit, length, at_end in _runs(keys, _LONGEST_PASSAGE):
        size = sum(len(key.split()) for key in unit)
        if size < 4 * len(unit) or length < 3 * len(unit):
            continue
        covered = length / len(unit) * size
        if covered >= 0.8 * total or (at_end and length >= 4 * len(unit) and covered >= 30):
            return True
    return False


_MOST = 100_000  # characters: a repetitive text shows its repetition earlier


def repeated(text: str) -> float:
    """Returns the share of a text's runs of three words that occur earlier in it, 0 to 1."""
    tokens = re.findall(r"\w+", text[:_MOST].casefold())
    runs = list(zip(tokens, tokens[1:], tokens[2:], strict=False))
    return 1 - len({*runs}) / len(runs) if runs else 0.0
