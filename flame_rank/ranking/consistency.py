"""How often a judge contradicted itself in what it was asked anyway: no judgement is asked for this."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from strategies.base import FloatArray, IntArray

# From which shares on a ranking says little, here and in an audit.
FLIPS, CYCLES = 0.2, 0.1
_MOST = 500  # candidates among which triples are counted


@dataclass(frozen=True, kw_only=True)
class Consistency:
    """The contradictions in what was asked.

    Attributes:
      pairs: pairs with a valid judgement in both orders.
      flips: of these, pairs in which the judge prefers the same place in both orders.
      triples: triples of candidates of which the judge compared every two; 0 among more than 500 candidates.
      cycles: of these, triples in which it prefers A to B, B to C, and C to A.
    """

    pairs: int = 0
    flips: int = 0
    triples: int = 0
    cycles: int = 0

    def __add__(self, other: "Consistency") -> "Consistency":
        return Consistency(**{name: value + getattr(other, name) for name, value in vars(self).items()})

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know, in words: of flips and of cycles, if they are more than the thresholds."""
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
    pairs, log_odds = pairs[~np.isnan(log_odds)], log_odds[~np.isnan(log_odds)]
    names, places = np.unique(pairs, return_inverse=True)
    places, count = places.reshape(-1, 2), len(names)
    codes, index = np.unique(places @ [count, 1], return_index=True)  # a pair that is asked again counts once
    forward = log_odds[index]
    first, second = places[index].T
    back = np.minimum(np.searchsorted(codes, second * count + first), len(codes) - 1)
    both = (codes[back] == second * count + first) & (first < second)
    flips = int((forward[both] * forward[back[both]] > 0).sum())
    if count > _MOST:
        return Consistency(pairs=int(both.sum()), flips=flips)
    lead = np.zeros((count, count))
    np.add.at(lead, (first, second), forward)
    beats = (lead - lead.T > 0).astype(np.float64)
    known = beats + beats.T
    cycles, triples = (round(np.trace(m @ m @ m)) for m in (beats, known))
    return Consistency(pairs=int(both.sum()), flips=flips, triples=triples // 6, cycles=cycles // 3)
