"""Combines evidence for code with a judge, which decides what running the programs leaves open."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from flame_rank.code_evidence.collect import CodeEvidence, CodeQuestion, Part, collect
from flame_rank.code_evidence.questions import read_question
from flame_rank.judges.base import Judge, Notes, ProblemMemory
from flame_rank.judges.base import notes as judge_notes
from flame_rank.records import Problem
from flame_rank.sandbox.pool import Sandbox
from strategies.base import FloatArray, IntArray

# Nats between a candidate that shows all of a part and one that shows nothing of it. Each is more than what usually
# comes of all parts behind it and the judge.
WEIGHTS: Mapping[Part, float] = {"parse": 100.0, "tests": 60.0, "examples": 30.0, "agreement": 12.0}


class EvidenceJudge:
    """Adds the evidence to a judge's log-odds. A judge that compares pairs is asked only about candidates with equal
    evidence.
    """

    pool_aware = True

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
        self.judge_within, self.parts = judge, tuple(parts)
        self.pointwise, self.one_by_one = judge.pointwise, getattr(judge, "one_by_one", False)
        self.named = getattr(judge, "named", True)
        self.name = f"{judge.name} behind {'+'.join(self.parts)}"
        self._sandbox, self._timeout, self._question = sandbox, timeout, question
        self._seen: ProblemMemory[FloatArray] = ProblemMemory()

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        """Returns the log-odds [M] of each problem's pairs."""
        self._look([problem for problem, _ in asked if problem not in self._seen])
        leads = [self._seen[problem][pairs] @ np.array([1.0, -1.0]) for problem, pairs in asked]
        open_ = [np.full(len(lead), True) if self.pointwise else np.abs(lead) < 1e-9 for lead in leads]
        wanted = [(problem, pairs[left]) for (problem, pairs), left in zip(asked, open_, strict=True) if left.any()]
        heard = iter(self.judge_within.judge(wanted) if wanted else [])
        for lead, left in zip(leads, open_, strict=True):
            if left.any():
                lead[left] += next(heard)
        return leads

    def notes(self, problem: Problem) -> Notes:
        """Returns the wrapped judge's notes about a problem."""
        return judge_notes(self.judge_within, problem)

    def __getattr__(self, name: str) -> Any:
        if name == "explain":  # the words are the judge's
            return getattr(self.judge_within, name)
        raise AttributeError(name)

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
