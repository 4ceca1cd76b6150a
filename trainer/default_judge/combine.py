"""How much each kind of evidence counts in the default judge, learned where the better candidates are known."""

import random
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy.optimize import brentq, minimize
from scipy.special import expit

from flame_rank.judges.default.pool import EVIDENCE, PoolEvidence, Weights
from flame_rank.records import Problem
from strategies.base import FloatArray, IntArray
from trainer.default_judge.pools import Pool
from trainer.default_judge.sources import Comparison

T = TypeVar("T")
Bools = np.ndarray[tuple[int], np.dtype[np.bool_]]

SAMPLES = 10  # candidates drawn from a pool of programs, as in the paper's Table 4
# What speaks against a candidate, and what may do either; all other evidence speaks for it, or counts nothing.
AGAINST, EITHER = frozenset({"repeated"}), frozenset({"refuses"})
PULL = 0.01  # to 0: settles what the problems leave open


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """A problem, and which of its candidates are better than which.

    Attributes:
      problem: what a judge is given.
      pairs: [P, 2] int64 candidate indices, the better one first.
      right: [n] bool, which candidates are right, where that is known; else annotators only compared them.
    """

    problem: Problem
    pairs: IntArray
    right: Bools | None = None


def right_ones(problem: Problem, right: Bools) -> Judged:
    """A problem whose right candidates are known: each is better than each of the others."""
    pairs = np.array([(i, j) for i in np.flatnonzero(right) for j in np.flatnonzero(~right)], np.int64).reshape(-1, 2)
    return Judged(problem=problem, pairs=pairs, right=right)


