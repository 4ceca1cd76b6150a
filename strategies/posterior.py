"""What judgements say of the candidates' qualities: how far each is from the others, and which may be the best.

The model: a candidate has a quality s, and a judgement of (first, second) is s_first - s_second plus a noise of the
pair, plus a bias for the first place where only one order of the pair was asked. Qualities and noise are normal, their
variances unknown, and integrated out: their ratio over a grid, the noise by its conjugate prior, so that what is left
is a Student distribution. Bradley-Terry's model with log-odds in the place of verdicts.
"""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.special import chdtri, log_ndtr, logsumexp

from strategies.base import DECIMALS, FloatArray, IntArray, Standing

CERTAIN = 1e6  # nats: what an infinite log-odds counts as, so that one such answer does not make scores NaN

# A priori the noise of a pair is that of the logistic distribution, nats^2, worth one observation: the distribution
# under which log-odds l mean that the first is the better one with probability sigmoid(l).
NOISE, WORTH = np.pi**2 / 3, 1.0
RATIOS = 2.0 ** np.arange(-14, 6)  # variance of the noise over that of the qualities
# Under 1e-6 of what judgements say, their disagreement is rounding: such a judge has a quality for each candidate, and
# that it agrees with itself does not make it right.
ROUNDING = 1e-6
# The candidates' qualities are no sample of a normal distribution: some are right and some are wrong, and to draw the
# best towards the mean as its fit says would be too much. Half as much is calibrated (benchmark_strategies.py).
DRAWN = 0.5
SURE = 2.0  # a priori the logarithm of such a ratio is 0, give or take this
LARGE = 400  # candidates; above, correlations are left out and the ratio is taken to be 1: n^3 is too slow

_POINTS = 160  # of the integral over the best one's quality
_REACH = 6.0  # standard deviations to either side


