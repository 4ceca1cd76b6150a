"""Chooses, as answers arrive, the pairs that say most about which candidate is the best; may stop when that is
clear."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from strategies.base import FEW, FloatArray, IntArray, Options, Schedule, every_comparison, every_pair, ordered
from strategies.observations import observe
from strategies.posterior import Posterior, posterior, shrunk_standing, standing

SPENDS = 4  # comparisons per candidate without a budget or a confidence: close to all pairs (docs/strategies.md)
LEADERS = 64  # candidates whose pairs are weighed; the others have little chance, and there may be thousands
AGREE = 2  # consecutive rounds that have to be sure before the schedule stops
WIDE = 8  # least comparisons per round; a quarter of the candidates if that is more
AGAIN = 4.0  # the other order of a pair tells this many times less, because most errors are made again


@dataclass(frozen=True, kw_only=True)
class Active(Options):
    """Asks the comparisons that a posterior over the qualities finds most informative; see strategies/posterior.py.

    If every comparison may be asked, all are asked in one round. Otherwise the first round is a ring, in which every
    candidate is first once and second once. Each later comparison is the one that most reduces the variances of the
    differences between candidates, weighted by their probabilities of being the best. The reduction does not depend on
    the answer, so a whole round can be chosen before any answer arrives.

    Attributes:
      order: with "both", either order of a pair may be asked, and the bias for a position is fitted, because asking
        every pair twice would leave each candidate half as many opponents. With "random" and "fixed", a pair is asked
        once; with "fixed", the lower index is always first.
      confidence: stop if the leader is the best with this probability (with `top`: if the first K are the best K) in
        AGREE consecutive rounds, after SPENDS comparisons per candidate or more. With fewer comparisons the
        estimate of the judge's noise is poor, and a strategy that checks often would stop by chance. Without a budget,
        all comparisons may be asked.
    """

    name: ClassVar[str] = "active"
    confidence: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.confidence is not None and not 0 < self.confidence < 1:
            raise ValueError(f"confidence is {self.confidence!r}; it must be between 0 and 1")

    def comparisons(self, n: int) -> tuple[int, int]:
        """Returns the fewest and the most comparisons for n candidates."""
        everything = self._everything(n)
        usual = everything if self.confidence else SPENDS * n
        most = min(self.budget or usual, everything)
        return (min(SPENDS * n, most) if self.confidence else most), most

    def only_round(self, n: int) -> IntArray | None:
        """Returns all comparisons if they are few enough to be asked at once, without a random choice."""
        every = self.comparisons(n)[1] == self._everything(n) and not self.confidence
        return every_comparison(n, self.order) if self.order != "random" and every and 1 < n <= FEW else None

    def schedule(self, n: int, rng: np.random.Generator) -> Schedule:
        """Asks a ring, then rounds of WIDE comparisons or more; rng draws the ring and the first order of each pair."""
        self.check_size(n)
        least, most = self.comparisons(n)
        if most == self._everything(n) and not self.confidence:
            everything = ordered(every_pair(n), self.order, rng)
            heard = (yield everything) if most else np.empty(0)  # few candidates: all comparisons are asked
            return standing(everything, heard, n, self.top)
        if self.order == "random":
            # draws for all pairs although few are asked, so that a seed asks the same as in earlier versions
            for i in range(n):
                rng.integers(2, size=i)
        asked, heard = np.empty((0, 2), np.int64), np.empty(0)
        observed = observe(asked, heard, n)
        known = posterior(observed)
        sure = 0  # consecutive rounds
        while len(asked) < most and sure < AGREE:
            if len(asked):
                pairs = self._pick(known, asked, min(most - len(asked), max(WIDE, n // 4)), rng)
            else:
                ring = rng.permutation(n)
                pairs = np.stack([ring, np.roll(ring, -1)], axis=1)[: 1 if n == 2 else most]
                pairs = ordered(pairs, "fixed", rng) if self.order == "fixed" else pairs
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
        """Computes the weight of each candidate [n]: its probability of being the best; with `top`, how uncertain it is
        whether it is among the best."""
        if self.top == 1 or self.top >= len(known.mean):
            return known.p_best()
        falling = np.sort(known.mean)[::-1]
        edge = (falling[self.top - 1] + falling[self.top]) / 2
        inside = ndtr((known.mean - edge) / np.sqrt(known.variance))
        return np.asarray(np.maximum(inside * (1 - inside), 1e-12))

    def _pick(self, known: Posterior, asked: IntArray, wide: int, rng: np.random.Generator) -> IntArray:
        """Picks up to `wide` comparisons, at least one, that are not among the asked [M, 2]."""
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
        if picked:
            return np.array(picked, np.int64)
        left = self._next(done, len(stakes), wide)
        return ordered(left, "random", rng) if self.order == "random" else left

    def _free(self, lead: IntArray, done: IntArray, n: int) -> npt.NDArray[np.bool_]:
        """Returns which comparisons of the leaders [L] may still be asked, [L, L]; those in `done` [M, 2] may not."""
        free = lead[:, None] < lead if self.order == "fixed" else ~np.eye(len(lead), dtype=bool)
        place = np.full(n, -1)
        place[lead] = np.arange(len(lead))
        first, second = place[done].T
        both = (first >= 0) & (second >= 0)
        free[first[both], second[both]] = False
        return free

    def _next(self, done: IntArray, n: int, wide: int) -> IntArray:
        """Returns the first comparisons by position that are not in `done` [M, 2]: [wide, 2], or fewer."""
        cells = min(n * n, 2 * (len(done) + wide + n))  # of [n, n]: half of them may be below the diagonal
        first, second = np.divmod(np.arange(cells), n)
        free = first != second if self.order == "both" else first < second
        cell = done @ np.array([n, 1])
        free[cell[cell < cells]] = False
        return np.stack(np.divmod(np.flatnonzero(free)[:wide], n), axis=1)
