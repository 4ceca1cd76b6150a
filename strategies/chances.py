"""Computes the probabilities that an uncertain quality is the highest of several, and that a set of K qualities is
the highest K."""

from functools import cache

import numpy as np
from scipy.special import chdtri, log_ndtr, logsumexp

from strategies.base import FloatArray, IntArray

_POINTS = 160  # grid points of the integral over the highest quality
_REACH = 6.0  # standard deviations that the grid extends to either side
_BLOCK = 4096  # candidates whose integrands are in memory at the same time
_RARE = -30.0  # nats; below, a probability is replaced by its first-order value


@cache
def scales(degrees: float) -> tuple[float, ...]:
    """Approximates a Student distribution by a mixture of equally probable normal distributions; returns their
    standard deviations."""
    if degrees > 200:
        return (1.0,)
    tail = (np.arange(4) + 0.5) / 4
    return tuple(np.sqrt(degrees / chdtri(degrees, tail)).tolist())


def p_best(mean: FloatArray, deviation: FloatArray) -> FloatArray:
    """Computes the probability [n] that each of n independent normal qualities is the highest."""
    low = (mean - _REACH * deviation).max()
    high = (mean + _REACH * deviation).max()
    able = _blocks(np.flatnonzero(mean + _REACH * deviation > low))
    p = np.zeros(len(mean))
    x, _ = _grid(low, high)
    below = [log_ndtr(_standard(x, mean, deviation, some)) for some in able]  # each [B, G]
    total = sum(block.sum(axis=0) for block in below)
    for some, block in zip(able, below, strict=True):
        # The density that this candidate has quality x and all others are below x.
        z = _standard(x, mean, deviation, some)
        p[some] = np.exp(total - block - z**2 / 2).sum(axis=1) / deviation[some]
    return np.asarray(p / p.sum())


def p_best_of_each(mean: FloatArray, deviation: FloatArray) -> FloatArray:
    """Computes `p_best` [B, n] of B problems with few candidates each from means and deviations [B, n]. The results are
    the same, because a candidate without a chance adds 0 to each sum."""
    low = (mean - _REACH * deviation).max(axis=1)
    high = (mean + _REACH * deviation).max(axis=1)
    able = mean + _REACH * deviation > low[:, None]  # [B, n]
    x = np.ascontiguousarray(np.linspace(low, high, _POINTS, axis=1))  # [B, G]
    z = (x[:, None] - mean[:, :, None]) / deviation[:, :, None]  # [B, n, G]
    below = log_ndtr(z)
    below[~able] = 0.0
    density = below.sum(axis=1)[:, None] - below
    density -= np.square(z, out=z) / 2
    p = np.exp(density, out=density).sum(axis=2) / deviation
    p[~able] = 0.0
    return np.asarray(p / p.sum(axis=1, keepdims=True))


def p_top(mean: FloatArray, deviation: FloatArray, inside: IntArray, outside: IntArray) -> float:
    """Computes the probability that the lowest of the qualities with the indices `inside` exceeds the highest of those
    with the indices `outside`; all are independent and normal."""
    low = (mean - _REACH * deviation)[inside].min()
    high = (mean + _REACH * deviation)[inside].min()  # beyond it the lowest of them never is
    x, step = _grid(low, high)
    below = sum(log_ndtr(_standard(x, mean, deviation, some)).sum(axis=0) for some in _blocks(outside))
    within = _blocks(inside)
    above = [log_ndtr(-_standard(x, mean, deviation, some)) for some in within]
    total = sum(block.sum(axis=0) for block in above)
    at = np.zeros(_POINTS)
    for some, block in zip(within, above, strict=True):
        z = _standard(x, mean, deviation, some)
        at += (np.exp(total - block - z**2 / 2) / (deviation[some, None] * np.sqrt(2 * np.pi))).sum(axis=0)
    return float(min((at * np.exp(below)).sum() * step, 1.0))


def _grid(low: float, high: float) -> tuple[FloatArray, float]:
    points = np.linspace(low, high, _POINTS)
    return points, float(points[1] - points[0])


def _blocks(candidates: IntArray) -> list[IntArray]:
    return [candidates[i : i + _BLOCK] for i in range(0, len(candidates), _BLOCK)]


def _standard(x: FloatArray, mean: FloatArray, deviation: FloatArray, some: IntArray) -> FloatArray:
    """Computes by how many standard deviations the points x [G] are above the qualities of some candidates: [B, G]."""
    z: FloatArray = (x - mean[some, None]) / deviation[some, None]
    return z


def softmax_top(scores: FloatArray, inside: IntArray) -> float:
    """Computes the probability that the first k candidates drawn by softmax without replacement are this set, in any
    order.

    The draws are equivalent to a race of exponential times with these rates (Yellott 1977): all inside arrive before
    the first one outside, which arrives at time -log(u) / (sum of the rates outside) for a uniform u.
    """
    outside = np.delete(scores, inside)
    if not len(outside):
        return 1.0
    u = (np.arange(2000) + 0.5) / 2000
    waits = -np.log(u)  # in units of the mean time to the first outside
    total = logsumexp(outside)

    def came(some: IntArray) -> FloatArray:
        ahead = (scores[some] - total)[:, None]  # [B, 1], the log of a rate in that unit
        # For a very low rate the probability of having arrived is rate times time, computed as a log.
        rare, usual = ahead + np.log(waits), -np.expm1(-np.exp(np.clip(ahead, _RARE, -_RARE)) * waits)
        return np.asarray(np.where(ahead < _RARE, rare, np.log(usual)).sum(axis=0))

    return float(np.exp(sum(map(came, _blocks(inside)))).mean())
