"""Truncation of texts that are too long: they keep their head and their tail."""

from typing import TypeVar

import numpy as np

from flame_rank.prompts.format import Ids
from strategies.base import IntArray

SHARE = 8  # each response may keep this part of the room, however long the prompt is: an eighth
T = TypeVar("T", str, Ids)


def middle_cut(sequence: T, length: int) -> T:
    """Cuts the middle out of a text or its ids, so that `length` characters or ids are left."""
    if len(sequence) <= length:
        return sequence
    tail = length // 2
    return sequence[: length - tail] + sequence[len(sequence) - tail :]


def truncate_pair(prompt: Ids, a: Ids, b: Ids, room: int) -> tuple[Ids, Ids, Ids]:
    """Truncates prompt and responses to `room` tokens in all. What each keeps depends on these three texts only, not
    on other candidates."""
    of_prompt, of_a, of_b = truncated_lengths(np.array(len(prompt)), np.array(len(a)), np.array(len(b)), room)
    return middle_cut(prompt, int(of_prompt)), middle_cut(a, int(of_a)), middle_cut(b, int(of_b))


def truncate_separate(prompt: Ids, a: Ids, b: Ids, room: int) -> tuple[Ids, Ids, Ids]:
    """Truncates prompt and responses so that the prompt has at most `room` tokens with each response. What a
    response keeps does not depend on the other one: at least its share, however long the prompt is."""
    prompt = middle_cut(prompt, room - room // SHARE)
    left = room - len(prompt)
    return prompt, middle_cut(a, left), middle_cut(b, left)


def truncated_lengths(prompt: IntArray, a: IntArray, b: IntArray, room: int) -> tuple[IntArray, IntArray, IntArray]:
    """How many tokens prompts and responses, each [M], keep in comparisons that are truncated to `room` tokens."""
    share = room // SHARE
    prompt = np.minimum(prompt, room - np.minimum(a, share) - np.minimum(b, share))
    left = room - prompt
    a = np.minimum(a, np.maximum(left // 2, left - b))  # the shorter response is cut only if both have more than half
    return prompt, a, np.minimum(b, left - a)
