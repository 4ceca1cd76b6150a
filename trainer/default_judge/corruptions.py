"""Replies that are worse than what they were made of, each damaged in one way that shows in what models write."""

import random
import re
from collections.abc import Callable

_SENTENCE = re.compile(r".+?(?:(?<=[.!?])\s+|\n\s*|$)", re.DOTALL)  # with the white space behind it


_REFUSALS = (
    "I'm sorry, but I can't help with that.",
    "I cannot assist with this request.",
    "Sorry, I am not able to answer that.",
    "As an AI language model, I cannot provide that.",
)


def damages(text: str, other: str, rng: random.Random, *, refused: bool) -> list[str]:
    """Worse replies, each damaged in another way; those that come out the same are left out.

    Args:
      text: a reply.
      other: a reply to another prompt.
      refused: a refusal is one of them, since the prompt asks for nothing that is not to be given.
    """
    made = [damage(text, other, rng).strip() for damage in _DAMAGES]
    made += [rng.choice(_REFUSALS)] if refused else []
    return [one for one in dict.fromkeys(made) if one and one != text.strip()]


def _elsewhere(text: str, other: str, rng: random.Random) -> str:
    return other


def _drift(text: str, other: str, rng: random.Random) -> str:
    """It ends as a reply to something else."""
    own, foreign = _sentences(text), _sentences(other)
    return "".join(own[: (len(own) + 1) // 2] + foreign[len(foreign) // 2 :])


def _loop(text: str, other: str, rng: random.Random) -> str:
    """It says one sentence, or two, again and again."""
    own = _sentences(text)
    end = rng.randint(1, len(own))
    again = own[max(0, end - rng.randint(1, 2)) : end] * rng.randint(1, 3)
    return "".join(own[:end] + again + own[end:][: rng.randint(0, len(own))])


def _break_off(text: str, other: str, rng: random.Random) -> str:
    words = text.split(" ")
    return " ".join(words[: max(1, int(len(words) * rng.uniform(0.2, 0.7)))])


def _disorder(text: str, other: str, rng: random.Random) -> str:
    own = _sentences(text)
    rng.shuffle(own)
    return "".join(own)


def _jumble(text: str, other: str, rng: random.Random) -> str:
    """Some words change places, or are missing."""
    words = text.split(" ")
    for _ in range(max(1, len(words) // 12)):
        at = rng.randrange(len(words))
        if rng.random() < 0.5 and len(words) > 3:
            del words[at]
        else:
            near = min(len(words) - 1, at + rng.randint(1, 3))
            words[at], words[near] = words[near], words[at]
    return " ".join(words)


_DAMAGES: tuple[Callable[[str, str, random.Random], str], ...] = (
    *(_elsewhere, _drift, _loop, _break_off, _disorder, _jumble),
)


def _sentences(text: str) -> list[str]:
    """A text's sentences and lines, each with white space behind it."""
    own: list[str] = _SENTENCE.findall(text) or [""]
    return [*own[:-1], own[-1].rstrip() + " "]
