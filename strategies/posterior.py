"""Infers the candidates' qualities from judgements: how far they are apart, and which may be the best.

The model: a candidate has a quality s, and a judgement of (first, second) is s_first - s_second plus a noise of the
pair, plus a bias for the first position if only one order of the pair was asked. Qualities and noise are normal with
unknown variances, which are integrated out: their ratio over a grid, the noise by its conjugate prior. The result is a
Student distribution. This is Bradley-Terry's model with log-odds instead of verdicts.
"""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy.sparse import csr_array, hstack

from strategies import chances
from strategies.base import DECIMALS, FloatArray, IntArray, Standing
from strategies.laplacian import differences, marginals, solve
from strategies.observations import LARGE, Observations, along_a_tree, flow_of, laplacian_of, least_squares, observe

# A priori the noise of a pair is that of the logistic distribution, nats^2, worth one observation: the distribution
# under which log-odds l mean that the first is the better one with probability sigmoid(l).
NOISE, WORTH = np.pi**2 / 3, 1.0
RATIOS = 2.0 ** np.arange(-14, 6)  # variance of the noise over that of the qualities
# A disagreement of less than a hundredth of the judgements is rounding, of rewards in 16 bits, say: such a judge has a
# quality for each candidate, and its agreement with itself is no evidence that it is right.
ROUNDING = 0.01
# The candidates' qualities are not a sample of a normal distribution: some are right and some are wrong, and the fitted
# normal would draw the best too far towards the mean. Half as much is calibrated (benchmark_strategies.py).
DRAWN = 0.5
SURE = 2.0  # a priori the logarithm of such a ratio is 0, with this standard deviation
BIAS = 0.25  # the precision a priori of the bias for the first place: it is as wide as twice the noise


@dataclass(frozen=True, eq=False)
class Posterior:
    """A posterior of the qualities: a Student distribution around `mean`.

    Attributes:
      mean: [n] float64, nats; close to 0 for a candidate about which little is known.
      covariance: [n, n] float64, nats^2, up to a constant that is the same for all; None if only the candidates'
        variances were computed.
      variance: [n] float64, nats^2, such that independent qualities with these variances fit the variances of all
        differences best.
      degrees: the degrees of freedom.
      noise: nats^2, the variance of an observation of both orders.
      spare: the number of observations beyond those that the qualities alone could fit.
      consistent: whether no judgements contradict each other.
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
        """Whether the judgements agree although there are enough of them to contradict each other, so that the judge
        seems to have a quality for each candidate."""
        return self.consistent and self.spare > 0

    def p_best(self) -> FloatArray:
        """[n] float64, the probability that a candidate's quality is the highest; sums to 1.

        For two candidates, and for a transitive judge, it is the softmax of the means, which follows from the
        definition of log-odds.
        """
        if self.transitive or len(self.mean) < 3:
            weights = np.exp(self.mean - self.mean.max())
            return np.asarray(weights / weights.sum())
        p = np.zeros(len(self.mean))
        for scale in chances.scales(self.degrees):
            p += chances.p_best(self.mean, np.sqrt(self.variance) * scale)
        return np.asarray(p / p.sum())

    def p_top(self, order: IntArray, k: int) -> float:
        """Computes the probability that the first k of `order` have the k highest qualities."""
        if k >= len(order):
            return 1.0
        if k == 1:
            return float(self.p_best()[order[0]])
        if self.transitive:
            return chances.softmax_top(self.mean, order[:k])
        deviation = np.sqrt(self.variance)
        inside, outside = order[:k], order[k:]
        scales = chances.scales(self.degrees)
        return float(np.mean([chances.p_top(self.mean, deviation * scale, inside, outside) for scale in scales]))


def posterior(observed: Observations) -> Posterior:
    """Computes the posterior of the qualities; the module's docstring describes the model."""
    n, y, single = observed.n, observed.log_odds, observed.single
    if n < 3:
        mean = least_squares(observed)
        return Posterior(mean, None, np.ones(n), degrees=np.inf, noise=NOISE, spare=0, consistent=True)
    flow, squares, count = flow_of(observed), float(y @ y), len(y)
    vectors: FloatArray | None = None
    biased = bool(single.any())
    if count == n * (n - 1) // 2 and not biased:  # all but the constant direction have the eigenvalue n
        values, projected = np.full(n, float(n)), flow
    elif n > LARGE:
        return _large(observed)
    else:
        laplacian = laplacian_of(observed)
        if biased:  # the bias, integrated out
            first, second = observed.pairs[single].T
            towards = np.bincount(first, minlength=n) - np.bincount(second, minlength=n)
            weight, total = single.sum() + BIAS, y[single].sum()
            laplacian = laplacian - np.outer(towards, towards) / weight
            flow, squares = flow - towards * (total / weight), squares - total**2 / weight
        values, vectors = np.linalg.eigh(laplacian)
        values = np.maximum(values, 0.0)
        projected = vectors.T @ flow
    power = projected**2
    positive = values > 1e-9
    least = max(squares - float((power[positive] / values[positive]).sum()), 0.0)
    filtered, likely, drawn = complete_grid(n) if vectors is None else _grid(values)
    left = np.maximum(squares - filtered @ power, least)  # [K], for the noise and the prior of s to explain
    degrees = WORTH + count
    unexplained = WORTH * NOISE + left
    likely = likely - degrees / 2 * np.log(unexplained)
    share = np.exp(likely - likely.max())
    share /= share.sum()
    noises = unexplained / degrees  # [K]
    shrunk, spread = share @ drawn, (share * noises) @ drawn  # [n], [n]
    mean = projected * shrunk if vectors is None else vectors @ (projected * shrunk)
    covariance = None if vectors is None else (vectors * spread) @ vectors.T
    spare = count - (n - 1) - biased
    return Posterior(
        mean=mean - mean.mean(),
        covariance=covariance,
        variance=spread if covariance is None else _variances(covariance),
        degrees=degrees,
        noise=float(share @ noises),
        spare=spare,
        consistent=spare <= 0 or least <= ROUNDING**2 * squares,
    )


