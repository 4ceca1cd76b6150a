"""Combines evidence for code with a judge, which decides what running the programs leaves open."""

from collections.abc import Callable, Mapping, Sequence
from typing import Self

import numpy as np

from flame_rank.code_evidence.collect import CodeEvidence, CodeQuestion, Part, collect
from flame_rank.code_evidence.questions import read_question
from flame_rank.judges.base import Judge, ProblemMemory
from flame_rank.judges.within import JudgeAround
from flame_rank.records import Problem
from flame_rank.sandbox.pool import Sandbox
from strategies.base import FloatArray, IntArray

# Nats between a candidate that shows all of a part and one that shows nothing of it. Each is more than what usually
# comes of all parts behind it and the judge.
WEIGHTS: Mapping[Part, float] = {"parse": 100.0, "tests": 60.0, "examples": 30.0, "agreement": 12.0}


class EvidenceJudge(JudgeAround):
    """Adds the evidence to a judge's log-odds. A judge that compares pairs is asked only about candidates with equal
    evidence.
    """

    def __init__(
        self,
        judge: Judge,
        parts: Sequence[Part],
        sandbox: Sandbox,
        *,
        timeout: float = 1.0,
        question: Callable[[Problem], CodeQuestion | None] = read_question,
    ):
        """Args:
        judge: the judge that decides what the evidence leaves open.
        parts: the kinds of evidence that count.
        sandbox: where programs run.
        timeout: seconds of processor time for all calls of one program, and for one test.
        question: reads a problem as a code question; returns None for any other one, which the judge decides alone.
        """
        self.parts = tuple(parts)
        super().__init__(judge, f"{judge.name} behind {'+'.join(self.parts)}")
        self.pool_aware = True
        self._sandbox, self._timeout, self._question = sandbox, timeout, question
        self._seen: ProblemMemory[FloatArray] = ProblemMemory()

    def with_members(self, members: Sequence[Judge]) -> Self:
        [judge] = members
        return type(self)(judge, self.parts, self._sandbox, timeout=self._timeout, question=self._question)

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        """Returns the log-odds [M] of each problem's pairs."""
        self._look([problem for problem, _ in asked if problem not in self._seen])
        leads = [self._seen[problem][pairs] @ np.array([1.0, -1.0]) for problem, pairs in asked]
        open_ = [np.full(len(lead), True) if self.pointwise else np.abs(lead) < 1e-9 for lead in leads]
        wanted = [(problem, pairs[left]) for (problem, pairs), left in zip(asked, open_, strict=True) if left.any()]
        heard = iter(self.within.judge(wanted) if wanted else [])
        for lead, left in zip(leads, open_, strict=True):
            if left.any():
                lead[left] += next(heard)
        return leads

    def _look(self, problems: Sequence[Problem]) -> None:
        """Collects the evidence of problems."""
        fresh = list(dict.fromkeys(problems))
        questions = {problem: self._question(problem) for problem in fresh}
        asked = [question for question in questions.values() if question is not None]
        evidence = collect(asked, self.parts, self._sandbox, timeout=self._timeout)
        for problem, question in questions.items():
            self._seen[problem] = np.zeros(len(problem)) if question is None else quality(next(evidence), len(problem))


def quality(evidence: CodeEvidence, count: int) -> FloatArray:
    """Returns the evidence of `count` candidates in nats, [n]."""
    total = np.zeros(count)
    for part, values in evidence.values.items():
        total += WEIGHTS[part] * values
    return total
