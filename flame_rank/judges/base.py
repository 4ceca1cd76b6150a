"""What a judge is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from flame_rank.records import Problem
from strategies.base import FloatArray, IntArray


@runtime_checkable
class Judge(Protocol):
    """Answers which of two candidates is the better one.

    Attributes:
      name: identity: two judges of one name give the same answers.
      pool_aware: looks at all candidates of a problem, not only at the two.
      pointwise: answers by the difference of a quality of each candidate, so its answers are transitive.
      one_by_one: may be left out; True for a judge that makes one call (of a function, a server) of each problem, so
        that each answer is kept, and each ranking given, as soon as it is there.
    """

    name: str
    pool_aware: bool
    pointwise: bool

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        """Judges some comparisons of each problem.

        Args:
          asked: problems, each with its comparisons [M, 2] int64: candidate indices (first, second).

        Returns:
          for each problem the log-odds [M] float64, in nats, that the first is the better one; NaN where a
          judgement failed.
        """


@dataclass(frozen=True, kw_only=True)
class Notes:
    """What a judge has to say about a problem beside its log-odds; a judge with such notes has a method
    `notes(problem) -> Notes`.

    Attributes:
      truncated: candidates that did not fit its maximum length and were judged without their middle.
      failures: why judgements failed.
      health: for a judge that is a language model, the probability of a verdict at all, P(A) + P(B), on average;
        near 0 it does not follow the prompt, and its log-odds say little.
    """

    truncated: int = 0
    failures: tuple[str, ...] = ()
    health: float | None = None
