"""What is left of texts that are too long: their head and their tail."""

from typing import TypeVar

import numpy as np

from flame_rank.prompts.format import Ids
from strategies.base import IntArray

SHARE = 8  # however long the prompt is, each response may keep this part of the room
T = TypeVar("T", str, Ids)


def middle_cut(sequence: T, length: int) -> T:
    """A text or its ids without the middle, `length` long, or as it is if it fits."""
    if len(sequence) <= length:
        return sequence
    tail = length // 2
    return sequence[: length - tail] + sequence[len(sequence) - tail :]


def truncate_pair(prompt: Ids, a: Ids, b: Ids, room: int) -> tuple[Ids, Ids, Ids]:
    """The three cut to `room` tokens. What each keeps depends on these three texts alone, not on other candidates."""
    of_prompt, of_a, of_b = truncated_lengths(np.array(len(prompt)), np.array(len(a)), np.array(len(b)), room)
    return middle_cut(prompt, int(of_prompt)), middle_cut(a, int(of_a)), middle_cut(b, int(of_b))


def truncated_lengths(prompt: IntArray, a: IntArray, b: IntArray, room: int) -> tuple[IntArray, IntArray, IntArray]:
    """How many tokens prompt and responses, each [M], keep in comparisons that are cut to `room` tokens."""
    share = room // SHARE
    prompt = np.minimum(prompt, room - np.minimum(a, share) - np.minimum(b, share))
    left = room - prompt
    a = np.minimum(a, np.maximum(left // 2, left - b))  # the shorter one is cut only where both have more than half
    return prompt, a, np.minimum(b, left - a)
