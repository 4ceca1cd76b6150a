"""Keeps the comparisons of a schedule and their answers, and applies the order policy and the budget."""

import math
from collections.abc import Generator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from strategies.base import FloatArray, IntArray, Options, Standing, ordered
from strategies.observations import clipped, observe
from strategies.posterior import posterior, shrunk_standing


class Evidence:
    """The judgements of one problem, by pair.

    Attributes:
      total: [n] float64, nats, the sum of each candidate's log-odds in its matches.

    Raises:
      TooMany: the strategy of these options may ask more of n candidates than memory holds.
    """

    def __init__(self, n: int, options: Options, rng: np.random.Generator):
        options.check_size(n)
        self._n, self._options, self._rng = n, options, rng
        self._asked: list[IntArray] = [np.empty((0, 2), np.int64)]
        self._heard: list[FloatArray] = [np.empty(0)]
        self._leads: dict[tuple[int, int], float] = {}  # (lower, higher) -> nats that the lower is the better one
        self._left = options.budget
        self._each = 2 if options.order == "both" else 1
        self.total = np.zeros(n)

    def knows(self, i: int, j: int) -> bool:
        """Tells whether this pair was asked."""
        return (min(i, j), max(i, j)) in self._leads

    @property
    def room(self) -> float:
        """The number of pairs that the budget still allows."""
        return math.inf if self._left is None else self._left // self._each

    def ask(self, pairs: IntArray, repeats: int = 1) -> Generator[IntArray, FloatArray, FloatArray]:
        """Yields the comparisons of those pairs that were not asked before, as far as the budget allows.

        Args:
          pairs: [P, 2] int64, no pair twice.
          repeats: how often each pair is asked, for judges whose answers vary.

        Returns:
          [P] float64, the log-odds that a pair's first candidate is better, averaged over its valid judgements; 0 if it
          has none.
        """
        new = np.array([not self.knows(i, j) for i, j in pairs.tolist()], bool)
        fresh = pairs[new]
        if self._left is not None:
            fresh = fresh[: self._left // (self._each * repeats)]
        if len(fresh):
            asked = np.concatenate([ordered(fresh, self._options.order, self._rng) for _ in range(repeats)])
            if self._left is not None:
                self._left -= len(asked)
            heard = yield asked
            self._asked.append(asked)
            self._heard.append(heard)
            per_pair = np.repeat(fresh, self._each, axis=0)[None].repeat(repeats, axis=0).reshape(-1, 2)
            towards = clipped(np.where(asked[:, 0] == per_pair[:, 0], heard, -heard))
            towards = towards.reshape(repeats, len(fresh), self._each).transpose(1, 0, 2).reshape(len(fresh), -1)
            known = ~np.isnan(towards)
            leads = np.where(known, towards, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
            np.add.at(self.total, fresh[:, 0], leads)
            np.add.at(self.total, fresh[:, 1], -leads)
            for (i, j), lead in zip(fresh.tolist(), leads.tolist(), strict=True):
                self._leads[min(i, j), max(i, j)] = lead if i < j else -lead
        return np.array([self._lead(i, j) for i, j in pairs.tolist()])

    def first_wins(self, pairs: IntArray, leads: FloatArray) -> npt.NDArray[np.bool_]:
        """Tells whether the first of each pair [P, 2] wins: by its lead, then by evidence, then by position."""
        first, second = pairs.T
        evidence = self.total[first] - self.total[second]
        level = np.where(np.abs(evidence) > 1e-12, evidence > 0, first < second)
        return np.where(leads == 0, level, leads > 0)

    def standing(self) -> Standing:
        """Computes the standing from all judgements."""
        observed = observe(np.concatenate(self._asked), np.concatenate(self._heard), self._n)
        return shrunk_standing(observed, posterior(observed), self._options.top)

    def _lead(self, i: int, j: int) -> float:
        lead = self._leads.get((min(i, j), max(i, j)), 0.0)
        return lead if i < j else -lead


def led_by(champion: IntArray, result: Standing) -> Standing:
    """Moves the champion [1] of an elimination to the head of a standing."""
    others = result.order[result.order != champion[0]]
    return replace(result, order=np.concatenate([champion, others]))
