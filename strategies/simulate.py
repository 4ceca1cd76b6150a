"""Simulates judges of known skill and faults, to measure which candidate a strategy picks and at what cost."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from strategies.base import FloatArray, IntArray, Standing, Strategy

BETWEEN = 0.35  # standard deviation of quality among right candidates, and among wrong ones, whose mean is 1 lower


@dataclass(frozen=True, kw_only=True)
class SimulatedJudge:
    """Answers with skill * (difference of two qualities) + noise. It is deterministic: it repeats its answers.

    Attributes:
      skill: nats per unit of quality; right candidates are 1 unit above wrong ones.
      pair_noise: nats, standard deviation of the error about a pair that both orders share.
      order_noise: nats, standard deviation of the error of one order alone.
      bias: nats that are added for the first position.
      tails: "normal" or "heavy" (Student with 3 degrees of freedom, scaled to the same standard deviation) pair noise.
    """

    skill: float
    pair_noise: float
    order_noise: float
    bias: float = 0.0
    tails: Literal["normal", "heavy"] = "normal"

    def table(self, quality: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Returns all answers about candidates of these qualities [n]: [n, n] nats, the diagonal 0."""
        n = len(quality)
        draws = rng.standard_t(3, (n, n)) / np.sqrt(3) if self.tails == "heavy" else rng.standard_normal((n, n))
        pair = np.triu(draws, 1) * self.pair_noise
        order = rng.standard_normal((n, n)) * self.order_noise
        table = self.skill * (quality[:, None] - quality) + pair - pair.T + order + self.bias
        np.fill_diagonal(table, 0.0)
        return table


STRONG = SimulatedJudge(skill=3.0, pair_noise=1.5, order_noise=0.75)
WEAK = SimulatedJudge(skill=1.25, pair_noise=1.5, order_noise=1.0, bias=1.0)
JUDGES = {"strong": STRONG, "weak": WEAK, "heavy": replace(WEAK, tails="heavy")}


@dataclass(frozen=True, kw_only=True, eq=False)
class SimulatedProblem:
    """A problem of n candidates and a judge's answers.

    Attributes:
      quality: [n] float64.
      right: [n] bool; 1 to n / 2 - 1 of them are True, at random positions (1 if n < 4).
      table: [n, n] float64, the judge's log-odds.
    """

    quality: FloatArray
    right: np.ndarray
    table: FloatArray

    @classmethod
    def draw(cls, n: int, judge: SimulatedJudge, seed: int) -> "SimulatedProblem":
        """Draws the problem of a seed; every judge gets the same qualities."""
        rng = np.random.default_rng([n, seed])
        right = np.zeros(n, bool)
        right[rng.permutation(n)[: rng.integers(1, max(2, n // 2))]] = True
        quality = right + BETWEEN * rng.standard_normal(n)
        return cls(quality=quality, right=right, table=judge.table(quality, rng))


def play(strategy: Strategy, table: FloatArray, rng: np.random.Generator) -> tuple[Standing, IntArray]:
    """Runs a schedule on the answers in table [n, n]; returns its standing and all comparisons, [M, 2]."""
    schedule = strategy.schedule(len(table), rng)
    rounds = [np.empty((0, 2), np.int64)]
    try:
        asked = next(schedule)
        while True:
            rounds.append(asked)
            asked = schedule.send(table[asked[:, 0], asked[:, 1]])
    except StopIteration as end:
        return end.value, np.concatenate(rounds)
