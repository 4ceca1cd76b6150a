"""Makes replies worse, each in one way that occurs in models' replies."""

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


def corrupt(text: str, other: str, rng: random.Random, *, refused: bool) -> list[str]:
    """Makes worse replies from a reply, one by each kind of corruption; a corruption that changes nothing is left out.

    Args:
      text: a reply.
      other: a reply to another prompt.
      refused: also make a refusal, which is worse because the prompt asks for nothing harmful.
    """
    made = [corruption(text, other, rng).strip() for corruption in _CORRUPTIONS]
    made += [rng.choice(_REFUSALS)] if refused else []
    return [reply for reply in dict.fromkeys(made) if reply and reply != text.strip()]


def _elsewhere(text: str, other: str, rng: random.Random) -> str:
    """Replaces the reply by one to another prompt."""
    return other


def _drift(text: str, other: str, rng: random.Random) -> str:
    """Replaces the end of the reply by the end of one to another prompt."""
    own, foreign = _sentences(text), _sentences(other)
    return "".join(own[: (len(own) + 1) // 2] + foreign[len(foreign) // 2 :])


def _loop(text: str, other: str, rng: random.Random) -> str:
    """Repeats one or two sentences."""
    own = _sentences(text)
    end = rng.randint(1, len(own))
    again = own[max(0, end - rng.randint(1, 2)) : end] * rng.randint(1, 3)
    return "".join(own[:end] + again + own[end:][: rng.randint(0, len(own))])


def _break_off(text: str, other: str, rng: random.Random) -> str:
    """Breaks off in the middle."""
    words = text.split(" ")
    return " ".join(words[: max(1, int(len(words) * rng.uniform(0.2, 0.7)))])


def _disorder(text: str, other: str, rng: random.Random) -> str:
    """Puts the sentences into a random order."""
    own = _sentences(text)
    rng.shuffle(own)
    return "".join(own)


def _jumble(text: str, other: str, rng: random.Random) -> str:
    """Exchanges some words with words near them, or leaves them out."""
    words = text.split(" ")
    for _ in range(max(1, len(words) // 12)):
        at = rng.randrange(len(words))
        if rng.random() < 0.5 and len(words) > 3:
            del words[at]
        else:
            near = min(len(words) - 1, at + rng.randint(1, 3))
            words[at], words[near] = words[near], words[at]
    return " ".join(words)


_CORRUPTIONS: tuple[Callable[[str, str, random.Random], str], ...] = (
    *(_elsewhere, _drift, _loop, _break_off, _disorder, _jumble),
)


def _sentences(text: str) -> list[str]:
    """Splits a text into sentences and lines, each with the white space after it."""
    own: list[str] = _SENTENCE.findall(text) or [""]
    return [*own[:-1], own[-1].rstrip() + " "]