@dataclass(frozen=True, kw_only=True, eq=False)
class Observations:
    """Judgements with the two orders of a pair as one.

    Attributes:
      pairs: [P, 2] int64, (first, second); for a pair with both orders the lower index first.
      log_odds: [P] float64, nats that the first is the better one: (l_ij - l_ji) / 2, or the one valid order.
      single: [P] bool, only one order is known, so that a bias for the first place is in it.
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
    """Judgements [M, 2], [M] as observations: NaN is left out, a comparison asked again is averaged, an infinite
    log-odds, which a judge should have clipped, counts as +-CERTAIN."""
    valid = ~np.isnan(log_odds)
    first, second = asked[valid].T
    low, high = np.minimum(first, second), np.maximum(first, second)
    pair, place = np.unique(low * n + high, return_inverse=True)
    at = np.where(first < second, place, len(pair) + place)  # the comparisons (low, high), then those (high, low)
    count = np.bincount(at, minlength=2 * len(pair)).reshape(2, -1)
    mean = np.bincount(at, clipped(log_odds[valid]), 2 * len(pair)).reshape(2, -1) / np.maximum(count, 1)
    single = (count == 0).any(axis=0)
    swapped = count[0] == 0
    pairs = np.stack([pair // n, pair % n], axis=1)
    return Observations(
        pairs=np.where(swapped[:, None], pairs[:, ::-1], pairs),
        log_odds=np.where(swapped, mean[1], np.where(single, mean[0], (mean[0] - mean[1]) / 2)),
        single=single,
        n=n,
    )


def clipped(log_odds: FloatArray) -> FloatArray:
    """Log-odds [M] without infinities; NaN stays."""
    return np.clip(log_odds, -CERTAIN, CERTAIN)


def least_squares(observed: Observations) -> FloatArray:
    """The scores whose differences fit the log-odds best, of all such the ones of least norm.

    HodgeRank (Jiang, Lim, Yao, Ye: Statistical ranking and combinatorial Hodge theory, 2011). On complete data this is
    the mean of a candidate's row of log-odds. Each part of the graph that valid judgements connect is centred on 0; a
    candidate without any has score 0.

    Returns:
      [n] float64, nats.
    """
    n = observed.n
    flow = _flow(observed, observed.log_odds)
    if len(observed.pairs) == n * (n - 1) // 2:
        return flow / n
    part = _parts(observed.pairs, n)
    # The Laplacian is singular on each part's constant vector. Adding ones over the part makes it invertible and gives
    # that direction the solution 0, because the flow of a part sums to 0.
    return np.linalg.solve(_laplacian(observed) + (part[:, None] == part[None, :]), flow)


@dataclass(frozen=True, eq=False)
class Posterior:
    """What is known of the qualities: a Student distribution around `mean`.

    Attributes:
      mean: [n] float64, nats; drawn towards 0 where little is known.
      covariance: [n, n] float64, nats^2, up to a constant that is the same for all; None where a candidate's own
        variance is all that was computed.
      variance: [n] float64, nats^2: independent qualities with these come closest to the variances of all differences.
      degrees: of freedom.
      noise: nats^2, the variance of an observation of both orders.
      spare: observations beyond those that the qualities alone could fit.
      consistent: the judgements contradict one another nowhere.
    """

    mean: FloatArray
    covariance: FloatArray | None
    variance: FloatArray
    degrees: float
    noise: float
    spare: int
    consistent: bool

    @property
    def transitive(self) -> bool:
        """The judgements agree though they need not have: the judge has a quality for each candidate."""
        return self.consistent and self.spare > 0

    def p_best(self) -> FloatArray:
        """[n] float64, the probability that a candidate's quality is the highest; sums to 1.

        Of two candidates and of a transitive judge it is what log-odds say by their definition: the softmax.
        """
        if self.transitive or len(self.mean) < 3:
            weights = np.exp(self.mean - self.mean.max())
            return np.asarray(weights / weights.sum())
        p = np.zeros(len(self.mean))
        for scale in _scales(self.degrees):
            p += _p_best(self.mean, np.sqrt(self.variance) * scale)
        return np.asarray(p / p.sum())

    def p_top(self, order: IntArray, k: int) -> float:
        """The probability that the first k of `order` are the k of the highest qualities."""
        if k >= len(order):
            return 1.0
        if k == 1:
            return float(self.p_best()[order[0]])
        if self.transitive:
            return _softmax_top(self.mean, order[:k])
        deviation = np.sqrt(self.variance)
        inside, outside = order[:k], order[k:]
        return float(np.mean([_p_top(self.mean, deviation * s, inside, outside) for s in _scales(self.degrees)]))


def posterior(observed: Observations) -> Posterior:
    """What observations say of the qualities; see the module's docstring for the model."""
    n, y, single = observed.n, observed.log_odds, observed.single
    if n < 3:
        mean = least_squares(observed)
        return Posterior(mean, None, np.ones(n), degrees=np.inf, noise=NOISE, spare=0, consistent=True)
    flow, squares, count = _flow(observed, y), float(y @ y), len(y)
    vectors: FloatArray | None = None
    if count == n * (n - 1) // 2 and not single.any():  # all but the constant direction have the eigenvalue n
        values, projected = np.full(n, float(n)), flow
    else:
        laplacian = _laplacian(observed)
        if single.any():  # the bias, integrated out under a prior as wide as twice the noise
            first, second = observed.pairs[single].T
            towards = np.bincount(first, minlength=n) - np.bincount(second, minlength=n)
            weight, total = single.sum() + 0.25, y[single].sum()
            laplacian = laplacian - np.outer(towards, towards) / weight
            flow, squares = flow - towards * (total / weight), squares - total**2 / weight
        if n > LARGE:
            return _large(observed, laplacian, flow)
        values, vectors = np.linalg.eigh(laplacian)
        values = np.maximum(values, 0.0)
        projected = vectors.T @ flow
    power = projected**2
    least = max(squares - float((power[values > 1e-9] / values[values > 1e-9]).sum()), 0.0)
    filtered = 1 / (values + RATIOS[:, None])  # [K, n]
    left = np.maximum(squares - filtered @ power, least)  # [K], for the noise and the prior of s to explain
    degrees = WORTH + count
    likely = -((np.log(RATIOS) / SURE) ** 2) / 2
    likely = likely - 0.5 * np.log1p(values / RATIOS[:, None]).sum(axis=1) - degrees / 2 * np.log(WORTH * NOISE + left)
    share = np.exp(likely - likely.max())
    share /= share.sum()
    noises = (WORTH * NOISE + left) / degrees  # [K]
    filtered = 1 / (values + DRAWN * RATIOS[:, None])
    shrunk, spread = share @ filtered, (share * noises) @ filtered  # [n], [n]
    mean = projected * shrunk if vectors is None else vectors @ (projected * shrunk)
    covariance = None if vectors is None else (vectors * spread) @ vectors.T
    spare = count - (n - 1) - bool(single.any())
    return Posterior(
        mean=mean - mean.mean(),
        covariance=covariance,
        variance=spread if covariance is None else _variances(covariance),
        degrees=degrees,
        noise=float(share @ noises),
        spare=spare,
        consistent=spare <= 0 or least <= ROUNDING**2 * squares,
    )


