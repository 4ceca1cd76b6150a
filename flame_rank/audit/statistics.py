"""Computes figures over problems: ratios of sums, their bootstrap intervals over problems, and the smallest effect that
such an audit would detect.
"""

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
      name: what is measured.
      unit: "share" (of `n`), or "nats".
      value: None if there are no data for it.
      low, high: the 95 % bootstrap interval over problems.
      n: the number of judgements, pairs or triples.
      null: the value for a judge without this fault; None for a figure that is not tested.
      p: the two-sided probability that a value is as far from `null` by chance.
      q: p, corrected for the number of figures that are tested (Benjamini and Hochberg, 1995).
      detectable: the smallest distance from `null` that four of five such audits would detect.
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
      above, below: [P] what each problem adds to the two sums.
      n: the number of judgements, pairs or triples.
      seed: the seed of the bootstrap resamples.
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
    p = max(p, 2.0 ** (1 - count))  # resamples of few problems, or of equal ones, know nothing of others
    return Figure(**{**vars(figure), "p": p, "detectable": _POWER * error})


def corrected(figures: Sequence[Figure]) -> list[Figure]:
    """Adds q to the figures that are tested."""
    from scipy.stats import false_discovery_control

    tested = [figure.p for figure in figures if figure.p is not None]
    q = iter(false_discovery_control(tested).tolist() if tested else [])
    return [Figure(**{**vars(f), "q": next(q)}) if f.p is not None else f for f in figures]
