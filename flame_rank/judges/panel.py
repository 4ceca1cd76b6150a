"""Several judges as one: a panel averages their log-odds; a cascade asks an expensive judge only about what a cheap one
leaves open."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from flame_rank.errors import UserError
from flame_rank.judges.base import Judge, Notes, ProblemMemory, notes
from flame_rank.records import Problem
from strategies.base import FloatArray, IntArray

BoolArray: TypeAlias = npt.NDArray[np.bool_]

SURE = 0.95
HOPELESS = 0.02  # keeps 98 % of the dear judge's picks at 37 % of its cost, in the simulation of the tests


class JudgeGroup(ABC):
    """The common base of judges that are made of other judges.

    Attributes:
      members: the judges, in the order in which they are asked.
    """

    def __init__(self, members: Sequence[Judge], name: str):
        self.members = tuple(members)
        self.name = name
        self.pool_aware = any(member.pool_aware for member in self.members)
        self.pointwise = all(member.pointwise for member in self.members)
        self.one_by_one = any(getattr(member, "one_by_one", False) for member in self.members)
        self.named = all(getattr(member, "named", True) for member in self.members)
        self.recorded = all(getattr(member, "recorded", True) for member in self.members)

    @abstractmethod
    def with_members(self, members: Sequence[Judge]) -> Self:
        """Returns the same judge with other members, for example members that record their answers in a ledger."""

    @abstractmethod
    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        """Judges comparisons, as `Judge.judge` does."""

    def notes(self, problem: Problem) -> Notes:
        """Joins the members' notes about a problem: all failures, and the most candidates that any of them cut."""
        each = [notes(member, problem) for member in self.members]
        return Notes(
            truncated=max(note.truncated for note in each),
            failures=tuple(dict.fromkeys(failure for note in each for failure in note.failures)),
            broken=any(note.broken for note in each),
        )


class PanelJudge(JudgeGroup):
    """Asks several judges about every comparison and answers with the weighted mean of their log-odds.

    A comparison has no answer if a member has none for it: the mean of the other members alone would be another judge's
    answer.
    """

    def __init__(
        self,
        members: Sequence[Judge],
        weights: Sequence[float] | None = None,
        *,
        labels: Sequence[str] | None = None,
    ):
        """Args:
          members: two judges or more.
          weights: positive, one for each member; equal ones by default. They are divided by their sum.
          labels: the members' names in the record; by default the names of the judges.

        Raises:
          ValueError: there are fewer than two members, or the weights do not fit.
          UserError: a member is not a judge.
        """
        _check_members(members)
        weights = [1.0] * len(members) if weights is None else list(weights)
        if len(members) < 2:
            raise ValueError("a panel must have two judges or more")
        if len(weights) != len(members) or not all(0 < weight < np.inf for weight in weights):
            raise ValueError(f"a panel of {len(members)} judges needs as many positive weights, not {weights}")
        self.weights = np.array(weights) / sum(weights)
        parts = zip(self.weights.tolist(), members, strict=True)
        super().__init__(members, "panel(" + ", ".join(f"{weight:.6g} {member.name}" for weight, member in parts) + ")")
        self.labels = labels
        self._answers: ProblemMemory[list[tuple[IntArray, FloatArray]]] = ProblemMemory()

    def with_members(self, members: Sequence[Judge]) -> Self:
        return type(self)(members, self.weights.tolist(), labels=self.labels)

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        """Returns the log-odds [M] for each problem; NaN for a comparison that a member failed to judge."""
        answers = [member.judge(asked) for member in self.members]
        combined = []
        for (problem, pairs), *own in zip(asked, *answers, strict=True):
            log_odds = np.stack(own)  # [K, M]
            self._answers.setdefault(problem, []).append((pairs, log_odds))
            combined.append(np.asarray(self.weights @ log_odds))
        return combined

    def scores(self, problem: Problem) -> dict[str, FloatArray]:
        """Returns each member's score of each candidate [n]: the mean of the member's log-odds for the candidate over
        the candidate's comparisons, in nats; NaN for a candidate without a comparison.
        """
        n = len(problem.candidates)
        total, count = np.zeros((len(self.members), n)), np.zeros(n)
        for pairs, log_odds in self._answers.get(problem, []):
            valid = np.isfinite(log_odds).all(0)
            for sign, place in zip((1.0, -1.0), pairs[valid].T, strict=True):
                np.add.at(total.T, place, sign * log_odds[:, valid].T)
                np.add.at(count, place, 1.0)
        means = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
        labels = self.labels or [member.name for member in self.members]
        return dict(zip(labels, means, strict=True))