def _large(observed: Observations, laplacian: FloatArray, flow: FloatArray) -> Posterior:
    """As `posterior`, for so many candidates that each one's own variance is all there is time for."""
    n, count, single = observed.n, len(observed.pairs), observed.single
    mean = np.asarray(np.linalg.solve(laplacian + DRAWN * np.eye(n), flow), np.float64)
    first, second = observed.pairs.T

    def unexplained(scores: FloatArray) -> float:
        left = observed.log_odds - (scores[first] - scores[second])
        bias = left[single].sum() / (single.sum() + 0.25)
        return float(((left - np.where(single, bias, 0.0)) ** 2).sum())

    spare = count - (n - 1) - bool(single.any())
    squares = float(observed.log_odds @ observed.log_odds)
    noise = (WORTH * NOISE + unexplained(mean)) / (WORTH + max(spare, 0))
    return Posterior(
        mean=mean - mean.mean(),
        covariance=None,
        variance=noise / (np.diag(laplacian) + DRAWN),
        degrees=WORTH + count,
        noise=noise,
        spare=spare,
        consistent=spare <= 0 or unexplained(least_squares(observed)) <= ROUNDING**2 * squares,
    )


def standing(asked: IntArray, log_odds: FloatArray, n: int, top: int = 1) -> Standing:
    """The standing that judgements give.

    Order is by least-squares score to 9 decimals, ties by position; p_best by the posterior, for two candidates with
    mean log-odds l exactly sigmoid(l); decided means that the valid judgements connect all candidates.

    Args:
      asked: [M, 2] int64, the comparisons (first, second).
      log_odds: [M] float64, nats that the first is the better one; NaN = invalid and left out.
      n: number of candidates.
      top: of how many first places `p_top` speaks.
    """
    observed = observe(asked, log_odds, n)
    return _standing(observed, least_squares(observed), posterior(observed), top)


def pointwise_standing(asked: IntArray, log_odds: FloatArray, n: int, top: int = 1) -> Standing:
    """As `standing`, of a judge that answers by the difference of its qualities: p_best is their softmax."""
    observed = observe(asked, log_odds, n)
    scores = least_squares(observed)
    known = replace(posterior(observed), mean=scores, spare=1, consistent=True)
    return _standing(observed, scores, known, top)


def shrunk_standing(observed: Observations, known: Posterior, top: int = 1) -> Standing:
    """As `standing`, by the posterior's mean: for designs in which some candidates are hardly compared, and a lucky
    one must not come first. Where judgements contradict one another nowhere there is nothing to shrink."""
    return _standing(observed, least_squares(observed) if known.consistent else known.mean, known, top)


def _standing(observed: Observations, scores: FloatArray, known: Posterior, top: int) -> Standing:
    order = np.argsort(-np.round(scores, DECIMALS), kind="stable")
    return Standing(
        order=order,
        scores=scores,
        p_best=known.p_best(),
        decided=observed.decided,
        p_top=known.p_top(order, top) if top > 1 else None,
    )


def _flow(observed: Observations, log_odds: FloatArray) -> FloatArray:
    """[n], the sum of what the judgements say for a candidate."""
    n = observed.n
    first, second = observed.pairs.T
    return np.asarray(np.bincount(first, log_odds, n) - np.bincount(second, log_odds, n), np.float64)


def _laplacian(observed: Observations) -> FloatArray:
    """[n, n] of the graph of pairs."""
    n = observed.n
    laplacian = np.zeros((n, n))
    first, second = observed.pairs.T
    laplacian[first, second] = laplacian[second, first] = -1.0
    laplacian[np.arange(n), np.arange(n)] = np.bincount(observed.pairs.ravel(), minlength=n)
    return laplacian


