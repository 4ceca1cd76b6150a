"""Times a judge on a few comparisons."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from flame_rank.errors import UserError
from flame_rank.judges.base import Judge
from flame_rank.records import Problem
from strategies.base import IntArray

FEW, MANY = 8, 128  # comparisons; MANY, the reranker's batch, is used if it takes a few seconds at most
WORK = 2**31  # limit of weights x comparisons on a CPU; an accelerator always gets MANY, so that it is busy

Asked = list[tuple[Problem, IntArray]]


@dataclass(frozen=True, kw_only=True)
class Probe:
    """The result of timing a judge on a few comparisons.

    Attributes:
      comparisons: number of comparisons that the judge was asked, including the warm-up.
      seconds: the seconds per unit of work: a token, a candidate if the judge rates candidates or looks at the pool, or
        a comparison; None if the judge gave no answer.
      compiling: the seconds to compile for one shape (level, prefix bucket, own bucket, rows).
      shapes: the number of shapes that were compiled.
      problem: why `seconds` is None.
      tokens: the tokens that are read and written per unit of work, as a server counts them; None for a judge that is
        not behind a server.
      cost: the cost per unit of work, in the currency of the user's price; None without a price.
    """

    comparisons: int = 0
    seconds: float | None = None
    compiling: float = 0.0
    shapes: int = 0
    problem: str | None = None
    tokens: float | None = None
    cost: float | None = None


def probe(judge: Judge, sample: Sequence[tuple[Problem, IntArray]], *, by_token: bool) -> Probe:
    """Asks the judge a few comparisons, first to warm it up and then to time it.

    Args:
      sample: problems, each with the indices [d] of the first candidate with each distinct text; d is 2 or more.
      by_token: whether the unit of work is a token, because the tokens of a whole run can be predicted.

    Raises:
      UserError: a comparison is too long and `on_long` is "fail".
    """
    if not sample:
        return Probe()
    kernel = _kernel(judge)
    count = _count(kernel)
    if by_candidate(judge):
        asked = _rings(sample, sum(len(place) for _, place in sample) if judge.pool_aware else count)
    else:
        asked = _pairs(sample, count)
    # A function may cost money per call, and nothing is compiled for it: one comparison warms it up.
    warm = asked if kernel or judge.pool_aware else [(asked[0][0], asked[0][1][:1])]
    try:
        shapes = len(kernel.usage.shapes) if kernel else 0
        to_warm, _, _ = _timed(judge, warm)
        shapes = len(kernel.usage.shapes) - shapes if kernel else 0
        spent = _spent(judge)
        seconds, tokens, answered = _timed(judge, asked)
    except UserError:
        raise
    except Exception as error:  # what a user's judge raises can be anything
        return Probe(problem=f"the judge failed ({type(error).__name__}: {error})"[:300])
    comparisons = sum(len(pairs) for _, pairs in asked)
    in_all = comparisons + sum(len(pairs) for _, pairs in warm)
    if not answered:
        return Probe(comparisons=in_all, problem="the judge answered no comparison")
    if by_token:
        units = tokens
    else:
        units = sum(len({*problem.texts}) for problem, _ in asked) if by_candidate(judge) else comparisons
    each = {name: (total - spent[name]) / max(1, units) for name, total in _spent(judge).items()}
    return Probe(
        comparisons=in_all,
        seconds=seconds / max(1, units),
        compiling=max(0.0, to_warm - seconds) / shapes if shapes else 0.0,
        shapes=shapes,
        tokens=each.get("tokens"),
        cost=each.get("cost"),
    )


def _kernel(judge: Judge) -> Any:
    """Returns the judge's kernel if it counts what it encodes; otherwise None."""
    kernel = getattr(judge, "kernel", None)
    return kernel if hasattr(kernel, "usage") else None


def _spent(judge: Judge) -> dict[str, float]:
    """Returns the tokens that a server has counted so far, and their cost if it is known."""
    usage: Any = getattr(judge, "usage", None)
    if usage is None:
        return {}
    cost = usage.cost(getattr(judge, "price", None))
    return {"tokens": usage.tokens, **({} if cost is None else {"cost": cost})}


def _count(kernel: Any) -> int:
    """Counts the comparisons that are asked."""
    if kernel is None:
        return FEW
    on_cpu = kernel.mesh.devices.flat[0].platform == "cpu"
    return min(MANY, max(FEW, WORK // kernel.parameters)) if on_cpu else MANY


def by_candidate(judge: Judge) -> bool:
    """Tells whether a judge's work grows with the candidates instead of the comparisons."""
    return judge.pointwise or judge.pool_aware


def _rings(sample: Sequence[tuple[Problem, IntArray]], count: int) -> Asked:
    """Pairs each candidate except the first with the first: of the first problems, `count` comparisons at most, but
    those of one problem at least."""
    rings = [(problem, np.stack([place[1:], np.full(len(place) - 1, place[0])], axis=1)) for problem, place in sample]
    together = np.cumsum([len(pairs) for _, pairs in rings])
    return rings[: max(1, int((together <= count).sum()))]


def _pairs(sample: Sequence[tuple[Problem, IntArray]], count: int) -> Asked:
    """Returns all comparisons of the first problems, `count` at most; if the first problem alone has more, its first
    `count` comparisons.

    The number of problems is a power of two, so that fewer programs are compiled.
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
    """Returns the first `count` comparisons of distinct texts [d], [count, 2], or all if there are fewer."""
    n = len(place)
    first, second = np.divmod(np.arange(min(n * n, 2 * count + 2)), n)  # of [d, d]: half may be on the diagonal
    pairs: IntArray = place[np.stack([first, second], axis=1)[first != second][:count]]
    return pairs


def _timed(judge: Judge, asked: Asked) -> tuple[float, int, bool]:
    """Returns the seconds that the judge takes, the tokens that it encodes, and whether it answers at all."""
    kernel = _kernel(judge)
    before = kernel.usage.tokens if kernel else 0
    if hasattr(kernel, "forget"):
        kernel.forget()
    # copies, because a judge remembers the problems that it has seen
    fresh = [(replace(problem), pairs) for problem, pairs in asked]
    start = time.perf_counter()
    answers = judge.judge(fresh)
    seconds = time.perf_counter() - start
    answered = any(bool(np.isfinite(np.asarray(log_odds)).any()) for log_odds in answers)
    return seconds, kernel.usage.tokens - before if kernel else 0, answered
