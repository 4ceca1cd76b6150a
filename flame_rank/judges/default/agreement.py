"""Measures how far a candidate agrees with the rest of its pool. For many samples of one model this is the strongest
evidence that costs nothing: right answers are alike, while wrong ones differ."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import numpy as np
from scipy.sparse import csr_array

from flame_rank.candidates.code_views import CandidateViews, Tokens
from strategies.base import FloatArray

COMPARED = 1000  # candidates that each candidate is compared with; a larger pool is sampled


def overlap(pool: Sequence[CandidateViews]) -> FloatArray:
    """Computes the mean share of tokens that each candidate has in common with the pool's candidates, itself included.

    The unweighted mean of nine measures is used, because the best of them differs from sampler to sampler. Each is a
    Jaccard overlap: of the sets of tokens, of the bags of tokens or of the bags of neighbouring tokens, in one of the
    three views of a candidate. If more than COMPARED candidates look different, the mean is taken over a sample of
    them, the same for every candidate, so that time and memory are linear in the number of candidates.

    Args:
      pool: [n] candidates of one problem.

    Returns:
      [n] float64 in [0, 1]; if there are only two candidates, they have the same value, because neither can outvote the
      other.
    """
    total = np.zeros(len(pool))
    shares: list[FloatArray] = []
    before: list[Tokens] = []
    for view in range(3):
        texts = [candidate.views[view] for candidate in pool]
        if texts != before:  # the three views of prose are the same
            before = texts
            # Candidates that look the same are compared once and counted as many times as they occur.
            number: dict[Tokens, int] = {}
            member = np.array([number.setdefault(text, len(number)) for text in texts])
            votes = np.bincount(member).astype(np.float64)
            asked = _sample(list(number), votes) if len(number) > COMPARED else votes
            shares = [_share(_counted(number, pieces), votes, asked)[member] for pieces in (frozenset, tuple, pairwise)]
        for share in shares:
            total += share
    return total / 9


def _sample(texts: Sequence[Tokens], votes: FloatArray) -> FloatArray:
    """Spreads COMPARED sample places evenly over the sorted candidates; returns the number of places of each text
    [d]."""
    order = np.array(sorted(range(len(texts)), key=texts.__getitem__))
    places = (np.arange(COMPARED) + 0.5) * votes.sum() / COMPARED
    taken = order[np.searchsorted(np.cumsum(votes[order]), places, side="right")]
    return np.bincount(taken, minlength=len(texts)).astype(np.float64)


def _counted(texts: Iterable[Tokens], pieces: Callable[[Tokens], Iterable[object]]) -> csr_array:
    """Builds the incidence matrix of texts and pieces [d, pieces], ones and zeros; a repeated piece has a column for
    each repetition."""
    column: dict[tuple[object, int], int] = {}
    columns, ends = [], [0]
    for text in texts:
        seen = Counter[object]()
        for piece in pieces(text):
            columns.append(column.setdefault((piece, seen[piece]), len(column)))
            seen[piece] += 1
        ends.append(len(columns))
    return csr_array((np.ones(len(columns), np.float32), columns, ends), shape=(len(ends) - 1, max(len(column), 1)))


def _share(counted: csr_array, votes: FloatArray, asked: FloatArray) -> FloatArray:
    """Computes the mean over the pool of (common pieces / all pieces) for each text [d]; 1 for two texts without
    pieces.

    Args:
      counted: [d, pieces], as `_counted` returns it.
      votes: [d], the number of candidates that have each text.
      asked: [d], the number of these votes that are in the sample with which all candidates are compared.
    """
    size = counted.sum(axis=1)  # [d]
    some = np.flatnonzero(asked)
    total = np.empty(len(votes))
    for start in range(0, len(votes), COMPARED):
        rows = slice(start, start + COMPARED)
        common = (counted[rows] @ counted[some].T).toarray()  # [B, S]
        union = size[rows, None] + size[some] - common
        total[rows] = np.where(union > 0, common / np.maximum(union, 1), 1.0).astype(np.float64) @ asked[some]
    if asked is votes:
        total /= votes.sum()
        return total
    same: FloatArray = votes / votes.sum()  # candidates that look the same are counted exactly, not sampled
    same += (1 - same) * (total - asked) / np.maximum(asked.sum() - asked, 1)
    return same