def _parts(pairs: IntArray, n: int) -> IntArray:
    """For each candidate the lowest one that pairs [P, 2] connect it to: [n]."""
    part = np.arange(n)
    while True:
        low = part.copy()
        lowest = np.minimum(part[pairs[:, 0]], part[pairs[:, 1]])
        for side in pairs.T:
            np.minimum.at(low, side, lowest)
            np.minimum.at(low, part[side], lowest)
        low = low[low]  # also halves the way along a chain
        if np.array_equal(low, part):
            return part
        part = low


def _variances(covariance: FloatArray) -> FloatArray:
    """The v [n] with v_i + v_j closest to the variance of s_i - s_j over all pairs, by least squares; n > 2."""
    n = len(covariance)
    own = np.diag(covariance)
    rows = n * own + own.sum() - 2 * covariance.sum(axis=1)  # the variances of a candidate's differences, summed
    total = rows.sum() / (2 * (n - 1))
    return np.asarray(np.maximum((rows - total) / (n - 2), rows / (4 * (n - 1))))


@cache
def _scales(degrees: float) -> tuple[float, ...]:
    """Standard deviations of equally probable parts of a Student distribution, as a mixture of normal ones."""
    if degrees > 200:
        return (1.0,)
    tail = (np.arange(4) + 0.5) / 4
    return tuple(np.sqrt(degrees / chdtri(degrees, tail)).tolist())


def _grid(low: float, high: float) -> tuple[FloatArray, float]:
    points = np.linspace(low, high, _POINTS)
    return points, float(points[1] - points[0])


def _p_best(mean: FloatArray, deviation: FloatArray) -> FloatArray:
    """[n], the probability of being the highest for independent normal qualities."""
    low = (mean - _REACH * deviation).max()
    high = (mean + _REACH * deviation).max()
    able = np.flatnonzero(mean + _REACH * deviation > low)
    p = np.zeros(len(mean))
    x, _ = _grid(low, high)
    z = (x - mean[able, None]) / deviation[able, None]  # [n, G]
    below = log_ndtr(z)
    # The density of the highest one's quality, split by who it is: all others below x, this one at x.
    p[able] = np.exp(below.sum(axis=0) - below - z**2 / 2).sum(axis=1) / deviation[able]
    return np.asarray(p / p.sum())


def _p_top(mean: FloatArray, deviation: FloatArray, inside: IntArray, outside: IntArray) -> float:
    """The probability that the lowest of some independent normal qualities is above the highest of the others."""
    low = (mean - _REACH * deviation)[inside].min()
    high = (mean + _REACH * deviation)[inside].max()
    x, step = _grid(low, high)
    z = (x - mean[:, None]) / deviation[:, None]
    above, below = log_ndtr(-z[inside]), log_ndtr(z[outside]).sum(axis=0)
    at = np.exp(above.sum(axis=0) - above - z[inside] ** 2 / 2) / (deviation[inside, None] * np.sqrt(2 * np.pi))
    return float(min((at.sum(axis=0) * np.exp(below)).sum() * step, 1.0))


_RARE = -30.0  # nats


def _softmax_top(scores: FloatArray, inside: IntArray) -> float:
    """The probability that the first k drawn by softmax without replacement are this set, in any order.

    Draws are a race of exponential times with these rates (Yellott 1977): all inside have come before the first one
    outside does, which is at time -log(u) / (the rates outside) for a uniform u.
    """
    outside = np.delete(scores, inside)
    if not len(outside):
        return 1.0
    u = (np.arange(2000) + 0.5) / 2000
    waits = -np.log(u)  # in units of the mean time to the first outside
    ahead = (scores[inside] - logsumexp(outside))[:, None]  # [k, 1], the log of a rate in that unit
    # Of a rate so low that the probability of having come is the rate times the time, its log is all that is left.
    came = np.where(
        ahead < _RARE,
        ahead + np.log(waits),
        np.log(-np.expm1(-np.exp(np.clip(ahead, _RARE, -_RARE)) * waits)),
    )
    return float(np.exp(came.sum(axis=0)).mean())
