"""Truncates long texts: they keep their beginning and their end."""

from collections.abc import Callable, Sequence
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


def truncated_lengths(prompt: IntArray, a: IntArray, b: IntArray, room: int) -> tuple[IntArray, IntArray, IntArray]:
    """Computes how many tokens prompts and responses, each [M], keep in comparisons that are truncated to `room`
    tokens. What each keeps depends on these three texts only, not on other candidates."""
    share = room // SHARE
    prompt = np.minimum(prompt, room - np.minimum(a, share) - np.minimum(b, share))
    left = room - prompt
    a = np.minimum(a, np.maximum(left // 2, left - b))  # the shorter response is cut only if both have more than half
    return prompt, a, np.minimum(b, left - a)


def separate_lengths(prompt: IntArray, a: IntArray, b: IntArray, room: int) -> tuple[IntArray, IntArray, IntArray]:
    """Computes the same as `truncated_lengths` for the separate form, in which the prompt has at most `room` tokens
    with each response. What a response keeps does not depend on the other one, and is at least its share, however long
    the prompt is."""
    prompt = np.minimum(prompt, room - room // SHARE)
    return prompt, np.minimum(a, room - prompt), np.minimum(b, room - prompt)


def truncate_pair(
    prompt: Ids, a: Ids, b: Ids, room: int, kept: Callable[..., tuple[IntArray, ...]] = truncated_lengths
) -> tuple[Ids, Ids, Ids]:
    """Truncates prompt and responses to the lengths that `truncated_lengths` or `separate_lengths` gives."""
    of_prompt, of_a, of_b = map(int, kept(*map(np.array, map(len, (prompt, a, b))), room))
    return middle_cut(prompt, of_prompt), middle_cut(a, of_a), middle_cut(b, of_b)


def common_length(lengths: Sequence[int], room: int) -> int:
    """Returns the length to which texts are cut so that together they fit into `room`."""
    left = room
    for k, length in enumerate(sorted(lengths)):
        share = left // (len(lengths) - k)
        if length > share:
            return share
        left -= length
    return max(lengths, default=0)
