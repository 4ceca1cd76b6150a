"""Examples as the arrays of a training step, padded to few shapes, since each shape is compiled for itself."""

from collections.abc import Sequence
from itertools import count
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trainer.finetune.step import Batch

Ids: TypeAlias = tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]  # of an input and of its target


def padded_length(tokens: int) -> int:
    """Rounds the length of a row up to one of few lengths, in tokens: each of them takes long to compile."""
    step = 32 if tokens <= 128 else 64 if tokens <= 512 else 128 if tokens <= 1024 else 256
    return -(-tokens // step) * step


def padded_width(examples: Sequence[Ids], *, joined: bool) -> int:
    """Returns the padded length of the longest of these examples, in tokens; arguments as in `collate`."""
    return padded_length(max(len(source) + (len(target) if joined else 0) for source, target in examples))


def collate(examples: Sequence[Ids], parts: int, *, joined: bool) -> Batch:
    """Makes a batch of `parts` microbatches of examples: arrays with the axes [parts, rows, ...], on the host.

    Args:
      examples: ids of inputs and of targets.
      parts: a divisor of the number of examples.
      joined: whether input and target are read in one row, as a decoder does; T5's encoder reads the input only.
    """
    B = len(examples)
    longest = max(len(target) for _, target in examples)
    R = next(R for R in (4**k for k in count(2)) if longest <= R)  # few programs; an unused position costs little
    tokens, targets = np.zeros((B, padded_width(examples, joined=joined)), np.int32), np.zeros((B, R), np.int32)
    for k, (source, target) in enumerate(examples):
        tokens[k, : len(source)] = source
        targets[k, : len(target)] = target
        if joined:
            tokens[k, len(source) : len(source) + len(target)] = target
    lengths, counts = (np.array([len(example[side]) for example in examples], np.int32) for side in (0, 1))
    fields: tuple[Any, ...] = (tokens, lengths, targets, counts, np.arange(B, dtype=np.int32))
    return Batch(*(x.reshape(parts, B // parts, *x.shape[1:]) for x in fields))
