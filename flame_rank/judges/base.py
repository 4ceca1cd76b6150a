"""The protocol of judges."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar, runtime_checkable
from weakref import WeakKeyDictionary

from flame_rank.records import Problem
from strategies.base import FloatArray, IntArray

_Value = TypeVar("_Value")


class ProblemMemory(WeakKeyDictionary[Problem, _Value]):
    """What a judge remembers about problems for as long as they exist. A pickled copy is empty."""

    def __reduce__(self) -> Any:
        return type(self), ()


@runtime_checkable
class Judge(Protocol):
    """Answers which of two candidates is the better one.

    Attributes:
      name: the judge's identity: judges with the same name give the same answers.
      pool_aware: whether its answer depends on all candidates of a problem, not only on the two.
      pointwise: whether its answer is the difference of the two candidates' qualities, so that answers are transitive.

    A judge may also have:

    - one_by_one: True if it calls a function or a server for each problem, so that each answer can be recorded, and
      each ranking returned, at once; False if it computes whole batches. If it has neither value and a ledger records
      its answers, it is asked about as few comparisons at once as is possible without extra cost.
    - named: False if its name is not an identity, so that a ledger cannot hold its answers.
    - recorded: False if a ledger should not hold its answers, because they depend on more than the texts and cost
      nothing.
    - at_once(problem): whether it answers about this problem in milliseconds; it is asked about such problems before
      the others, so that their rankings do not wait.
    - options(problem): for a pointwise judge, a name for each candidate, or None if its record lacks the data for a
      rating. Candidates with the same name are rated as one. A candidate without a name is ranked last, with a P(best)
      of 0, and counted as invalid; the problem is undecided unless most candidates have a name.
    - notes(problem): what the judge reports about a problem, as `Notes`.
    - verdict_mass(problem, pairs): for a language model, [M] float64, P(A) + P(B) of comparisons that it has judged,
      NaN for others. If it is near 0, the model does not follow the prompt, and its log-odds mean little.
    """

    name: str
    pool_aware: bool
    pointwise: bool

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        """Judges some comparisons of each problem.

        Args:
          asked: problems, each with its comparisons [M, 2] int64: candidate indices (first, second).

        Returns:
          For each problem the log-odds [M] float64, in nats, that the first candidate is better; NaN for a failed
          judgement.
        """


@dataclass(frozen=True, kw_only=True)
class Notes:
    """What a judge reports about a problem besides its log-odds.

    Attributes:
      truncated: the number of candidates that did not fit the maximum length and were judged without their middle.
      failures: the reasons why judgements failed.
      broken: whether they failed because the judge itself did not work, as if it had raised an error.
    """

    truncated: int = 0
    failures: tuple[str, ...] = ()
    broken: bool = False


NOTHING: Final = Notes()


def notes(judge: Judge, problem: Problem) -> Notes:
    """Returns a judge's notes about a problem; empty notes if it does not take any."""
    take: Callable[[Problem], Notes] | None = getattr(judge, "notes", None)
    return NOTHING if take is None else take(problem)
