"""Counts how often a judge contradicted itself in judgements that were asked anyway; no further ones are needed."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from strategies.base import FloatArray, IntArray

# From which shares on a ranking says little, here and in an audit.
FLIPS, CYCLES = 0.2, 0.1
_MOST = 500  # candidates among which triples are counted


@dataclass(frozen=True)
class Consistency:
    """The contradictions among the judgements.

    Attributes:
      pairs: the number of pairs with a valid judgement in both orders.
      flips: the number of these pairs in which the judge prefers the same position in both orders.
      triples: the number of triples of candidates in which the judge compared every two; 0 for more than 500
        candidates.
      cycles: the number of these triples in which it prefers A to B, B to C, and C to A.
    """

    pairs: int = 0
    flips: int = 0
    triples: int = 0
    cycles: int = 0

    def __add__(self, other: "Consistency") -> "Consistency":
        return Consistency(*map(sum, zip(self.counts, other.counts, strict=True)))

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Pairs, flips, triples and cycles."""
        return self.pairs, self.flips, self.triples, self.cycles

    @property
    def warnings(self) -> tuple[str, ...]:
        """Returns warnings about flips and cycles that exceed the thresholds."""
        texts = []
        if self.flips > FLIPS * self.pairs:
            texts.append(f"the judge prefers the same place in both orders of {self.flips} of {self.pairs} pairs")
        if self.cycles > CYCLES * self.triples:
            texts.append(f"the judge contradicts itself in {self.cycles} of {self.triples} triples of candidates")
        return tuple(texts)


def consistency(asked: Iterable[tuple[IntArray, FloatArray]]) -> Consistency:
    """Counts the contradictions in rounds of comparisons [M, 2] with their log-odds [M], NaN = invalid."""
    rounds = [*asked]
    if not rounds:
        return Consistency()
    pairs, log_odds = (np.concatenate([part[k] for part in rounds]) for k in (0, 1))
    return consistencies(pairs, log_odds[None])[0]


def consistencies(pairs: IntArray, log_odds: FloatArray) -> list[Consistency]:
    """Counts the contradictions in the same comparisons [M, 2] of B problems with their log-odds [B, M], NaN =
    invalid."""
    failed = np.isnan(log_odds)
    if failed.any():
        return [_counted(pairs[~out], own[~out][None])[0] for own, out in zip(log_odds, failed, strict=True)]
    return _counted(pairs, log_odds)


def _counted(pairs: IntArray, log_odds: FloatArray) -> list[Consistency]:
    """As `consistencies`, if all judgements are valid."""
    if not len(pairs):
        return [Consistency()] * len(log_odds)
    names, places = np.unique(pairs, return_inverse=True)
    places, count = places.reshape(-1, 2), len(names)
    codes, index = np.unique(places @ [count, 1], return_index=True)  # a pair that is asked again counts once
    forward = log_odds[:, index]
    first, second = places[index].T
    back = np.minimum(np.searchsorted(codes, second * count + first), len(codes) - 1)
    both = (codes[back] == second * count + first) & (first < second)
    pair_count = int(both.sum())
    flips = (forward[:, both] * forward[:, back[both]] > 0).sum(axis=1).tolist()
    if count > _MOST:
        return [Consistency(pair_count, own) for own in flips]
    lead = np.zeros((len(log_odds), count, count))
    lead[:, first, second] = forward
    beats = (lead - lead.transpose(0, 2, 1) > 0).astype(np.float64)
    cycles, triples = (np.rint(_traces(m)).astype(int).tolist() for m in (beats, beats + beats.transpose(0, 2, 1)))
    each = zip(flips, triples, cycles, strict=True)
    return [Consistency(pair_count, own, of // 6, out_of // 3) for own, of, out_of in each]


def _traces(m: FloatArray) -> FloatArray:
    """Returns the traces [B] of the third powers of matrices [B, n, n]."""
    return np.asarray(np.einsum("bij,bji->b", m @ m, m), np.float64)
