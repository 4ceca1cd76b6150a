"""Several judges as one: a panel, whose log-odds are averaged, and a cascade, whose dear judge is asked only about what
a cheap one leaves open."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from flame_rank.errors import UserError
from flame_rank.judges.base import Judge, Notes, notes
from flame_rank.records import Problem
from strategies.base import FloatArray, IntArray

BoolArray: TypeAlias = npt.NDArray[np.bool_]

SURE = 0.95
HOPELESS = 0.02  # keeps 98 % of the dear judge's picks at 37 % of its cost, in the simulation of the tests


class JudgeGroup(ABC):
    """What a judge that is made of other judges has in common.

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

    @abstractmethod
    def with_members(self, members: Sequence[Judge]) -> Self:
        """The same judge made of other members: of ones that keep their answers in a ledger, for example."""

    @abstractmethod
    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        """As `Judge.judge`."""

    def notes(self, problem: Problem) -> Notes:
        """What the members note about a problem: all failures, and the most candidates that one of them cut."""
        each = [notes(member, problem) for member in self.members]
        return Notes(
            truncated=max(note.truncated for note in each),
            failures=tuple(dict.fromkeys(failure for note in each for failure in note.failures)),
            broken=any(note.broken for note in each),
        )


class PanelJudge(JudgeGroup):
    """Asks several judges about every comparison and answers with the weighted mean of their log-odds.

    A comparison without a valid answer of every member has none: the others alone would be another judge.
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
          labels: what the record calls each member; the names of the judges by default.

        Raises:
          ValueError: there are fewer than two members, or the weights do not fit.
        """
        weights = [1.0] * len(members) if weights is None else list(weights)
        if len(members) < 2:
            raise ValueError("a panel has two judges or more")
        if len(weights) != len(members) or not all(0 < weight < np.inf for weight in weights):
            raise ValueError(f"a panel of {len(members)} judges needs as many positive weights, not {weights}")
        self.weights = np.array(weights) / sum(weights)
        parts = zip(self.weights.tolist(), members, strict=True)
        super().__init__(members, "panel(" + ", ".join(f"{weight:.6g} {member.name}" for weight, member in parts) + ")")
        self.labels = labels
        self._answers: WeakKeyDictionary[Problem, list[tuple[IntArray, FloatArray]]] = WeakKeyDictionary()

    def with_members(self, members: Sequence[Judge]) -> Self:
        return type(self)(members, self.weights.tolist(), labels=self.labels)

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        """Log-odds [M] for each problem; NaN for what a member failed to judge."""
        answers = [member.judge(asked) for member in self.members]
        combined = []
        for (problem, pairs), *own in zip(asked, *answers, strict=True):
            log_odds = np.stack(own)  # [K, M]
            self._answers.setdefault(problem, []).append((pairs, log_odds))
            combined.append(np.asarray(self.weights @ log_odds))
        return combined

    def scores(self, problem: Problem) -> dict[str, FloatArray]:
        """What each member holds of each candidate: the mean [n] of its log-odds for the candidate over the comparisons
        that it was asked, in nats; NaN for a candidate without one."""
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
    """Asks a cheap judge first, and a dear one about what that leaves open.

    If the cheap judge rates candidates (a pointwise judge), the dear one is asked about all pairs of those that can be
    the best by it; each of these beats any other by the same log-odds, so that the dear judge alone decides among them.
    If it compares, its answer to a pair stands if it is sure of it; then too it counts the same, however sure it is.

    Attributes:
      counts: comparisons that were asked so far: of the cheap judge, and of the dear one.
    """

    def __init__(self, cheap: Judge, dear: Judge, *, sure: float = SURE, hopeless: float = HOPELESS):
        """Args:
          sure: probability for one of the two from which the answer of a cheap judge that compares stands.
          hopeless: P(best) below which a candidate cannot be the best, by a cheap judge that rates candidates.

        Raises:
          ValueError: `sure` is not between 0.5 and 1, or `hopeless` not between 0 and 0.5.
        """
        if not 0.5 < sure < 1 or not 0 < hopeless < 0.5:
            raise ValueError(f"sure is between 0.5 and 1 and hopeless between 0 and 0.5, not {sure} and {hopeless}")
        super().__init__((cheap, dear), f"cascade({cheap.name}, {dear.name}, sure {sure:.6g}, hopeless {hopeless:.6g})")
        self.sure, self.hopeless = sure, hopeless
        self.pointwise = False  # the answers to a candidate's pairs come from two judges and need not be transitive
        self.counts = [0, 0]
        self._possible: WeakKeyDictionary[Problem, BoolArray] = WeakKeyDictionary()
        self._worked = False  # whether the dear judge has answered once
        self._broken: dict[Problem, str] = {}

    def with_members(self, members: Sequence[Judge]) -> Self:
        cheap, dear = members
        return type(self)(cheap, dear, sure=self.sure, hopeless=self.hopeless)

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        """Log-odds [M] for each problem; NaN for what the judge that decides a pair failed to judge."""
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
        """Raises a UserError if the dear judge has failed for two problems and has never answered: what the cheap one
        decides would hide it."""
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
        """Bounds the answers [M] that stand, in place; returns the places of the others."""
        bound = _log_odds(self.sure)
        stands = np.abs(log_odds) >= bound  # not if it is NaN
        log_odds[stands] = np.sign(log_odds[stands]) * bound
        return np.flatnonzero(~stands)

    def _by_rating(self, problem: Problem, pairs: IntArray, log_odds: FloatArray) -> IntArray:
        """Sets the answers [M] to pairs of a possible best and another, in place; returns the places of those of two
        possible ones."""
        if problem not in self._possible:
            self._possible[problem] = ~(_p_best(self.members[0], problem) < self.hopeless)
        first, second = self._possible[problem][pairs].T
        log_odds[first & ~second] = _log_odds(1 - self.hopeless)
        log_odds[second & ~first] = -_log_odds(1 - self.hopeless)
        return np.flatnonzero(first & second)


def _log_odds(p: float) -> float:
    return float(np.log(p / (1 - p)))


def qualities(judge: Judge, problems: Sequence[Problem]) -> list[FloatArray]:
    """The qualities [n] of each problem's candidates by a judge that rates them, up to a constant; NaN for those that
    it cannot rate."""
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
    """P(best) [n] by a judge that rates candidates: the softmax of its qualities; NaN for those that it cannot rate."""
    (own,) = qualities(judge, [problem])
    if np.isnan(own).all():
        return own
    exponents = np.exp(own - np.nanmax(own))
    return np.asarray(exponents / np.nansum(exponents))


def members_of(judge: Any) -> tuple[Judge, ...]:
    """The judges that a judge is made of; empty for a judge by itself."""
    return judge.members if isinstance(judge, JudgeGroup) else ()


def refuse_unnamed(judge: Judge, ledger: str) -> None:
    """Raises a UserError if a ledger cannot hold the answers of a judge, or of one that it is made of."""
    for member in (judge, *members_of(judge)):
        if not getattr(member, "named", True):
            raise UserError(
                f"{ledger}: a function has no identity for a ledger; give it one: FunctionJudge(f, name=...)"
            )
