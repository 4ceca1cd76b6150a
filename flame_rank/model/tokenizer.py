"""Text to token ids for the encoder, in one place for training and judging. Word pieces drop white space, so a line
break with its indentation becomes a token of its own: without it Python loses its blocks.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from flame_rank.model.encoder import PADDING
from flame_rank.prompts import INSTRUCTIONS

_DEEPEST = 12  # steps of two columns; deeper lines share the last token
_BREAKS = [f"[unused{i}]" for i in range(_DEEPEST + 1)]  # BERT's vocabulary has these to give away
T = TypeVar("T", str, list[int], tuple[int, ...])

_LINE = re.compile(r"\s*\n([ \t]*)")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One (prompt, candidate) as the encoder reads it.

    Attributes:
      tokens: [T] token ids: [CLS] instructions prompt [SEP] candidate [SEP].
      first: how many of them belong to the first text, its [SEP] included.
      cut: the prompt or the candidate did not fit and lost its middle.
    """

    tokens: list[int]
    first: int
    cut: bool


class RowTokenizer:
    """Reads (prompt, candidate) pairs with a BERT `tokenizer.json`."""

    def __init__(self, path: Path, *, max_prompt: int, max_length: int):
        """Args:
        max_prompt: tokens of the prompt that are kept, half from its head and half from its tail.
        max_length: tokens of a whole row.

        Raises:
          ValueError: the file is no BERT tokenizer with line breaks to give away, or a row has no room for a candidate.
        """
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing more special
            raise ValueError(f"{path}: not a tokenizer ({error})") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        # What looks like a special token in a text is text: a candidate must not end itself and go on as another.
        self._tokenizer.encode_special_tokens = True
        self._breaks = [self._id(token) for token in _BREAKS]
        self._start, self._separator = self._id("[CLS]"), self._id("[SEP]")
        self._instructions = self._ids([INSTRUCTIONS])[0]
        self._max_prompt, self._max_length = max_prompt, max_length
        if len(self._instructions) + max_prompt + 3 >= max_length:  # with [CLS] and twice [SEP]
            raise ValueError(f"max_prompt {max_prompt} leaves no room for a candidate in max_length {max_length}")

    def _id(self, token: str) -> int:
        found = self._tokenizer.token_to_id(token)
        if found is None:
            raise ValueError(f"the tokenizer has no {token}: it is no BERT tokenizer")
        return int(found)

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        # Of each text its lines, each behind its indentation: "", indentation, line, indentation, line ...
        split = [_LINE.split("\n" + text)[1:] for text in texts]
        lines = [line for parts in split for line in parts[1::2]]
        read = iter(self._tokenizer.encode_batch_fast(lines, add_special_tokens=False))
        return [[i for depth in parts[::2] for i in (self._breaks[_depth(depth)], *next(read).ids)] for parts in split]

    def rows(self, prompt: str, candidates: Sequence[str]) -> list[Row]:
        """Tokenises one prompt with each of its candidates."""
        # A word piece is at least one character: what lies far beyond the limit need not be tokenised.
        most = 16 * self._max_length
        asked, *answers = self._ids([middle_cut(text, most) for text in (prompt, *candidates)])
        long = len(asked) > self._max_prompt or len(prompt) > most
        asked = middle_cut(asked, self._max_prompt)
        head = [self._start, *self._instructions, *asked, self._separator]
        room = self._max_length - len(head) - 1
        return [
            Row(
                tokens=[*head, *middle_cut(answer, room), self._separator],
                first=len(head),
                cut=long or len(answer) > room or len(candidate) > most,
            )
            for answer, candidate in zip(answers, candidates, strict=True)
        ]


def _depth(indentation: str) -> int:
    return min(len(indentation.expandtabs(4)) // 2, _DEEPEST)


def middle_cut(sequence: T, length: int) -> T:
    """The sequence without its middle, `length` items long, or as it is where it fits."""
    if len(sequence) <= length:
        return sequence
    tail = length // 2
    return sequence[: length - tail] + sequence[len(sequence) - tail :]


def pad(rows: Sequence[Row], size: int, length: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Pads rows to one shape: (tokens, types), each [size, length] int32; rows missing up to `size` are padding."""
    tokens = np.full((size, length), PADDING, np.int32)
    types = np.zeros((size, length), np.int32)
    for i, row in enumerate(rows):
        tokens[i, : len(row.tokens)] = row.tokens
        types[i, row.first : len(row.tokens)] = 1
    return tokens, types
