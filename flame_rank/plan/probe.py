"""What a judge takes for a few comparisons, by the clock."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from flame_rank.errors import UserError
from flame_rank.judges.base import Judge
from flame_rank.records import Problem
from strategies.base import IntArray

FEW, MANY = 8, 128  # comparisons; as many as the reranker collects for one call, where that is a matter of seconds
WORK = 2**31  # weights x comparisons that a CPU is asked; an accelerator has to be kept busy to show what it can do

Asked = list[tuple[Problem, IntArray]]


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A few comparisons that were judged and timed.

    Attributes:
      comparisons: that the judge was asked, those of the warm-up included.
      seconds: for one unit of work (a token, a candidate of a judge that looks at the pool, or a comparison); None
        where the judge answered nothing.
      compiling: seconds for what is compiled for one shape (level, prefix bucket, own bucket, rows).
      problem: why there is no number.
    """

    comparisons: int = 0
    seconds: float | None = None
    compiling: float = 0.0
    problem: str | None = None


def probe(judge: Judge, sample: Sequence[tuple[Problem, IntArray]]) -> Probe:
    """Asks the judge a few comparisons, once to warm it up and once by the clock.

    Args:
      sample: problems, and the first candidate [d] of each of their two or more distinct texts.

    Raises:
      UserError: a comparison is too long and `on_long` is "fail".
    """
    if not sample:
        return Probe()
    kernel = _kernel(judge)
    asked = _rings(sample) if judge.pool_aware else _pairs(sample, _count(kernel))
    # A function may cost money by the call; nothing is compiled for it.
    warm = asked if kernel or judge.pool_aware else [(asked[0][0], asked[0][1][:1])]
    try:
        shapes = len(kernel.usage.shapes) if kernel else 0
        to_warm, _, _ = _timed(judge, warm)
        shapes = len(kernel.usage.shapes) - shapes if kernel else 0
        seconds, tokens, answered = _timed(judge, asked)
    except UserError:
        raise
    except Exception as error:  # what a user's judge raises can be anything
        return Probe(problem=f"the judge failed ({type(error).__name__}: {error})"[:300])
    comparisons = sum(len(pairs) for _, pairs in asked)
    in_all = comparisons + sum(len(pairs) for _, pairs in warm)
    if not answered:
        return Probe(comparisons=in_all, problem="the judge answered no comparison")
    if kernel:
        units = tokens
    else:
        units = sum(len({*problem.texts}) for problem, _ in asked) if judge.pool_aware else comparisons
    return Probe(
        comparisons=in_all,
        seconds=seconds / max(1, units),
        compiling=max(0.0, to_warm - seconds) / shapes if shapes else 0.0,
    )


def _kernel(judge: Judge) -> Any:
    """The kernel of a judge that counts what it encodes; None for others."""
    kernel = getattr(judge, "kernel", None)
    return kernel if hasattr(kernel, "usage") else None


def _count(kernel: Any) -> int:
    """How many comparisons are asked."""
    if kernel is None:
        return FEW
    on_cpu = kernel.mesh.devices.flat[0].platform == "cpu"
    return min(MANY, max(FEW, WORK // kernel.parameters)) if on_cpu else MANY


def _rings(sample: Sequence[tuple[Problem, IntArray]]) -> Asked:
    """A comparison for each candidate but the first, with the first."""
    return [(problem, np.stack([place[1:], np.full(len(place) - 1, place[0])], axis=1)) for problem, place in sample]


def _pairs(sample: Sequence[tuple[Problem, IntArray]], count: int) -> Asked:
    """All comparisons of as many problems as have at most `count`; or else the first ones of the first problem.

    The number of problems is a power of two: it takes fewer programs.
    """
    asked: Asked = []
    for problem, place in sample:
        if sum(len(some) for _, some in asked) + len(place) * (len(place) - 1) > count:
            break
        asked.append((problem, _first(place, count)))
    if not asked:
        problem, place = sample[0]
        return [(problem, _first(place, count))]
    return asked[: 1 << len(asked).bit_length() - 1]


def _first(place: IntArray, count: int) -> IntArray:
    """The first comparisons of distinct texts [d], by position: [count, 2], or all where there are fewer."""
    n = len(place)
    first, second = np.divmod(np.arange(min(n * n, 2 * count + 2)), n)  # of [d, d]: half may be on the diagonal
    pairs: IntArray = place[np.stack([first, second], axis=1)[first != second][:count]]
    return pairs


def _timed(judge: Judge, asked: Asked) -> tuple[float, int, bool]:
    """Seconds that the judge takes to answer, the tokens that it encodes, and whether it answers at all."""
    kernel = _kernel(judge)
    before = kernel.usage.tokens if kernel else 0
    if hasattr(kernel, "forget"):
        kernel.forget()
    fresh = [(replace(problem), pairs) for problem, pairs in asked]  # a judge remembers the problems that it has seen
    start = time.perf_counter()
    answers = judge.judge(fresh)
    seconds = time.perf_counter() - start
    answered = any(bool(np.isfinite(np.asarray(log_odds)).any()) for log_odds in answers)
    return seconds, kernel.usage.tokens - before if kernel else 0, answered
