"""The protocol of judges."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from flame_rank.records import Problem
from strategies.base import FloatArray, IntArray


@runtime_checkable
class Judge(Protocol):
    """Answers which of two candidates is the better one.

    Attributes:
      name: identity: two judges with the same name give the same answers.
      pool_aware: whether it looks at all candidates of a problem, not only at the two.
      pointwise: whether its answer is the difference of a quality of each candidate, so that answers are transitive.

    A judge may also have:

    - one_by_one: True if it makes one call (of a function, a server) of each problem, so that each answer is kept, and
      each ranking given, as soon as it is there. False if it computes whole batches at once. A judge that does not say
      is asked, if a ledger keeps its answers, as few comparisons at once as cost no more.
    - named: False if its name is no identity, so that no ledger can hold its answers.
    - recorded: False if no ledger holds its answers, because they follow from more than the texts and cost nothing.
    - options(problem): of a pointwise judge, a name for each candidate, or None if the record lacks what it rates by.
      Candidates with the same name are rated as one; one without a name is ranked last, with a P(best) of 0, and
      counted as invalid; the problem is undecided unless most candidates have a name.
    - notes(problem) -> Notes.
    - verdict_mass(problem, pairs): for a language model, [M] float64, P(A) + P(B) of comparisons that it has judged:
      near 0 it does not follow the prompt, and its log-odds say little; NaN where there is none.
    """

    name: str
    pool_aware: bool
    pointwise: bool

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        """Judges some comparisons of each problem.

        Args:
          asked: problems, each with its comparisons [M, 2] int64: candidate indices (first, second).

        Returns:
          for each problem the log-odds [M] float64, in nats, that the first is the better one; NaN for a judgement
          that failed.
        """


@dataclass(frozen=True, kw_only=True)
class Notes:
    """What a judge reports about a problem besides its log-odds.

    Attributes:
      truncated: number of candidates that were longer than its maximum length and were judged without their middle.
      failures: reasons why judgements failed.
      broken: whether they failed because the judge did not work, as if it had raised an error.
    """

    truncated: int = 0
    failures: tuple[str, ...] = ()
    broken: bool = False


NOTHING: Final = Notes()


def notes(judge: Judge, problem: Problem) -> Notes:
    """What a judge reports about a problem; nothing if it does not take notes."""
    take: Callable[[Problem], Notes] | None = getattr(judge, "notes", None)
    return NOTHING if take is None else take(problem)
