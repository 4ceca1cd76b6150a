"""A function of the user's as a judge."""

import math
from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

import numpy as np

from flame_rank.judges.base import Notes
from flame_rank.records import Problem
from strategies.base import FloatArray, IntArray

PairFunction = Callable[[str, list[tuple[str, str]]], Sequence[float] | FloatArray]


class FunctionJudge:
    """Asks `f(prompt, pairs)` for the log-odds of pairs of texts, one problem a call."""

    pool_aware = False
    pointwise = False
    one_by_one = True

    def __init__(self, f: PairFunction, *, name: str | None = None):
        """Args:
        f: takes the prompt and M pairs (first, second); returns M log-odds in nats that the first is the
          better one, NaN where it does not know. What it raises counts as failed judgements.
        name: its identity; the function's own name where none is given.
        """
        self._f = f
        self.named = name is not None  # only then it has an identity that a ledger can hold
        self.name = name or f"function:{getattr(f, '__qualname__', type(f).__name__)}"
        self._failures: WeakKeyDictionary[Problem, dict[str, None]] = WeakKeyDictionary()

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        """Log-odds [M] for each problem; NaN where the function failed."""
        return [self._one(problem, pairs) for problem, pairs in asked]

    def notes(self, problem: Problem) -> Notes:
        """Why judgements of this problem failed."""
        return Notes(failures=tuple(self._failures.get(problem, ())))

    def _one(self, problem: Problem, pairs: IntArray) -> FloatArray:
        texts = problem.texts
        try:
            answers = self._f(problem.prompt, [(texts[i], texts[j]) for i, j in pairs])
            log_odds = np.array(answers, dtype=np.float64)
            if log_odds.shape != (len(pairs),):
                raise ValueError(f"it returned shape {log_odds.shape} for {len(pairs)} pairs")
        except Exception as error:  # a failure of the user's code is a failed judgement, whatever it is
            log_odds = np.full(len(pairs), np.nan)
            self._failures.setdefault(problem, {})[f"{self.name}: {type(error).__name__}: {error}"[:300]] = None
        return log_odds


def from_probabilities(f: PairFunction) -> PairFunction:
    """Turns a function that answers with P(first is the better one) into one that answers with log-odds.

    A probability of 0 or 1 becomes the largest finite log-odds that a double can come from, about 37 nats; one
    outside [0, 1] becomes NaN.
    """

    def log_odds(prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
        return [_logit(float(p)) for p in f(prompt, pairs)]

    log_odds.__qualname__ = getattr(f, "__qualname__", type(f).__name__)
    return log_odds


def _logit(p: float) -> float:
    if not 0 <= p <= 1:
        return math.nan
    tiny = 2.0**-53
    return math.log(max(p, tiny)) - math.log(max(1 - p, tiny))
