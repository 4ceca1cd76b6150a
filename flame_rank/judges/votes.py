"""A judge by majority votes: the final answer that most candidates state is the best one (self-consistency, Wang et
al. 2022). Votes count equally, or are weighted by the quality that another judge gives the candidate."""

from collections.abc import Sequence
from typing import Self

import numpy as np

from flame_rank.candidates.answers import problem_answers
from flame_rank.judges.base import Judge, Notes, ProblemMemory, notes
from flame_rank.judges.panel import JudgeGroup, qualities
from flame_rank.records import Problem
from strategies.base import FloatArray, IntArray


class VotesJudge(JudgeGroup):
    """Rates each candidate by the votes for its final answer: a quality is the logarithm of their number, or of the sum
    of their weights, in nats.

    Candidates with the same answer are one option, so P(best), the softmax of the qualities, is the answer's share of
    the votes. A candidate without a final answer has no quality.
    """

    def __init__(self, weighing: Judge | None = None):
        """Args:
          weighing: a pointwise judge, which gives each vote the weight exp(quality of its candidate); None for equal
            weights.

        Raises:
          ValueError: `weighing` is not pointwise.
        """
        if weighing is not None and not weighing.pointwise:
            raise ValueError(f"votes are weighted by a judge that rates candidates; {weighing.name} compares pairs")
        members, name = ((), "votes") if weighing is None else ((weighing,), f"votes({weighing.name})")
        super().__init__(members, name)
        self.pool_aware = self.pointwise = True
        self._qualities: ProblemMemory[FloatArray] = ProblemMemory()

    def with_members(self, members: Sequence[Judge]) -> Self:
        return type(self)(*members)

    def options(self, problem: Problem) -> list[str | None]:
        """Returns the answer that each candidate votes for; None for a candidate without one."""
        return problem_answers(problem)

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        """Returns the log-odds [M] for each problem: differences of qualities; NaN without a quality."""
        fresh = list(dict.fromkeys(problem for problem, _ in asked if problem not in self._qualities))
        weights = [np.zeros(len(problem)) for problem in fresh]
        if self.members:
            weights = qualities(self.members[0], fresh)
        for problem, own in zip(fresh, weights, strict=True):
            self._qualities[problem] = _of_votes(self.options(problem), own)
        answers = [self._qualities[problem][pairs] @ np.array([1.0, -1.0]) for problem, pairs in asked]
        for problem, own in zip(fresh, weights, strict=True):
            if np.isnan(own).any():  # what the other judge failed at is asked again
                del self._qualities[problem]
        return answers

    def notes(self, problem: Problem) -> Notes:
        """Returns which candidates have no vote, and the notes of the weighing judge."""
        silent = tuple(
            f"candidate {i}: no final answer in its text, so no vote (--answer reads it by your own pattern)"
            for i, answer in enumerate(self.options(problem))
            if answer is None
        )
        if not self.members:
            return Notes(failures=silent)
        noted = notes(self.members[0], problem)
        return Notes(truncated=noted.truncated, failures=noted.failures + silent, broken=noted.broken)


def _of_votes(answers: Sequence[str | None], weights: FloatArray) -> FloatArray:
    """Computes the logarithm [n] of the summed exp(weight) of each answer's votes. A candidate without a weight has no
    vote, but the votes of its answer; NaN for one without an answer, or if none with its answer has a weight."""
    totals = np.full(len(answers), np.nan)
    votes: dict[str, list[int]] = {}
    for i, answer in enumerate(answers):
        if answer is not None and not np.isnan(weights[i]):
            votes.setdefault(answer, []).append(i)
    for answer, voters in votes.items():
        totals[[own == answer for own in answers]] = np.logaddexp.reduce(weights[voters])
    return totals
