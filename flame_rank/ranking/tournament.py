"""A problem at work: its distinct texts, the strategy's schedule over them, and what came of it."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Self, TypeAlias, cast

import numpy as np

from flame_rank.candidates.answers import Extract
from flame_rank.ranking.dedupe import How, distinct, representatives
from flame_rank.records import Problem
from strategies.base import FloatArray, IntArray, Schedule, Standing

ScheduleFunction: TypeAlias = Callable[[int, np.random.Generator], Schedule]


@dataclass(eq=False)
class Tournament:
    """A schedule over the distinct texts of a problem.

    Attributes:
      given: the problem as its maker gave it.
      problem: as it is judged: with the answers that were taken out of its candidates.
      representative: [d] the first candidate of each distinct text; the schedule knows these d only.
      cluster: [n] which of the distinct texts each candidate has.
      round: [M, 2] what the schedule wants to know now, in candidate indices; None once it has ended.
      standing: of the distinct texts, once it has ended.
      comparisons: how many the schedule has asked for.
      invalid: how many of them could not be had.
      reasons: why they could not, each reason once.
      mass: P(A) + P(B) of a language model, summed over the judgements of which it is known.
      weighed: how many these are.
    """

    given: Problem
    problem: Problem
    representative: IntArray
    cluster: IntArray
    schedule: Schedule
    round: IntArray | None = None
    standing: Standing | None = None
    comparisons: int = 0
    invalid: int = 0
    reasons: dict[str, None] = field(default_factory=dict)
    mass: float = 0.0
    weighed: int = 0

    @classmethod
    def start(
        cls, given: Problem, schedule: ScheduleFunction, dedupe: How, seed: int, extract: Extract | None = None
    ) -> Self:
        """Opens a problem: up to its first round, or its end where one candidate is all there is.

        Args:
          extract: a candidate's final answer, for a problem that does not have its answers.
        """
        problem = given
        if extract is not None and given.answers is None:
            problem = replace(given, answers=[extract(text) for text in given.texts])
        cluster = distinct(problem, dedupe)
        representative = representatives(cluster)
        # The coins belong to the problem, not to its place in a file.
        text = "\0".join((problem.prompt, *problem.texts))
        rng = np.random.default_rng([seed, zlib.crc32(text.encode())])
        opened = cls(given, problem, representative, cluster, schedule(len(representative), rng))
        opened.advance(None)
        return opened

    @property
    def pending(self) -> int:
        """Number of comparisons in the round that waits to be judged."""
        return 0 if self.round is None else len(self.round)

    def advance(self, log_odds: FloatArray | None) -> None:
        """Sends the schedule its answers (None at the start) and takes its next round."""
        try:
            asked = next(self.schedule) if log_odds is None else self.schedule.send(log_odds)
        except StopIteration as end:
            self.round, self.standing = None, end.value
        else:
            self.round = self.representative[np.asarray(asked, np.int64).reshape(-1, 2)]
            self.comparisons += len(self.round)

    @property
    def verdict_mass(self) -> float | None:
        """P(A) + P(B) on average; None where it is not known."""
        return self.mass / self.weighed if self.weighed else None

    @property
    def result(self) -> Standing:
        """The standing of all n candidates once the schedule has ended: equal texts stand together, in input order,
        and share their text's probability of being the best evenly; p_top is that of the distinct texts."""
        standing = cast(Standing, self.standing)
        if len(self.cluster) == len(standing.order):
            return standing
        rank = np.empty_like(standing.order)
        rank[standing.order] = np.arange(len(rank))
        return replace(
            standing,
            order=np.argsort(rank[self.cluster], kind="stable"),
            scores=standing.scores[self.cluster],
            p_best=(standing.p_best / np.bincount(self.cluster))[self.cluster],
        )
