"""Asks the pairs that say most about who is the best, as the answers come in, and may stop when that is clear."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from strategies.base import FloatArray, IntArray, Options, Schedule, every_pair, ordered
from strategies.observations import observe
from strategies.posterior import Posterior, posterior, shrunk_standing, standing

SPENDS = 4  # comparisons a candidate, where neither budget nor confidence is given: close to all pairs (README)
LEADERS = 64  # candidates among whom pairs are weighed: the others have slim chances, and there may be thousands
AGREE = 2  # rounds in a row that have to be sure before it stops
WIDE = 8  # comparisons a round at least; a quarter of the candidates where that is more
AGAIN = 4.0  # the other order of a pair tells so many times less: most of what was misjudged is misjudged again


@dataclass(frozen=True, kw_only=True)
class Active(Options):
    """A posterior over the qualities says what each comparison would tell; see strategies/posterior.py.

    Where everything may be asked, it is, in one round. Otherwise first a ring, in which everyone is once first and once
    second. Then rounds are chosen one by one: the comparison that most lessens the variances of the differences between
    candidates, weighted by their probabilities of being the best. What an answer does to the variances does not depend
    on the answer, so a round can be chosen without one.

    Attributes:
      order: under "both" either order of a pair may be asked, and the bias for a place is fitted: to ask every pair
        twice would buy half as many opponents. Under "random" and "fixed" a pair is asked once; under "fixed" the
        lower index is always the first one.
      confidence: stop when the best is the best with this probability, or with `top` the first K are the best K, in
        AGREE rounds in a row and not before SPENDS comparisons a candidate: from fewer, the judge's noise is a guess,
        and who looks often finds the lucky moments. Without a budget, everything may be asked until then.
    """

    name: ClassVar[str] = "active"
    confidence: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.confidence is not None and not 0 < self.confidence < 1:
            raise ValueError(f"confidence is {self.confidence!r}; it is between 0 and 1")

    def comparisons(self, n: int) -> tuple[int, int]:
        """The fewest and the most comparisons for n candidates."""
        everything = self._everything(n)
        usual = everything if self.confidence else SPENDS * n
        most = min(self.budget or usual, everything)
        return (min(SPENDS * n, most) if self.confidence else most), most

    def schedule(self, n: int, rng: np.random.Generator) -> Schedule:
        """A ring, then rounds of WIDE comparisons or more; rng throws the ring and the first order of each pair."""
        self.check_size(n)
        least, most = self.comparisons(n)
        if most == self._everything(n) and not self.confidence:
            everything = ordered(every_pair(n), self.order, rng)
            heard = (yield everything) if most else np.empty(0)  # few candidates: nothing is left to choose
            return standing(everything, heard, n, self.top)
        if self.order == "random":
            for i in range(n):  # the coins of all pairs, thrown though few are asked: a seed asks what it always did
                rng.integers(2, size=i)
        asked, heard = np.empty((0, 2), np.int64), np.empty(0)
        observed = observe(asked, heard, n)
        known = posterior(observed)
        sure = 0  # rounds in a row
        while len(asked) < most and sure < AGREE:
            if len(asked):
                pairs = self._pick(known, asked, min(most - len(asked), max(WIDE, n // 4)), rng)
            else:
                ring = rng.permutation(n)
                pairs = np.stack([ring, np.roll(ring, -1)], axis=1)[: 1 if n == 2 else most]
                pairs = np.sort(pairs, axis=1) if self.order == "fixed" else pairs
            answers = yield pairs
            asked, heard = np.concatenate([asked, pairs]), np.concatenate([heard, answers])
            observed = observe(asked, heard, n)
            known = posterior(observed)
            sure = sure + 1 if self.confidence and len(asked) >= least and self._sure(known) else 0
        return shrunk_standing(observed, known, self.top)

    def _everything(self, n: int) -> int:
        return n * (n - 1) if self.order == "both" else n * (n - 1) // 2

    def _sure(self, known: Posterior) -> bool:
        first = np.argsort(-known.mean, kind="stable")
        return known.p_top(first, self.top) >= (self.confidence or 1.0)

    def _stakes(self, known: Posterior) -> FloatArray:
        """How much depends on each candidate [n]: the probability of being the best; with `top`, how open it is
        whether it is among the best."""
        if self.top == 1 or self.top >= len(known.mean):
            return known.p_best()
        falling = np.sort(known.mean)[::-1]
        edge = (falling[self.top - 1] + falling[self.top]) / 2
        inside = ndtr((known.mean - edge) / np.sqrt(known.variance))
        return np.asarray(np.maximum(inside * (1 - inside), 1e-12))

    def _pick(self, known: Posterior, asked: IntArray, wide: int, rng: np.random.Generator) -> IntArray:
        """Up to `wide` comparisons of those that are not among the asked [M, 2]; at least one."""
        stakes = self._stakes(known)
        lead = np.argsort(-stakes, kind="stable")[:LEADERS]
        weight = stakes[lead] / stakes[lead].sum()
        spread = np.diag(weight) - np.outer(weight, weight)  # x' spread x is the weighted variance of x
        covariance = np.diag(known.variance[lead]) if known.covariance is None else known.covariance[np.ix_(lead, lead)]
        done = asked if self.order == "both" else np.concatenate([asked, asked[:, ::-1]])
        free = self._free(lead, done, len(stakes))
        twice = free != free.T  # one order has been asked
        picked: list[tuple[int, int]] = []
        while len(picked) < wide and free.any():
            noise = np.where(twice, AGAIN, 1.0) * known.noise
            lessened = covariance @ spread @ covariance
            gain = np.diag(lessened)[:, None] + np.diag(lessened) - 2 * lessened
            own = np.diag(covariance)
            gain = np.where(free, gain / (own[:, None] + own - 2 * covariance + noise), -1.0)
            i, j = divmod(int(gain.argmax()), len(lead))
            if free[j, i] and self.order != "fixed" and rng.integers(2):
                i, j = j, i
            picked.append((lead[i], lead[j]))
            free[i, j] = False
            if self.order != "both":
                free[j, i] = False
            moved = covariance[:, i] - covariance[:, j]
            covariance = covariance - np.outer(moved, moved) / (moved[i] - moved[j] + noise[i, j])
            twice[i, j] = twice[j, i] = True
        return np.array(picked, np.int64) if picked else self._next(done, len(stakes), wide)

    def _free(self, lead: IntArray, done: IntArray, n: int) -> npt.NDArray[np.bool_]:
        """Which comparisons of the leaders [L] may be asked: [L, L], not those that are done [M, 2]."""
        free = lead[:, None] < lead if self.order == "fixed" else ~np.eye(len(lead), dtype=bool)
        place = np.full(n, -1)
        place[lead] = np.arange(len(lead))
        first, second = place[done].T
        both = (first >= 0) & (second >= 0)
        free[first[both], second[both]] = False
        return free

    def _next(self, done: IntArray, n: int, wide: int) -> IntArray:
        """The first comparisons that are not done [M, 2], by position: [wide, 2], or as many as there are."""
        cells = min(n * n, 2 * (len(done) + wide + n))  # of [n, n]: half of them may be below the diagonal
        first, second = np.divmod(np.arange(cells), n)
        free = first < second if self.order == "fixed" else first != second
        cell = done @ np.array([n, 1])
        free[cell[cell < cells]] = False
        return np.stack(np.divmod(np.flatnonzero(free)[:wide], n), axis=1)
