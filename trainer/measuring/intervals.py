"""Bootstrap intervals of means: every interval that the trainer prints is computed here."""

from typing import NamedTuple

import numpy as np
from scipy.stats import bootstrap

from strategies.base import FloatArray

RESAMPLES = 10_000
_BATCH = 500  # resamples in memory at once


class Interval(NamedTuple):
    """A mean, and the ends of its 95 % interval."""

    mean: float
    low: float
    high: float


def mean_interval(values: FloatArray, *, seed: int = 0) -> Interval:
    """Computes the mean of values [n] and its 95 % percentile bootstrap interval (Efron, 1979)."""
    if len(values) < 2:  # scipy refuses a single value, whose every resample is itself
        return Interval(*[float(values.mean())] * 3)
    rng = np.random.default_rng(seed)
    low, high = bootstrap(
        (values,), np.mean, n_resamples=RESAMPLES, batch=_BATCH, method="percentile", rng=rng
    ).confidence_interval
    return Interval(float(values.mean()), float(low), float(high))