def draw(pools: Sequence[Pool], *, seed: int, times: int, sizes: tuple[int, int] = (SAMPLES, SAMPLES)) -> list[Judged]:
    """Pools as a weak, hot sampler would fill them: programs of which at most six in ten are right.

    The models behind the pools are strong: half of their programs pass. A combination learned on pools like that does
    not carry over, so a pool here has mostly wrong ones, and damaged programs where there are too few.

    Args:
      sizes: the fewest and the most programs of a pool.
    """
    drawn = []
    for time in range(times):
        for pool in pools:
            rng = random.Random(f"{seed} {time} {pool.problem}")
            size = rng.randint(*sizes) if sizes[0] < sizes[1] else sizes[0]
            right = [text for text, passed in zip(pool.texts, pool.right, strict=True) if passed]
            wrong = [
                text
                for mutant in (False, True)
                for text in _shuffled(rng, (t for t, m, r in _labelled(pool) if m is mutant and not r))
            ]
            some = rng.sample(right, min(rng.randint(1, max(1, 6 * size // 10)), len(right)))
            rest = wrong[: size - len(some)]
            if not some or not rest or len(some) + len(rest) < max(2, size // 2):
                continue
            labelled = _shuffled(rng, [(text, True) for text in some] + [(text, False) for text in rest])
            problem = Problem(prompt=pool.prompt, candidates=[text for text, _ in labelled])
            drawn.append(right_ones(problem, np.array([label for _, label in labelled])))
    return drawn


def group(comparisons: Iterable[Comparison]) -> list[Judged]:
    """All comparisons of one prompt as one problem: some tasks have many answers to a prompt, some two."""
    found: dict[str, list[Comparison]] = defaultdict(list)
    for comparison in comparisons:
        found[comparison.prompt].append(comparison)
    judged = []
    for prompt, of_prompt in found.items():
        place: dict[str, int] = {}
        pairs = [tuple(place.setdefault(text, len(place)) for text in (c.better, c.worse)) for c in of_prompt]
        judged.append(Judged(problem=Problem(prompt=prompt, candidates=list(place)), pairs=np.array(pairs, np.int64)))
    return judged


def learn(
    judged: Sequence[Judged],
    seen: Sequence[PoolEvidence],
    sources: Sequence[str],
    *,
    using: Collection[str] = tuple(EVIDENCE),
    fixed: Weights | None = None,
) -> dict[str, float]:
    """The weights under which what is known of the problems is likeliest.

    Args:
      judged: problems: where the right candidates are known, one of them is to be the best; else the better one of
        each pair is to be the better one.
      seen: what the judge sees in each.
      sources: where each is from: every source counts the same, and so does every problem of a source.
      using: the kinds of evidence that may count.
      fixed: weights of other evidence, which stay as they are.
    """
    names = [name for name in EVIDENCE if name in using and any(np.ptp(one.values[name]) for one in seen)]
    # The gain may count as much as the likelihood, not more: a mean over tokens, it is high for a few surprising words,
    # and shrinks as a text goes on. So it is learned as its sum with the likelihood, beside the likelihood alone.
    both = {"forward", "gain"} <= {*names}
    if not names:
        return dict(fixed or {})
    counts = {source: sources.count(source) for source in {*sources}}
    share = np.array([1 / counts[source] for source in sources]) / len(counts)
    columns = [np.stack([evidence.values[name] for name in names], 1) for evidence in seen]  # [n, K] each
    if both:
        for column in columns:
            column[:, names.index("gain")] += column[:, names.index("forward")]
    right = [None if one.right is None or one.right.all() or not one.right.any() else one.right for one in judged]
    off = [evidence.quality(fixed or {}) for evidence in seen]
    spread = np.sqrt(np.mean([np.var(column, 0) for column in columns], 0)) if columns else np.ones(len(names))

    # All pairs of all problems in one array; problems with known right ones one by one.
    compared = [k for k, ones in enumerate(right) if ones is None and len(judged[k].pairs)]
    differences = [columns[k][judged[k].pairs[:, 0]] - columns[k][judged[k].pairs[:, 1]] for k in compared]
    offsets = [off[k][judged[k].pairs[:, 0]] - off[k][judged[k].pairs[:, 1]] for k in compared]
    each = [np.full(len(judged[k].pairs), share[k] / len(judged[k].pairs)) for k in compared]
    apart, ahead, each_share = (
        np.concatenate(parts) if parts else np.zeros(0) for parts in (differences, offsets, each)
    )

    def loss(weights: FloatArray) -> tuple[float, FloatArray]:
        scaled = weights * spread
        total, slope = PULL * float(scaled @ scaled), 2 * PULL * scaled * spread
        if len(ahead):
            nats = apart @ weights + ahead
            total += float((np.logaddexp(0, -nats) * each_share).sum())
            slope = slope - (each_share * expit(-nats)) @ apart
        for k, ones in enumerate(right):
            if ones is not None:
                quality = columns[k] @ weights + off[k]
                p = np.exp(quality - quality.max())
                p /= p.sum()
                of_right = np.where(ones, p, 0.0)
                total -= share[k] * float(np.log(max(of_right.sum(), 1e-300)))
                slope = slope - share[k] * (of_right / max(of_right.sum(), 1e-300) - p) @ columns[k]
        return total, slope

    limits = {**dict.fromkeys(AGAINST, (None, 0.0)), **dict.fromkeys(EITHER, (None, None))}
    bounds = [limits.get(name, (0.0, None)) for name in names]
    found = minimize(loss, np.zeros(len(names)), jac=True, bounds=bounds, method="L-BFGS-B", options={"maxiter": 500}).x
    if both:
        found[names.index("forward")] += found[names.index("gain")]
    learned = {name: round(float(weight), 3) for name, weight in zip(names, found, strict=True)}
    return {**(fixed or {}), **{name: weight for name, weight in learned.items() if weight}}


def calibration(judged: Sequence[Judged], qualities: Sequence[FloatArray], sources: Sequence[str]) -> float:
    """The factor for qualities [n] that makes P(best) of the pick, their softmax, on average what the share of right
    picks is: over problems whose right candidates are known, every source counting the same."""
    some = [k for k, one in enumerate(judged) if one.right is not None]
    counts = {source: sum(sources[k] == source for k in some) for source in {sources[k] for k in some}}
    share = np.array([1 / counts[sources[k]] / len(counts) for k in some])
    right = float(share @ [right_share(judged[k], qualities[k]) for k in some])

    def excess(log_factor: float) -> float:
        stated = []
        for k in some:
            p = np.exp(np.exp(log_factor) * (qualities[k] - qualities[k].max()))
            stated.append(float(p.max() / p.sum()))
        return float(share @ np.array(stated)) - right

    low, high = np.log(0.05), np.log(20.0)
    if not some or excess(low) > 0 or excess(high) < 0:
        return 1.0
    return float(np.exp(brentq(excess, low, high)))


def right_share(one: Judged, quality: FloatArray) -> float:
    """How well qualities [n] rank a problem: where the right candidates are known, whether the pick is one (ties share
    it); else the share of pairs in the right order (a tie is half)."""
    quality = np.round(quality, 9)
    if one.right is not None:
        return float(one.right[quality == quality.max()].mean())
    nats = quality[one.pairs[:, 0]] - quality[one.pairs[:, 1]]
    return float(((nats > 0) + 0.5 * (nats == 0)).mean())


def scaled(weights: Mapping[str, float], factor: float) -> dict[str, float]:
    """Weights times a factor."""
    return {name: round(factor * weight, 3) for name, weight in weights.items()}


def _labelled(pool: Pool) -> Iterable[tuple[str, bool, bool]]:
    return zip(pool.texts, pool.mutant, pool.right, strict=True)


def _shuffled(rng: random.Random, items: Iterable[T]) -> list[T]:
    shuffled = list(items)
    rng.shuffle(shuffled)
    return shuffled
