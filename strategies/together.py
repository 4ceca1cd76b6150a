"""Computes the standings of many problems at once if the same comparisons were asked for each, all in one round.

The numbers are those of `posterior.standing` to the last bit: every sum is taken in the same order. What is saved is
numpy's cost per call, which is most of the time that a problem with few candidates takes.
"""

from functools import cache

import numpy as np

from strategies import chances, posterior
from strategies.base import DECIMALS, FloatArray, IntArray, Standing
from strategies.observations import clipped, observe

_BLOCK = 64  # problems whose integrands are in memory at the same time


def standings(asked: IntArray, log_odds: FloatArray, n: int, top: int = 1) -> list[Standing]:
    """Computes `posterior.standing` for B problems of n candidates.

    Args:
      asked: [M, 2] int64, the comparisons (first, second), the same for all problems.
      log_odds: [B, M] float64, nats that the first is better; NaN = invalid and left out.
      n: number of candidates.
      top: number of first places that `p_top` is about.
    """
    results: list[Standing | None] = [None] * len(log_odds)
    alike = n > 2 and top == 1 and len(asked) == n * (n - 1)  # every pair in both orders
    valid = np.flatnonzero(~np.isnan(log_odds).any(axis=1)) if alike else np.empty(0, np.int64)
    for start in range(0, len(valid), _BLOCK):
        block = valid[start : start + _BLOCK]
        for k, standing in zip(block.tolist(), _complete(asked, log_odds[block], n), strict=True):
            results[k] = standing
    return [
        posterior.standing(asked, own, n, top) if standing is None else standing
        for standing, own in zip(results, log_odds, strict=True)
    ]


def _complete(asked: IntArray, log_odds: FloatArray, n: int) -> list[Standing]:
    """Computes the standings of B problems of which every pair was asked in both orders, and no judgement failed."""
    place, pairs = _places(asked.tobytes(), n)
    both = np.zeros_like(log_odds)
    both[:, place] += clipped(log_odds)
    y = (both[:, : len(pairs)] - both[:, len(pairs) :]) / 2  # [B, P]
    gained, lost = np.zeros((2, n, len(y)))
    for k, (i, j) in enumerate(pairs.tolist()):
        gained[i] += y[:, k]
        lost[j] += y[:, k]
    flow = np.ascontiguousarray((gained - lost).T)  # [B, n]
    scores = flow / n
    mean, variance, transitive = _posteriors(y, flow, n)
    p_best = np.exp(mean - mean.max(axis=1, keepdims=True))
    p_best = p_best / p_best.sum(axis=1, keepdims=True)
    rest = np.flatnonzero(~transitive)
    if len(rest):
        p_best[rest] = _p_best(mean[rest], variance[rest], posterior.WORTH + y.shape[1])
    order = np.argsort(-np.round(scores, DECIMALS), axis=1, kind="stable")
    return [
        Standing(order=own_order, scores=own_scores, p_best=own_p, decided=True)
        for own_order, own_scores, own_p in zip(order, scores, p_best, strict=True)
    ]


@cache
def _places(asked: bytes, n: int) -> tuple[IntArray, IntArray]:
    """Returns the place of each comparison [M] in [2P], the orders (low, high) before (high, low), and the P pairs."""
    comparisons = np.frombuffer(asked, np.int64).reshape(-1, 2)
    pairs = observe(comparisons, np.zeros(len(comparisons)), n).pairs
    number = {pair: k for k, pair in enumerate(map(tuple, pairs.tolist()))}
    place = [number[i, j] if i < j else len(pairs) + number[j, i] for i, j in comparisons.tolist()]
    return np.array(place, np.int64), pairs


def _posteriors(y: FloatArray, flow: FloatArray, n: int) -> tuple[FloatArray, FloatArray, np.ndarray]:
    """Computes `posterior.posterior` of B problems.

    Args:
      y: [B, P] float64, nats, the log-odds of each pair.
      flow: [B, n] float64, nats, their sums in favour of each candidate.

    Returns:
      the means [B, n] and variances [B, n] of the qualities, and whether the judgements are transitive [B].
    """
    filtered, likely, drawn = posterior.complete_grid(n)
    squares = _products(y[:, None, :], y[:, :, None])  # [B]
    power = flow**2
    least = np.maximum(squares - (power / float(n)).sum(axis=1), 0.0)
    left = np.maximum(squares[:, None] - np.matmul(filtered, power[:, :, None])[:, :, 0], least[:, None])  # [B, K]
    degrees = posterior.WORTH + y.shape[1]
    unexplained = posterior.WORTH * posterior.NOISE + left
    likely = likely - degrees / 2 * np.log(unexplained)
    share = np.exp(likely - likely.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    noises = unexplained / degrees
    shrunk = np.matmul(share[:, None, :], drawn)[:, 0]  # [B, n]
    variance = np.matmul((share * noises)[:, None, :], drawn)[:, 0]
    mean = flow * shrunk
    mean = mean - mean.mean(axis=1, keepdims=True)
    spare = y.shape[1] - (n - 1)
    return mean, variance, (least <= posterior.ROUNDING**2 * squares) & (spare > 0)


def _products(rows: FloatArray, columns: FloatArray) -> FloatArray:
    return np.asarray(np.matmul(rows, columns)[:, 0, 0])


def _p_best(mean: FloatArray, variance: FloatArray, degrees: float) -> FloatArray:
    """Computes `Posterior.p_best` of B problems: [B, n]."""
    p = np.zeros_like(mean)
    deviation = np.sqrt(variance)
    for scale in chances.scales(degrees):
        p += chances.p_best_of_each(mean, deviation * scale)
    return np.asarray(p / p.sum(axis=1, keepdims=True))
