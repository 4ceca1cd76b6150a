"""The places of the kernel's prefixes in its cache, and the pieces that are read after them (model/kernel.py)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Ids: TypeAlias = tuple[int, ...]
Path: TypeAlias = Sequence[Ids]
Int32Array: TypeAlias = npt.NDArray[np.int32]


@dataclass(kw_only=True)
class Usage:
    """Counts of what a kernel has computed so far.

    Attributes:
      tokens: the number of encoded tokens.
      padded: the same number, padding included.
      shapes: (level, prefix bucket, own bucket, rows) of the batches; a program is compiled for each.
    """

    tokens: int
    padded: int
    shapes: set[tuple[str, int, int, int]]


@dataclass(frozen=True, kw_only=True)
class Node:
    """The place of a prefix's keys and values: `length` tokens of the cache from `start` on."""

    start: int
    length: int


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """The last piece of a path, and the tokens after it whose log-probabilities are wanted.

    Attributes:
      targets: C ids, each a candidate for the token after the last of `ids`; or, with `label`, one after each of
        `ids`.
    """

    before: tuple[Ids, ...]
    ids: Ids
    targets: Ids
    label: bool = False


def in_one_piece(leaf: Leaf) -> Leaf:
    """Returns a leaf whose prefix is one piece, which takes less of the cache and is shared with fewer others."""
    return replace(leaf, before=(tuple(token for piece in leaf.before for token in piece),))


def behind_its_last(path: Path) -> Leaf:
    """Returns a path whose last token is a separate piece, so that it is read again."""
    before = (*path[:-1], path[-1][:-1]) if len(path[-1]) > 1 else tuple(path[:-1])
    return Leaf(before=before, ids=path[-1][-1:], targets=())


def places_of(nodes: Sequence[Node], rows: int) -> tuple[Int32Array, Int32Array]:
    """Returns the start and the length of each row's prefix, [rows] int32 each."""
    start, length = np.zeros(rows, np.int32), np.zeros(rows, np.int32)
    start[: len(nodes)] = [node.start for node in nodes]
    length[: len(nodes)] = [node.length for node in nodes]
    return start, length
