"""Turns judgements into observations of differences of quality, and fits scores to them."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order

from strategies.base import FEW, FloatArray, IntArray
from strategies.laplacian import centred, differences, solve

CERTAIN = 1e6  # nats: the value used for infinite log-odds, so that such an answer does not make scores NaN
LARGE = 400  # candidates; for more, no [n, n] array is made, so that memory grows with the comparisons only


@dataclass(frozen=True, kw_only=True, eq=False)
class Observations:
    """Judgements with the two orders of a pair combined.

    Attributes:
      pairs: [P, 2] int64, (first, second); for a pair with both orders the lower index first.
      log_odds: [P] float64, nats that the first is better: (l_ij - l_ji) / 2, or the only valid one of the two.
      single: [P] bool, whether only one order is known, so that the log-odds include a bias for the first position.
      n: number of candidates.
    """

    pairs: IntArray
    log_odds: FloatArray
    single: npt.NDArray[np.bool_]
    n: int

    @property
    def decided(self) -> bool:
        """Whether the judgements connect all candidates."""
        if len(self.pairs) == self.n * (self.n - 1) // 2:
            return True
        return not _parts(self.pairs, self.n).any()


def observe(asked: IntArray, log_odds: FloatArray, n: int) -> Observations:
    """Turns judgements [M, 2], [M] into observations. NaN is left out, repeated comparisons are averaged, and infinite
    log-odds, which a judge should have clipped, count as +-CERTAIN."""
    asked, valid = np.asarray(asked, np.int64), ~np.isnan(log_odds)
    if not valid.all():
        asked, log_odds = asked[valid], log_odds[valid]
    # Problems with equally many candidates are often asked the same: what follows from that alone is computed once.
    design = _known_design(asked.tobytes(), n) if len(asked) <= FEW * (FEW - 1) else _design(asked, n)
    mean = np.bincount(design.at, clipped(log_odds), 2 * len(design.pairs)).reshape(2, -1) / design.count
    both = (mean[0] - mean[1]) / 2
    return Observations(
        pairs=design.pairs,
        log_odds=np.where(design.swapped, mean[1], np.where(design.single, mean[0], both)),
        single=design.single,
        n=n,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Design:
    """The pairs of M comparisons.

    Attributes:
      at: [M] int64, the number of each comparison's pair (low, high); P is added for the order (high, low).
      count: [2, P], the comparisons of each order, at least 1.
      swapped: [P] bool, whether only the order (high, low) was asked.
      pairs, single: as in Observations.
    """

    at: IntArray
    count: IntArray
    swapped: npt.NDArray[np.bool_]
    pairs: IntArray
    single: npt.NDArray[np.bool_]


@lru_cache(maxsize=128)
def _known_design(asked: bytes, n: int) -> _Design:
    design = _design(np.frombuffer(asked, np.int64).reshape(-1, 2), n)
    for array in (design.pairs, design.single):  # they serve many problems
        array.flags.writeable = False
    return design


def _design(asked: IntArray, n: int) -> _Design:
    first, second = asked.T
    low, high = np.minimum(first, second), np.maximum(first, second)
    pair, place = np.unique(low * n + high, return_inverse=True)
    at = np.where(first < second, place, len(pair) + place)
    count = np.bincount(at, minlength=2 * len(pair)).reshape(2, -1)
    swapped = count[0] == 0
    pairs = np.stack([pair // n, pair % n], axis=1)
    return _Design(
        at=at,
        count=np.maximum(count, 1),
        swapped=swapped,
        pairs=np.where(swapped[:, None], pairs[:, ::-1], pairs),
        single=(count == 0).any(axis=0),
    )


def clipped(log_odds: FloatArray) -> FloatArray:
    """Replaces infinite log-odds [M] by +-CERTAIN; NaN stays."""
    return np.clip(log_odds, -CERTAIN, CERTAIN)


def least_squares(observed: Observations) -> FloatArray:
    """Computes the scores of least norm whose differences fit the log-odds best.

    HodgeRank (Jiang, Lim, Yao, Ye: Statistical ranking and combinatorial Hodge theory, 2011). On complete data this is
    the mean of a candidate's row of log-odds. Each part of the graph that valid judgements connect is centred on 0; a
    candidate without any judgement has score 0.

    Returns:
      [n] float64, nats.
    """
    n = observed.n
    flow = flow_of(observed)
    if len(observed.pairs) == n * (n - 1) // 2:
        return flow / n
    part = _parts(observed.pairs, n)
    if n > LARGE:
        return centred(_by_descent(observed, along_a_tree(observed)), part)
    # The Laplacian is singular on each part's constant vector. Adding ones over the part makes it invertible and gives
    # that direction the solution 0, because the flow of a part sums to 0.
    return np.linalg.solve(laplacian_of(observed) + (part[:, None] == part[None, :]), flow)


def flow_of(observed: Observations) -> FloatArray:
    """Sums the log-odds in favour of each candidate: [n]."""
    n, y = observed.n, observed.log_odds
    first, second = observed.pairs.T
    return np.asarray(np.bincount(first, y, n) - np.bincount(second, y, n), np.float64)


def laplacian_of(observed: Observations) -> FloatArray:
    """Builds the Laplacian [n, n] of the graph of pairs."""
    n = observed.n
    laplacian = np.zeros((n, n))
    first, second = observed.pairs.T
    laplacian[first, second] = laplacian[second, first] = -1.0
    laplacian[np.arange(n), np.arange(n)] = np.bincount(observed.pairs.ravel(), minlength=n)
    return laplacian


def _parts(pairs: IntArray, n: int) -> IntArray:
    """Returns for each candidate the lowest candidate that pairs [P, 2] connect it to: [n]."""
    part = np.arange(n)
    while True:
        low = part.copy()
        lowest = np.minimum(part[pairs[:, 0]], part[pairs[:, 1]])
        for side in pairs.T:
            np.minimum.at(low, side, lowest)
            np.minimum.at(low, part[side], lowest)
        low = low[low]  # also halves the distance along a chain
        if np.array_equal(low, part):
            return part
        part = low


def _by_descent(observed: Observations, start: FloatArray) -> FloatArray:
    """Computes the scores [n] that fit best, from a first guess that may be exact already."""
    design, y = differences(observed.pairs, observed.n), observed.log_odds
    size = abs(design)
    noise = np.finfo(float).eps * np.linalg.norm(size.T @ (abs(y) + size @ abs(start)))
    return start + solve(design, np.ones(len(y)), 0.0, design.T @ (y - design @ start), rtol=1e-12, atol=noise)


def along_a_tree(observed: Observations) -> FloatArray:
    """Computes scores [n] that fit the log-odds along a spanning tree of each part exactly, and so fit all log-odds if
    they do not contradict each other."""
    n = observed.n
    low, high = np.sort(observed.pairs, axis=1).T  # in ascending order, as `observe` leaves them
    roots = np.flatnonzero(_parts(observed.pairs, n) == np.arange(n))
    rows, columns = np.append(low, np.full(len(roots), n)), np.append(high, roots)  # n: a node above all roots
    graph = csr_array((np.ones(len(rows)), (rows, columns)), shape=(n + 1, n + 1))
    visited, before = breadth_first_order(graph, n, directed=False)
    node = visited[1:].astype(np.int64)
    parent = before[node].astype(np.int64)
    at = np.searchsorted(low * n + high, np.minimum(node, parent) * n + np.maximum(node, parent))
    at = np.where(parent < n, at, len(low))  # the pair of each step down the tree; none for the step to a root
    nats, first = np.append(observed.log_odds, 0.0)[at], np.append(observed.pairs[:, 0], n)[at]
    steps = np.where(first == node, nats, -nats)
    scores = [0.0] * (n + 1)
    for i, above, step in zip(node.tolist(), parent.tolist(), steps.tolist(), strict=True):
        scores[i] = scores[above] + step
    return np.array(scores[:n])
