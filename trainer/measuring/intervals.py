"""Computes the bootstrap intervals of all figures that the trainer prints."""

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


def resampled_sums(counts: FloatArray, rng: np.random.Generator, *, resamples: int = 2000) -> FloatArray:
    """Draws B samples of G rows of `counts` [G, K] with replacement, and returns their sums [B, K]."""
    weights = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), resamples)  # [B, G]
    return np.asarray(weights @ counts, np.float64)


def percentiles(samples: FloatArray) -> tuple[float, float]:
    """Returns the ends of the 95 % percentile interval of bootstrap samples [B]; NaN samples are left out."""
    low, high = np.nanpercentile(samples, [2.5, 97.5])
    return float(low), float(high)
