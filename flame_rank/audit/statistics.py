"""Figures over problems: a ratio of sums with an interval that is clustered by problem, and what it could have seen."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from strategies.base import FloatArray

RESAMPLES = 2000  # of the problems
_POWER = 1.959964 + 0.841621  # standard errors that are seen with 80 % power at 5 %


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of an audit.

    Attributes:
      name: what it is.
      unit: "share" (of `n`), or "nats".
      value: None if there was nothing to compute it from.
      low, high: 95 % interval: bootstrap over problems.
      n: what it is counted over: judgements, pairs, triples.
      null: what it would be for a judge without this fault, for a figure that is tested; None for any other.
      p: two-sided probability of a value as far from `null` by chance.
      q: the same, corrected for the number of figures tested (Benjamini and Hochberg, 1995).
      detectable: the smallest distance from `null` that is seen in four of five such audits.
    """

    name: str
    unit: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    null: float | None = None
    p: float | None = None
    q: float | None = None
    detectable: float | None = None


def ratio(
    name: str,
    unit: str,
    above: Sequence[float] | FloatArray,
    below: Sequence[float] | FloatArray,
    *,
    n: int,
    seed: int,
    null: float | None = None,
) -> Figure:
    """Makes a figure that is a ratio of two sums over problems.

    Args:
      above, below: [P], what each problem adds to the two sums.
      n: what is counted.
      seed: seed of the resamples.
      null: the value of a judge without the fault; None if it is not tested.
    """
    over, under = np.asarray(above, np.float64), np.asarray(below, np.float64)
    if not len(over) or under.sum() <= 0:
        return Figure(name=name, unit=unit, value=None, null=null)
    value = float(over.sum() / under.sum())
    count = len(over)
    times = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)  # [R, P]
    sums = times @ under
    draws = (times @ over)[sums > 0] / sums[sums > 0]
    low, high = (float(edge) for edge in np.percentile(draws, [2.5, 97.5]))
    figure = Figure(name=name, unit=unit, value=value, low=low, high=high, n=n, null=null)
    if null is None or count < 2:
        return figure
    error = float(draws.std())
    p = math.erfc(abs(value - null) / error / math.sqrt(2)) if error > 0 else float(value == null)
    return Figure(**{**vars(figure), "p": p, "detectable": _POWER * error})


def corrected(figures: Sequence[Figure]) -> list[Figure]:
    """Adds q to the figures that are tested."""
    from scipy.stats import false_discovery_control

    tested = [figure.p for figure in figures if figure.p is not None]
    q = iter(false_discovery_control(tested).tolist() if tested else [])
    return [Figure(**{**vars(f), "q": next(q)}) if f.p is not None else f for f in figures]
