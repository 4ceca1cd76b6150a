"""From judgements to scores: least squares on the graph of comparisons.

HodgeRank (Jiang, Lim, Yao, Ye: Statistical ranking and combinatorial Hodge theory, 2011): the scores whose
differences fit the log-odds best. On complete data this is the mean of a candidate's row of log-odds.
"""

import numpy as np
import numpy.typing as npt

from strategies.base import DECIMALS, FloatArray, IntArray, Standing

CERTAIN = 1e6  # nats: what an infinite log-odds counts as, so that one such answer does not make scores NaN


def standing(asked: IntArray, log_odds: FloatArray, n: int) -> Standing:
    """The standing that judgements give.

    Order is by score to 9 decimals, ties by position; p_best is the softmax of the scores, for two candidates
    with mean log-odds l exactly sigmoid(l); decided means that the valid judgements connect all candidates.

    Args:
      asked: [M, 2] int64, the comparisons (first, second).
      log_odds: [M] float64, nats that the first is the better one; NaN = invalid and left out.
      n: number of candidates.
    """
    scores, decided = _fit(asked, log_odds, n)
    weights = np.exp(scores - scores.max())
    return Standing(
        order=np.argsort(-np.round(scores, DECIMALS), kind="stable"),
        scores=scores,
        p_best=weights / weights.sum(),
        decided=decided,
    )


def least_squares(asked: IntArray, log_odds: FloatArray, n: int) -> FloatArray:
    """The scores whose differences fit the valid log-odds best, of all such the ones of least norm.

    The two orders of a pair count as one observation, (l_ij - l_ji) / 2, or as the one of them that is valid.
    Each part of the graph that valid judgements connect is centred on 0; a candidate without any has score 0.

    Args:
      asked: [M, 2] int64, the comparisons (first, second), first != second; a comparison asked again is
        averaged.
      log_odds: [M] float64, nats that the first is the better one; NaN = invalid and left out; infinite
        values, which a judge should have clipped, count as +-CERTAIN.
      n: number of candidates.

    Returns:
      [n] float64, nats.
    """
    return _fit(asked, log_odds, n)[0]


def clipped(log_odds: FloatArray) -> FloatArray:
    """Log-odds [M] without infinities; NaN stays."""
    return np.clip(log_odds, -CERTAIN, CERTAIN)


def _fit(asked: IntArray, log_odds: FloatArray, n: int) -> tuple[FloatArray, bool]:
    """Scores [n], and whether the valid judgements connect all candidates."""
    valid = ~np.isnan(log_odds)
    cell = (asked[:, 0] * n + asked[:, 1])[valid]
    total = np.bincount(cell, weights=clipped(log_odds[valid]), minlength=n * n).reshape(n, n)
    count = np.bincount(cell, minlength=n * n).reshape(n, n)
    mean = total / np.maximum(count, 1)  # [n, n], 0 where nothing was asked
    orders = (count > 0).astype(np.int64)
    orders = orders + orders.T  # [n, n], how many orders of the pair are known: 0, 1, 2
    observed = (mean - mean.T) / np.maximum(orders, 1)  # [n, n], antisymmetric
    edges = orders > 0
    flow = observed.sum(axis=1)  # [n]
    if edges.sum() == n * (n - 1):
        return flow / n, True
    part = _parts(edges)
    same = part[:, None] == part[None, :]
    # The Laplacian is singular on each part's constant vector. Adding ones over the part makes it invertible and gives
    # that direction the solution 0, because the flow of a part sums to 0.
    laplacian = np.diag(edges.sum(axis=1)) - edges
    return np.linalg.solve(laplacian + same, flow), bool(same.all())


def _parts(edges: npt.NDArray[np.bool_]) -> IntArray:
    """For each node of an undirected graph [n, n] the lowest node that it is connected to: [n]."""
    n = len(edges)
    part = np.arange(n)
    while True:
        lowest = np.minimum(part, np.where(edges, part[None, :], n).min(axis=1))
        lowest = lowest[lowest]  # also halves the way along a chain
        if np.array_equal(lowest, part):
            return part
        part = lowest
