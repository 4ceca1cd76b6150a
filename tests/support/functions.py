"""Functions that stand in for a judge, by name: `--judge functions:shorter`."""

import time
from collections.abc import Sequence

Pairs = list[tuple[str, str]]

constant = 1.0  # not a function


def shorter(prompt: str, pairs: Pairs) -> list[float]:
    """Prefers the shorter text."""
    return [float(len(b) - len(a)) for a, b in pairs]


def tied(prompt: str, pairs: Pairs) -> list[float]:
    return [0.0] * len(pairs)


def first_place(prompt: str, pairs: Pairs) -> list[float]:
    return [1.0] * len(pairs)


def not_a_number(prompt: str, pairs: Pairs) -> list[float]:
    """Does not know of any text with a "?"."""
    return [
        float("nan") if "?" in a + b else answer for (a, b), answer in zip(pairs, shorter(prompt, pairs), strict=True)
    ]


def raises(prompt: str, pairs: Pairs) -> list[float]:
    """Fails for any prompt with a "?"."""
    if "?" in prompt:
        raise RuntimeError("the judge is ill")
    return shorter(prompt, pairs)


def wrong_count(prompt: str, pairs: Pairs) -> list[float]:
    return [0.0]


def slow(prompt: str, pairs: Pairs) -> list[float]:
    """Takes a millisecond, and hangs at the prompt "slow"."""
    time.sleep(60 if prompt == "slow" else 0.001)
    return shorter(prompt, pairs)


def interrupts(prompt: str, pairs: Pairs) -> Sequence[float]:
    """What Ctrl-C does while a judge is at work, at the prompt "interrupt"."""
    if prompt == "interrupt":
        raise KeyboardInterrupt
    return shorter(prompt, pairs)
