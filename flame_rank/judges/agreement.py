"""How far a candidate agrees with the rest of its pool: the strongest free evidence there is on many samples of one
model. Right answers are alike, and every wrong one is wrong in its own way.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from flame_rank.judges.forms import Form, Tokens
from strategies.base import FloatArray

Counts = npt.NDArray[np.float32]


def overlap(forms: Sequence[Form]) -> FloatArray:
    """The mean share of tokens that a candidate has in common with the pool's candidates, itself included.

    Nine measures are averaged, none of them weighted: which one is best changes from sampler to sampler. Each is a
    Jaccard overlap, of the set of tokens, of the bag of tokens and of the bag of neighbouring tokens, in each of the
    three views of a form.

    Args:
      forms: [n] candidates of one problem.

    Returns:
      [n] float64 in [0, 1]; all equal for two candidates, which cannot outvote one another.
    """
    total = np.zeros(len(forms))
    for view in range(3):
        texts = [form.views[view] for form in forms]
        # Candidates that look the same count for as many as they are and are compared once.
        number: dict[Tokens, int] = {}
        member = np.array([number.setdefault(text, len(number)) for text in texts])
        votes = np.bincount(member).astype(np.float64)
        for pieces in (frozenset, tuple, pairwise):
            counts = _counts(list(number), pieces)
            total += (_jaccard(counts) @ votes / len(forms))[member]
    return total / 9


def _counts(texts: Sequence[Tokens], pieces: Callable[[Tokens], Iterable[object]]) -> Counts:
    """How often each text has each piece: [d, pieces]."""
    column: dict[object, int] = {}
    cells = [(row, column.setdefault(p, len(column))) for row, text in enumerate(texts) for p in pieces(text)]
    counts = np.zeros((len(texts), len(column)), np.float32)
    if cells:
        rows, columns = zip(*cells, strict=True)
        np.add.at(counts, (rows, columns), 1)
    return counts


def _jaccard(counts: Counts) -> FloatArray:
    """Common pieces over all pieces of each pair of rows: [d, d]; 1 for two empty rows."""
    size = counts.sum(1)  # [d]
    common = np.stack([np.minimum(row, counts).sum(1) for row in counts])  # [d, d]
    union = size[:, None] + size[None, :] - common
    return np.where(union > 0, common / np.maximum(union, 1), 1.0).astype(np.float64)
