"""Learns how much each kind of evidence counts in the default judge, from problems with known better candidates."""

import random
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy.optimize import brentq, minimize
from scipy.special import expit

from flame_rank.judges.default.pool import EVIDENCE, PoolEvidence
from flame_rank.ranking.dedupe import distinct, options, representatives
from flame_rank.records import Problem
from strategies.base import FloatArray, IntArray
from trainer.default_judge.pools import LabelledPool
from trainer.default_judge.sources import Comparison

T = TypeVar("T")
Bools = np.ndarray[tuple[int], np.dtype[np.bool_]]

SAMPLES = 10  # candidates drawn from a pool of programs, as in the paper's Table 4
AGAINST = frozenset({"repeated", "refuses"})  # may only count against a candidate; all other evidence only for it
PULL = 0.01  # of the weights to 0: decides what the problems leave open


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledProblem:
    """A problem, and the known order of some pairs of its candidates.

    Attributes:
      problem: the problem as a judge gets it.
      pairs: [P, 2] int64 candidate indices, the better one first.
      right: [n] bool, whether each candidate is right; None if annotators only compared candidates.
    """

    problem: Problem
    pairs: IntArray
    right: Bools | None = None


def label_right(problem: Problem, right: Bools) -> LabelledProblem:
    """Labels a problem whose right candidates are known: each of them is better than each of the others."""
    pairs = np.array([(i, j) for i in np.flatnonzero(right) for j in np.flatnonzero(~right)], np.int64).reshape(-1, 2)
    return LabelledProblem(problem=problem, pairs=pairs, right=right)


