"""Plans the ranking of a file: what it costs with each strategy."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import islice
from typing import TYPE_CHECKING

from flame_rank.judges.base import Judge
from flame_rank.plan.probe import Probe, by_candidate, probe
from flame_rank.plan.rounds import Rounds, rounds
from flame_rank.ranking.dedupe import How, distinct, representatives
from flame_rank.records import Problem
from strategies.base import Counted, IntArray

if TYPE_CHECKING:  # they import jax, which a function as the judge does without
    from flame_rank.judges.language_model import LanguageModelJudge
    from flame_rank.plan.runs import Encoded

TOGETHER = 256  # problems that are tokenised at once
PROBED = 16  # problems that a probe takes its comparisons from


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The cost of ranking all problems with one strategy.

    Attributes:
      strategy: name of the strategy.
      least, most: the number of comparisons; both are equal if it does not depend on the judge's answers.
      tokens: the tokens to encode. For a decoder each distinct piece counts once, and again if the kernel's cache was
        emptied in between; for a T5 whole texts count. For a judge behind a server these are the tokens that are read
        and written, as many per comparison as in the probe. None for other judges.
      programs: the number of distinct shapes (level, prefix bucket, own bucket, rows) that are compiled.
      estimated: whether the pairs depend on answers or on random choices; tokens, programs and seconds are then those
        of a simulated run over candidates of random qualities.
      sampled: number of problems in that run; None if it covered all.
      seconds: predicted from the probe, compiling included; None if there is no probe.
      cost: the cost of these tokens, if the judge is behind a server and has a price.
    """

    strategy: str
    least: int
    most: int
    tokens: int | None
    programs: int | None
    estimated: bool
    sampled: int | None
    seconds: float | None
    cost: float | None = None


@dataclass(frozen=True, kw_only=True)
class Plans:
    """The plans of a file, and the judge and problems that they are for.

    Attributes:
      judge: name of the judge.
      pointwise: whether the judge is asked the same comparisons by every strategy.
      problems, candidates: the numbers of problems and of candidates in the file.
      distinct: number of candidates without repetitions.
      long: the number of all possible comparisons that are longer than max_length tokens.
      on_long: how the judge treats these.
    """

    judge: str
    pointwise: bool
    problems: int
    candidates: int
    distinct: int
    long: int
    max_length: int | None
    on_long: str | None
    probe: Probe
    plans: tuple[Plan, ...]


def plan(
    problems: Iterable[Problem],
    judge: Judge,
    strategies: Sequence[Counted],
    *,
    dedupe: How = "exact",
    batch: int = 128,
) -> Plans:
    """Plans the ranking of problems, which are read as a stream.

    Args:
      strategies: the strategies to plan for; they make no difference for a pointwise judge.
      dedupe: which candidates count as the same.
      batch: comparisons that are collected for one call of the judge, as in Reranker.

    Raises:
      UserError: the input is wrong, or a comparison of the probe is too long and `on_long` is "fail".
    """
    if judge.pointwise:
        from strategies.pointwise import Pointwise

        asked: list[Counted] = [Pointwise(budget=getattr(strategy, "budget", None)) for strategy in strategies]
    else:
        asked = list(strategies)
    rounds_of = [cache(partial(rounds, strategy)) for strategy in asked]
    local, runs = _local(judge), None
    if local is not None:
        from flame_rank.plan.runs import Runs

        runs = Runs(local, rounds_of, batch)
    sizes: Counter[int] = Counter()  # number of distinct candidates -> problems
    candidates = 0
    probed: list[tuple[Problem, IntArray]] = []
    source = iter(problems)
    while taken := list(islice(source, TOGETHER)):
        firsts = [representatives(distinct(problem, dedupe)) for problem in taken]
        sizes.update(map(len, firsts))
        candidates += sum(map(len, taken))
        several = ((problem, place) for problem, place in zip(taken, firsts, strict=True) if len(place) > 1)
        probed += islice(several, PROBED - len(probed))
        if runs is not None:
            runs.add(taken, firsts)
    timed = probe(judge, probed, by_token=runs is not None)
    encoded = runs.finish() if runs else [None] * len(asked)
    plans = [_plan(*inputs, judge, sizes, timed) for inputs in zip(asked, rounds_of, encoded, strict=True)]
    return Plans(
        judge=judge.name,
        pointwise=judge.pointwise,
        problems=sizes.total(),
        candidates=candidates,
        distinct=sum(n * count for n, count in sizes.items()),
        long=runs.long if runs else 0,
        max_length=local.kernel.max_length if local else None,
        on_long=local.on_long if local else None,
        probe=timed,
        plans=tuple(replace(planned, strategy=given.name) for planned, given in zip(plans, strategies, strict=True)),
    )


def _plan(
    strategy: Counted,
    asked: Callable[[int], Rounds],
    encoded: "Encoded | None",
    judge: Judge,
    sizes: Counter[int],
    timed: Probe,
) -> Plan:
    """Makes the plan for one strategy; `sizes` maps the number of distinct candidates to the number of problems."""
    bounds = {n: strategy.comparisons(n) for n in sizes}
    least, most = (sum(count * bounds[n][end] for n, count in sizes.items()) for end in (0, 1))
    if encoded is not None:
        units = encoded.tokens
    elif by_candidate(judge):
        units = sum(n * count for n, count in sizes.items() if n > 1)
    else:
        units = sum(count * sum(map(len, asked(n).pairs)) for n, count in sizes.items())
    seconds = None
    if timed.seconds is not None:
        # The shapes of a run without a simulation are not known: there are at least those of the probe.
        seconds = timed.seconds * units + timed.compiling * (encoded.programs if encoded else timed.shapes)
    tokens = encoded.tokens if encoded else None if timed.tokens is None else round(timed.tokens * units)
    return Plan(
        strategy=strategy.name,
        least=least,
        most=most,
        tokens=tokens,
        programs=encoded.programs if encoded else None,
        estimated=timed.tokens is not None or not all(asked(n).certain for n in sizes),
        sampled=encoded.sampled if encoded else None,
        seconds=0.0 if most == 0 else seconds,
        cost=None if timed.cost is None else timed.cost * units,
    )


def _local(judge: Judge) -> "LanguageModelJudge | None":
    """Returns the judge if it has a local model, whose tokens and programs can be counted; otherwise None."""
    if not hasattr(judge, "kernel"):
        return None
    from flame_rank.judges.language_model import LanguageModelJudge

    return judge if isinstance(judge, LanguageModelJudge) else None