@cache
def complete_grid(n: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Computes `_grid` for n candidates if all pairs were observed in both orders.

    Every direction counts as observed n times, so that no eigenvectors are needed; the constant one, of which
    differences show nothing, is not part of the likelihood.
    """
    filtered, likely, drawn = _grid(np.full(n, float(n)))
    return filtered, likely + 0.5 * np.log1p(n / RATIOS), drawn


def _grid(values: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Computes the parts of a posterior that depend on the eigenvalues [n] only, for each of the K RATIOS.

    Returns:
      [K, n], the share of each direction that a fit leaves; [K], the logarithm of the likelihood but for the noise's
      part; and [K, n], as the first, with DRAWN.
    """
    filtered = 1 / (values + RATIOS[:, None])
    likely = -((np.log(RATIOS) / SURE) ** 2) / 2 - 0.5 * np.log1p(values / RATIOS[:, None]).sum(axis=1)
    return filtered, likely, 1 / (values + DRAWN * RATIOS[:, None])


def _large(observed: Observations) -> Posterior:
    """Computes the posterior of many candidates, with their own variances only, because there is no room for
    covariances: instead of eigenvalues, by `marginals` and by solving for the means."""
    n, y, single = observed.n, observed.log_odds, observed.single
    count, biased = len(y), bool(single.any())
    difference, ones = differences(observed.pairs, n), np.ones(count)
    design = hstack([difference, csr_array(single[:, None].astype(float))], format="csr")
    flow, squares = design.T @ y, float(y @ y)
    towards, weight = difference.T @ single, single.sum() + BIAS  # the bias, integrated out as in `posterior`

    def fit(ratio: float, rtol: float) -> FloatArray:
        """Fits the qualities and the bias: [n + 1]."""
        return solve(design, ones, np.append(np.full(n, ratio), BIAS), flow, rtol=rtol)

    def spread(ratio: float) -> tuple[FloatArray, float]:
        """Returns the variances [n] in units of the noise, without the constant direction, of which differences show
        nothing; and the sum of log1p(eigenvalue / ratio)."""
        own, volume = marginals(observed.pairs, n, ratio)
        forest = count < n  # only there `marginals` includes the constant direction
        own, volume = own - forest / (ratio * n), volume - (n - 1 + forest) * np.log(ratio)
        if biased:
            moved = solve(difference, ones, ratio, towards, rtol=1e-8)
            known = weight - float(towards @ moved)
            own, volume = own + moved**2 / known, volume + np.log(known / weight)
        return own, volume

    def unexplained(scores: FloatArray) -> float:
        left = y - design @ np.append(scores, 0.0)
        bias = left[single].sum() / weight
        return float(((left - np.where(single, bias, 0.0)) ** 2).sum())

    degrees, spare = WORTH + count, count - (n - 1) - biased
    left = np.array([squares - float(flow @ fit(ratio, 1e-4)) for ratio in RATIOS.tolist()])
    noises = (WORTH * NOISE + np.maximum(left, 0.0)) / degrees
    volumes = np.array([spread(ratio)[1] for ratio in RATIOS.tolist()])
    likely = -((np.log(RATIOS) / SURE) ** 2) / 2 - volumes / 2 - degrees / 2 * np.log(noises)
    share = np.exp(likely - likely.max())
    share /= share.sum()
    mean, variance = np.zeros(n), np.zeros(n)
    for k in np.flatnonzero(share > 1e-3).tolist():
        drawn = DRAWN * float(RATIOS[k])
        mean += share[k] * fit(drawn, 1e-12)[:n]
        own = spread(drawn)[0]
        variance += share[k] * noises[k] * np.maximum(own, (own + own.mean()) / 4)  # at least that, as in _variances
    rounding = ROUNDING**2 * squares
    # The residual of the tree's scores adds up around each cycle that an extra pair closes: at most n times per pair.
    consistent = spare <= 0 or (
        unexplained(along_a_tree(observed)) <= spare * n * rounding and unexplained(least_squares(observed)) <= rounding
    )
    return Posterior(
        mean=mean - mean.mean(),
        covariance=None,
        variance=variance,
        degrees=degrees,
        noise=float(share @ noises),
        spare=spare,
        consistent=consistent,
    )


def standing(asked: IntArray, log_odds: FloatArray, n: int, top: int = 1) -> Standing:
    """Computes the standing from judgements.

    The order is by least-squares score to 9 decimals, ties by position. p_best comes from the posterior; for two
    candidates with mean log-odds l it is exactly sigmoid(l). The standing is decided if the valid judgements connect
    all candidates.

    Args:
      asked: [M, 2] int64, the comparisons (first, second).
      log_odds: [M] float64, nats that the first is better; NaN = invalid and left out.
      n: number of candidates.
      top: the number of first places to which `p_top` refers.
    """
    observed = observe(asked, log_odds, n)
    return _standing(observed, least_squares(observed), posterior(observed), top)


def pointwise_standing(asked: IntArray, log_odds: FloatArray, n: int, top: int = 1) -> Standing:
    """Computes the standing for a judge that answers by a difference of qualities: p_best is their softmax."""
    observed = observe(asked, log_odds, n)
    scores = least_squares(observed)
    known = replace(posterior(observed), mean=scores, spare=1, consistent=True)
    return _standing(observed, scores, known, top)


def shrunk_standing(observed: Observations, known: Posterior, top: int = 1) -> Standing:
    """Computes the standing by the posterior's mean, for designs in which some candidates are hardly compared and a
    lucky one must not come first. If no judgements contradict each other, least squares is used, as in `standing`."""
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


def _variances(covariance: FloatArray) -> FloatArray:
    """Fits v [n] so that v_i + v_j is closest to the variance of s_i - s_j over all pairs, by least squares; n > 2."""
    n = len(covariance)
    own = np.diag(covariance)
    rows = n * own + own.sum() - 2 * covariance.sum(axis=1)  # the variances of a candidate's differences, summed
    total = rows.sum() / (2 * (n - 1))
    return np.asarray(np.maximum((rows - total) / (n - 2), rows / (4 * (n - 1))))
