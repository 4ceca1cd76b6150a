"""Makes a judge from a user's function."""

import asyncio
import inspect
import math
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from flame_rank.errors import UserError
from flame_rank.judges.base import NOTHING, Notes, ProblemMemory
from flame_rank.records import Problem
from strategies.base import FloatArray, IntArray

Answer: TypeAlias = Sequence[float] | FloatArray
PairFunction: TypeAlias = Callable[[str, list[tuple[str, str]]], Answer | Awaitable[Answer]]


class FunctionJudge:
    """Asks `f(prompt, pairs)` for the log-odds of pairs of texts, with one call for each problem."""

    pool_aware = False
    pointwise = False
    one_by_one = True

    def __init__(self, f: PairFunction, *, name: str | None = None):
        """Args:
          f: takes the prompt and M pairs (first, second); returns M log-odds in nats that the first is better, NaN for
            no answer. If it raises an error, its judgements have failed. It may be asynchronous: all its calls then run
            in one event loop, in a separate thread.
          name: the judge's identity; by default the name of the function.

        Raises:
          UserError: `f` does not take these two arguments.
        """
        try:
            inspect.signature(f).bind("prompt", [])
        except TypeError as error:
            callee = getattr(f, "__qualname__", type(f).__name__)
            raise UserError(
                f"{callee} is not a judge: called as f(prompt, pairs), {error}; it takes a "
                "text and a list of pairs of texts, and returns log-odds"
            ) from error
        except ValueError:  # the signature of a function that is not written in Python is not known
            pass
        self._f = f
        self.named = name is not None  # only then does it have an identity for a ledger
        self.name = name or f"function:{getattr(f, '__qualname__', type(f).__name__)}"
        self._failures: ProblemMemory[dict[str, None]] = ProblemMemory()

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        """Returns the log-odds [M] for each problem; NaN if the function failed."""
        return [self._one(problem, pairs) for problem, pairs in asked]

    def notes(self, problem: Problem) -> Notes:
        """Returns the errors that the function raised for this problem."""
        if not self._failures:
            return NOTHING
        failures = tuple(self._failures.get(problem, ()))
        return Notes(failures=failures, broken=bool(failures))

    def _one(self, problem: Problem, pairs: IntArray) -> FloatArray:
        texts = problem.texts
        try:
            answers = self._f(problem.prompt, [(texts[i], texts[j]) for i, j in pairs.tolist()])
            log_odds = np.array(awaited(answers), dtype=np.float64)
            if log_odds.shape != (len(pairs),):
                raise ValueError(f"it returned shape {log_odds.shape} for {len(pairs)} pairs")
        except SystemExit as error:
            raise UserError(f"{self.name} ends the program ({error!r}); let it raise something else") from error
        except Exception as error:  # a failure of the user's code is a failed judgement, whatever it is
            log_odds = np.full(len(pairs), np.nan)
            self._failures.setdefault(problem, {})[f"{self.name}: {type(error).__name__}: {error}"[:300]] = None
        return log_odds


_LOOPS = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def _begin_anew() -> None:
    """Forgets the loop after a fork: its thread does not exist in the new process."""
    global _loop, _LOOPS
    _loop, _LOOPS = None, threading.Lock()


os.register_at_fork(after_in_child=_begin_anew)


def awaited(answers: Any) -> Any:
    """Returns the answers of a function; waits for them if the function is asynchronous."""
    global _loop
    if isinstance(answers, list | np.ndarray) or not inspect.isawaitable(answers):
        return answers

    async def wait() -> Any:
        return await answers

    if _loop is not None and asyncio._get_running_loop() is _loop:
        if inspect.iscoroutine(answers):
            answers.close()
        raise UserError(
            "an asynchronous judge that calls rank would wait for itself; let it `await reranker.arank(...)` instead"
        )
    with _LOOPS:  # one loop for all calls: a client that was opened in a loop works only there
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, daemon=True).start()
    answer = asyncio.run_coroutine_threadsafe(wait(), _loop)
    try:
        return answer.result()
    except BaseException:  # Ctrl-C: nothing more is asked
        answer.cancel()
        raise


_PATH = threading.Lock()


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Makes the modules of a folder importable inside the block; they come last in the search path, so that they hide
    no others."""
    name = str(folder)
    with _PATH:
        sys.path.append(name)
    try:
        yield
    finally:
        with _PATH, suppress(ValueError):  # it is gone if the user's code has replaced the path
            del sys.path[-1 - sys.path[::-1].index(name)]


def at_home(f: PairFunction, folder: Path) -> PairFunction:
    """Wraps a function so that it can import modules of a folder when it is called."""

    @wraps(f)
    def called(prompt: str, pairs: list[tuple[str, str]]) -> Answer:
        with importable(folder):
            answers: Answer = awaited(f(prompt, pairs))
            return answers

    return called


def from_probabilities(f: PairFunction) -> PairFunction:
    """Turns a function that answers with P(first is the better one) into one that answers with log-odds.

    A probability of 0 or 1 becomes the largest finite log-odds that a double can express, about 37 nats; a number
    outside [0, 1] becomes NaN.
    """

    def log_odds(prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
        return [_logit(float(p)) for p in awaited(f(prompt, pairs))]

    log_odds.__qualname__ = getattr(f, "__qualname__", type(f).__name__)
    return log_odds


def _logit(p: float) -> float:
    if not 0 <= p <= 1:
        return math.nan
    tiny = 2.0**-53
    return math.log(max(p, tiny)) - math.log(max(1 - p, tiny))