def draw(
    pools: Sequence[LabelledPool], *, seed: int, times: int, sizes: tuple[int, int] = (SAMPLES, SAMPLES)
) -> list[LabelledProblem]:
    """Draws pools like those of a weak model at a high temperature: at most six of ten programs are right.

    The models that wrote the programs are strong: half of their programs pass. Weights learned from such pools do not
    suit weaker models, so these pools have mostly wrong programs, and mutants if there are too few wrong ones.

    Args:
      seed: seed of the random draws.
      times: the number of pools drawn for each problem.
      sizes: the smallest and the largest number of programs in a pool.
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
                for text in _shuffled(rng, (t for t, m, r in _candidates(pool) if m is mutant and not r))
            ]
            chosen = rng.sample(right, min(rng.randint(1, max(1, 6 * size // 10)), len(right)))
            rest = wrong[: size - len(chosen)]
            if not chosen or not rest or len(chosen) + len(rest) < max(2, size // 2):
                continue
            labelled = _shuffled(rng, [(text, True) for text in chosen] + [(text, False) for text in rest])
            problem = Problem(prompt=pool.prompt, candidates=[text for text, _ in labelled])
            drawn.append(label_right(problem, np.array([label for _, label in labelled])))
    return drawn


def group_by_prompt(comparisons: Iterable[Comparison]) -> list[LabelledProblem]:
    """Makes one problem from all comparisons with the same prompt: some tasks have many answers to a prompt, others
    two."""
    by_prompt: dict[str, list[Comparison]] = defaultdict(list)
    for comparison in comparisons:
        by_prompt[comparison.prompt].append(comparison)
    labelled = []
    for prompt, members in by_prompt.items():
        index: dict[str, int] = {}
        pairs = [tuple(index.setdefault(text, len(index)) for text in (c.better, c.worse)) for c in members]
        problem = Problem(prompt=prompt, candidates=list(index))
        labelled.append(LabelledProblem(problem=problem, pairs=np.array(pairs, np.int64)))
    return labelled


def learn(
    labelled: Sequence[LabelledProblem],
    seen: Sequence[PoolEvidence],
    sources: Sequence[str],
    *,
    using: Collection[str] = tuple(EVIDENCE),
) -> dict[str, float]:
    """Learns weights by maximum likelihood.

    Args:
      labelled: the problems. The likelihood is the probability that a right candidate is the best one or, if it is not
        known which are right, that the better candidate of each pair wins.
      seen: the judge's evidence about each problem.
      sources: the source of each problem; all sources count equally, and so do all problems of a source.
      using: the kinds of evidence that may count.

    Returns:
      The weights other than 0, by kind of evidence, to three decimals.
    """
    names = [name for name in EVIDENCE if name in using and any(np.ptp(evidence.values[name]) for evidence in seen)]
    # The gain may count at most as much as the likelihood: it is a mean over tokens, so it is high for a few surprising
    # words and shrinks as a text goes on. So the sum of gain and likelihood is learned beside the likelihood alone.
    both = {"forward", "gain"} <= {*names}
    if not names:
        return {}
    counts = {source: sources.count(source) for source in {*sources}}
    share = np.array([1 / counts[source] for source in sources]) / len(counts)
    columns = [np.stack([evidence.values[name] for name in names], 1) for evidence in seen]  # [n, K] each
    if both:
        for column in columns:
            column[:, names.index("gain")] += column[:, names.index("forward")]
    right = [None if r is None or r.all() or not r.any() else r for r in (item.right for item in labelled)]
    off = [evidence.quality({}) for evidence in seen]
    spread = np.sqrt(np.mean([np.var(column, 0) for column in columns], 0)) if columns else np.ones(len(names))

    # All pairs of all problems go into one array; problems with known right candidates are taken one by one.
    compared = [k for k, marks in enumerate(right) if marks is None and len(labelled[k].pairs)]
    differences = [columns[k][labelled[k].pairs[:, 0]] - columns[k][labelled[k].pairs[:, 1]] for k in compared]
    offsets = [off[k][labelled[k].pairs[:, 0]] - off[k][labelled[k].pairs[:, 1]] for k in compared]
    each = [np.full(len(labelled[k].pairs), share[k] / len(labelled[k].pairs)) for k in compared]
    rows, ahead, each_share = (
        np.concatenate(parts) if parts else np.zeros(0) for parts in (differences, offsets, each)
    )

    def loss(weights: FloatArray) -> tuple[float, FloatArray]:
        scaled = weights * spread
        total, slope = PULL * float(scaled @ scaled), 2 * PULL * scaled * spread
        if len(ahead):
            nats = rows @ weights + ahead
            total += float((np.logaddexp(0, -nats) * each_share).sum())
            slope = slope - (each_share * expit(-nats)) @ rows
        for k, marks in enumerate(right):
            if marks is not None:
                quality = columns[k] @ weights + off[k]
                p = np.exp(quality - quality.max())
                p /= p.sum()
                right_p = np.where(marks, p, 0.0)
                total -= share[k] * float(np.log(max(right_p.sum(), 1e-300)))
                slope = slope - share[k] * (right_p / max(right_p.sum(), 1e-300) - p) @ columns[k]
        return total, slope

    bounds = [(None, 0.0) if name in AGAINST else (0.0, None) for name in names]
    start = np.zeros(len(names))
    best = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B", options={"maxiter": 500}).x
    if both:
        best[names.index("forward")] += best[names.index("gain")]
    learned = {name: round(float(weight), 3) for name, weight in zip(names, best, strict=True)}
    return {name: weight for name, weight in learned.items() if weight}


def calibration_factor(
    labelled: Sequence[LabelledProblem], qualities: Sequence[FloatArray], sources: Sequence[str]
) -> float:
    """Computes a factor for all qualities [n] that makes the mean P(best) of the picks, by the softmax, as high as the
    share of right picks. P(best) is that of an option, as in a ranking: equal texts count once, and equal final answers
    share it. Uses the problems whose right candidates are known; all sources count equally."""
    known = [k for k, item in enumerate(labelled) if item.right is not None]
    counts = {source: sum(sources[k] == source for k in known) for source in {sources[k] for k in known}}
    share = np.array([1 / counts[sources[k]] / len(counts) for k in known])
    right = float(share @ [right_share(labelled[k], qualities[k]) for k in known])

    behind, picked = [], []  # of each problem: how far its distinct texts are behind the pick, and which belong to it
    for k in known:
        cluster = distinct(labelled[k].problem)
        first = representatives(cluster)
        option = options(labelled[k].problem, cluster)[first]
        behind.append(qualities[k][first] - qualities[k].max())
        picked.append(option == option[behind[-1].argmax()])

    def excess(log_factor: float) -> float:
        p = [np.exp(np.exp(log_factor) * nats) for nats in behind]
        stated = [each[own].sum() / each.sum() for each, own in zip(p, picked, strict=True)]
        return float(share @ np.array(stated)) - right

    low, high = np.log(0.05), np.log(20.0)
    if not known or excess(low) > 0 or excess(high) < 0:
        return 1.0
    return float(np.exp(brentq(excess, low, high)))


def right_share(item: LabelledProblem, quality: FloatArray) -> float:
    """Measures how well qualities [n] rank a problem, from 0 to 1.

    If the right candidates are known, the result is the share of them among the tied picks; otherwise the share of
    pairs in the right order, in which a tie counts half.
    """
    quality = np.round(quality, 9)
    if item.right is not None:
        return float(item.right[quality == quality.max()].mean())
    nats = quality[item.pairs[:, 0]] - quality[item.pairs[:, 1]]
    return float(((nats > 0) + 0.5 * (nats == 0)).mean())


def scale(weights: Mapping[str, float], factor: float) -> dict[str, float]:
    """Multiplies weights by a factor."""
    return {name: round(factor * weight, 3) for name, weight in weights.items()}


def _candidates(pool: LabelledPool) -> Iterable[tuple[str, bool, bool]]:
    return zip(pool.texts, pool.mutant, pool.right, strict=True)


def _shuffled(rng: random.Random, items: Iterable[T]) -> list[T]:
    shuffled = list(items)
    rng.shuffle(shuffled)
    return shuffled