class CascadeJudge(JudgeGroup):
    """Asks a cheap judge first, and an expensive judge about what the cheap one leaves open.

    If the cheap judge rates candidates (a pointwise judge), the expensive one is asked about all pairs of the
    candidates that can be the best by these ratings. Each of those beats any other candidate by the same log-odds, so
    that the expensive judge alone decides among them. If the cheap judge compares pairs, its answer counts if it is
    sure, and always as the same log-odds.

    Attributes:
      counts: the number of comparisons so far, of the cheap judge and of the expensive one.
    """

    def __init__(self, cheap: Judge, dear: Judge, *, sure: float = SURE, hopeless: float = HOPELESS):
        """Args:
          sure: the probability from which an answer of a cheap judge that compares pairs counts.
          hopeless: the P(best), by a cheap judge that rates candidates, below which a candidate cannot be the best.

        Raises:
          ValueError: `sure` is not between 0.5 and 1, or `hopeless` is not between 0 and 0.5.
          UserError: `cheap` or `dear` is not a judge.
        """
        _check_members((cheap, dear))
        if not 0.5 < sure < 1 or not 0 < hopeless < 0.5:
            raise ValueError(
                f"sure is {sure} and hopeless is {hopeless}; sure must be from 0.5 to 1, hopeless from 0 to 0.5"
            )
        super().__init__((cheap, dear), f"cascade({cheap.name}, {dear.name}, sure {sure:.6g}, hopeless {hopeless:.6g})")
        self.sure, self.hopeless = sure, hopeless
        self.pointwise = False  # the answers to a candidate's pairs come from two judges and need not be transitive
        self.counts = [0, 0]
        self._possible: ProblemMemory[BoolArray] = ProblemMemory()
        self._worked = False  # whether the dear judge has answered once
        self._broken: dict[Problem, str] = {}

    def with_members(self, members: Sequence[Judge]) -> Self:
        cheap, dear = members
        return type(self)(cheap, dear, sure=self.sure, hopeless=self.hopeless)

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        """Returns the log-odds [M] for each problem; NaN if the judge that decides a pair failed."""
        cheap, dear = self.members
        answers = [np.array(log_odds, np.float64) for log_odds in cheap.judge(asked)]
        self.counts[0] += sum(len(pairs) for _, pairs in asked)
        settle = self._by_rating if cheap.pointwise else self._by_comparison
        left = [settle(problem, pairs, own) for (problem, pairs), own in zip(asked, answers, strict=True)]
        again = [k for k, places in enumerate(left) if len(places)]
        if again:
            self.counts[1] += sum(len(left[k]) for k in again)
            decided = dear.judge([(asked[k][0], asked[k][1][left[k]]) for k in again])
            self._watch([asked[k][0] for k in again], decided)
            for k, log_odds in zip(again, decided, strict=True):
                answers[k][left[k]] = log_odds
        return answers

    def _watch(self, problems: Sequence[Problem], decided: Sequence[FloatArray]) -> None:
        """Raises a UserError if the expensive judge has failed for two problems and has never answered: the decisions
        of the cheap one would hide that."""
        if self._worked or any(np.isfinite(log_odds).any() for log_odds in decided):
            self._worked = True
            return
        for problem in problems:
            noted = notes(self.members[1], problem)
            if noted.broken:
                self._broken[problem] = noted.failures[0]
        if len(self._broken) > 1:
            reason = next(iter(self._broken.values()))
            raise UserError(f"the judge {self.members[1].name} fails at every call: {reason}")

    def _by_comparison(self, problem: Problem, pairs: IntArray, log_odds: FloatArray) -> IntArray:
        """Replaces, in place, the answers [M] of which the cheap judge is sure; returns the indices of the others."""
        bound = _log_odds(self.sure)
        stands = np.abs(log_odds) >= bound  # not if it is NaN
        log_odds[stands] = np.sign(log_odds[stands]) * bound
        return np.flatnonzero(~stands)

    def _by_rating(self, problem: Problem, pairs: IntArray, log_odds: FloatArray) -> IntArray:
        """Sets, in place, the answers [M] to pairs of a possible best candidate and another; returns the indices of the
        pairs of two possible best ones."""
        if problem not in self._possible:
            self._possible[problem] = ~(_p_best(self.members[0], problem) < self.hopeless)
        first, second = self._possible[problem][pairs].T
        log_odds[first & ~second] = _log_odds(1 - self.hopeless)
        log_odds[second & ~first] = -_log_odds(1 - self.hopeless)
        return np.flatnonzero(first & second)


def _check_members(members: Sequence[Any]) -> None:
    for member in members:
        if isinstance(member, str | Path):
            raise UserError(f"{member} is a name, not a judge; load it with flame_rank.load_judge({str(member)!r})")
        if not isinstance(member, Judge):
            raise UserError(
                f"a member is a {type(member).__name__}, not a judge; make a judge from a function with "
                "FunctionJudge(f)"
            )


def _log_odds(p: float) -> float:
    return float(np.log(p / (1 - p)))


def qualities(judge: Judge, problems: Sequence[Problem]) -> list[FloatArray]:
    """Asks a judge that rates candidates for the qualities [n] of each problem's candidates, up to a constant; NaN for
    those that it cannot rate."""
    rated = [np.full(len(problem), np.nan) for problem in problems]
    reference = 0  # the first candidate that can be rated
    left = list(range(len(problems)))
    while left:
        pairs = [np.array([(i, reference) for i in range(len(problems[k]))], np.int64) for k in left]
        answers = judge.judge([(problems[k], asked) for k, asked in zip(left, pairs, strict=True)])
        for k, own in zip(left, answers, strict=True):
            rated[k] = np.array(own, np.float64)
        reference += 1
        left = [k for k in left if np.isnan(rated[k]).all() and reference < len(problems[k])]
    return rated


def _p_best(judge: Judge, problem: Problem) -> FloatArray:
    """Computes P(best) [n] by a judge that rates candidates: the softmax of its qualities; NaN for those
    that it cannot rate."""
    (own,) = qualities(judge, [problem])
    if np.isnan(own).all():
        return own
    exponents = np.exp(own - np.nanmax(own))
    return np.asarray(exponents / np.nansum(exponents))


def members_of(judge: Any) -> tuple[Judge, ...]:
    """Returns the judges that a judge is made of, and those that these are made of; empty for a single judge."""
    members = judge.members if isinstance(judge, JudgeGroup) else ()
    return tuple(part for member in members for part in (member, *members_of(member)))


def refuse_unnamed(judge: Judge, ledger: str) -> None:
    """Raises a UserError if a ledger cannot hold the answers of a judge or of one of its members."""
    for member in (judge, *members_of(judge)):
        if not getattr(member, "named", True):
            raise UserError(
                f"{ledger}: a function has no identity for a ledger; give it one: FunctionJudge(f, name=...)"
            )
