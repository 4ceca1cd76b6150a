"""Examples as the arrays of a training step, padded to few shapes, since each shape is compiled for itself."""

from collections.abc import Sequence
from itertools import count
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
import numpy.typing as npt

from flame_rank.model.separate import Lengths
from trainer.finetune.step import Batch

Ints: TypeAlias = npt.NDArray[np.int32]
_WHOLE = Lengths(0, 0, 0, 0, 0)


class Row(NamedTuple):
    """An example as token ids.

    Attributes:
      source: of the input.
      target: of the target, its end included.
      label: its number among the task's labels; -1 without labels.
      pieces: of a comparison in the separate form.
    """

    source: Ints
    target: Ints
    label: int = -1
    pieces: Lengths | None = None


def padded_length(tokens: int) -> int:
    """Rounds the length of a row up to one of few lengths, in tokens: each of them takes long to compile."""
    step = 32 if tokens <= 128 else 64 if tokens <= 512 else 128 if tokens <= 1024 else 256
    return -(-tokens // step) * step


def padded_width(examples: Sequence[Row], *, joined: bool) -> int:
    """Returns the padded length of the longest of these examples, in tokens; arguments as in `collate`."""
    return padded_length(max(len(row.source) + (len(row.target) if joined else 0) for row in examples))


def collate(examples: Sequence[Row], parts: int, *, joined: bool) -> Batch:
    """Makes a batch of `parts` microbatches of examples: arrays with the axes [parts, rows, ...], on the host.

    Args:
      parts: a divisor of the number of examples.
      joined: whether input and target are read in one row, as a decoder does; T5's encoder reads the input only.
    """
    B = len(examples)
    longest = max(len(row.target) for row in examples)
    R = next(R for R in (4**k for k in count(2)) if longest <= R)  # few programs; an unused position costs little
    tokens, targets = np.zeros((B, padded_width(examples, joined=joined)), np.int32), np.zeros((B, R), np.int32)
    for k, (source, target, *_) in enumerate(examples):
        tokens[k, : len(source)] = source
        targets[k, : len(target)] = target
        if joined:
            tokens[k, len(source) : len(source) + len(target)] = target
    lengths = np.array([len(row.source) for row in examples], np.int32)
    counts = np.array([len(row.target) for row in examples], np.int32)
    pieces = None
    if any(row.pieces for row in examples):
        pieces = Lengths(*np.array([row.pieces or _WHOLE for row in examples], np.int32).T)
    fields: Any = tokens, lengths, targets, counts, np.arange(B, dtype=np.int32), pieces
    divided: Batch = jax.tree.map(lambda x: x.reshape(parts, B // parts, *x.shape[1:]), Batch(*fields))
    return divided
