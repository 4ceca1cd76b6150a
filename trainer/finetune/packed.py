"""Examples that are read as one row of a decoder: they do not see one another, and their common beginning, such as the
instructions of their task, is there once. Gradients are those of separate rows, for fewer tokens."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from trainer.finetune.tokenized_rows import Row

Ints = npt.NDArray[np.int32]


class Packed(NamedTuple):
    """A row of T tokens with E examples.

    Attributes:
      examples: the E examples.
      tokens: [T], the common beginning, and what follows it in each example.
      owner: [T] the number of the example of each token, counted from 1; 0 = the common beginning.
      place: [T] the number of each token in its example.
      lengths: [E] the position after each example's input.
    """

    examples: Sequence[Row]
    tokens: Ints
    owner: Ints
    place: Ints
    lengths: Ints


def rows_of(examples: Sequence[Row], share: int, *, joined: bool) -> list[Packed]:
    """Makes rows of `share` examples each; arguments as in `pack`."""
    return [pack(examples[k : k + share], joined=joined) for k in range(0, len(examples), share)]


def pack(examples: Sequence[Row], *, joined: bool) -> Packed:
    """Makes a row of examples.

    Args:
      joined: whether a row has the targets, too.
    """
    common = common_beginning(examples) if len(examples) > 1 else 0
    whole = [np.concatenate([row.source, row.target]) if joined else row.source for row in examples]
    begins = np.cumsum([common, *(len(ids) - common for ids in whole)])[:-1]
    owners = [np.full(len(ids) - common, k, np.int32) for k, ids in enumerate(whole, 1)]
    places = [np.arange(common, len(ids), dtype=np.int32) for ids in whole]
    return Packed(
        examples=examples,
        tokens=np.concatenate([whole[0][:common], *(ids[common:] for ids in whole)]),
        owner=np.concatenate([np.zeros(common, np.int32), *owners]),
        place=np.concatenate([np.arange(common, dtype=np.int32), *places]),
        lengths=np.array([begin + len(row.source) - common for begin, row in zip(begins, examples, strict=True)]),
    )


def common_beginning(examples: Sequence[Row]) -> int:
    """Returns how many tokens all examples begin with. The last token of an input is not among them, since the target
    is read from it; nor is, in the separate form, what follows instructions and prompt."""
    most = min(min(len(row.source) - 1, row.pieces.prompt if row.pieces else len(row.source)) for row in examples)
    ids = np.stack([row.source[:most] for row in examples])
    differs = (ids != ids[0]).any(0)
    return int(differs.argmax()) if differs.any() else most
