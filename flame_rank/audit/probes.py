"""Measures the faults of a judge that can be seen without labels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flame_rank.audit.asking import Asked
from flame_rank.audit.statistics import Figure, ratio
from strategies.base import FloatArray
from strategies.consistency import CYCLES, FLIPS, consistency

SATURATED = 7.0  # nats: more than 1000 to 1
VERDICTS = "P(A) + P(B)"
# From which values on a figure is a reason not to trust a ranking.
_TOO_MUCH = {
    "pairs that flip with the order": (FLIPS, "verdicts depend on the order of two candidates: ask for both orders"),
    "triples that contradict themselves": (
        CYCLES,
        "it contradicts itself: rankings depend on the pairs asked",
    ),
    "judgements that are invalid": (0.05, "many judgements cannot be had: see what the judge answers"),
    "judgements over 1000 to 1": (0.5, "the judge is hardly ever in doubt: its probabilities say little uncalibrated"),
}
# For each figure the size that is too much, and what it means above and, unless that is no fault, below zero.
_PLACE = "the judge prefers a place: ask for both orders"
_TOO_MUCH_NATS: dict[str, tuple[float, str, str | None]] = {
    "preference for twice the length": (
        0.5,
        "the judge prefers longer texts by themselves",
        "the judge prefers shorter texts by themselves",
    ),
    "a note to the judge": (0.5, "a candidate can talk the judge into choosing it", None),
    "padding": (0.5, "empty words raise a candidate", None),
    "preference for the first place": (1.0, _PLACE, _PLACE),
}


def probe(asked: Sequence[Asked], seed: int) -> list[Figure]:
    """Computes the figures that need no labels."""
    valid = [~np.isnan(a.leads) for a in asked]
    leads = [a.leads[ok] for a, ok in zip(asked, valid, strict=True)]
    forward = [a.forward[ok] for a, ok in zip(asked, valid, strict=True)]
    backward = [a.backward[ok] for a, ok in zip(asked, valid, strict=True)]
    count = [len(lead) for lead in leads]
    pairs = sum(count)
    contradictions = [consistency([(a.pairs, a.forward), (a.pairs[:, ::-1], a.backward)]) for a in asked]
    place = [float((f + b).sum() / 2) for f, b in zip(forward, backward, strict=True)]
    length = [_log_ratio(a)[ok] for a, ok in zip(asked, valid, strict=True)]
    judgements = [a.judgements for a in asked]
    mass = [a.mass[~np.isnan(a.mass)] for a in asked]
    same = [a.same[~np.isnan(a.same)] for a in asked]
    talk = [a.talk[~np.isnan(a.talk)] for a in asked]
    padding = [a.padding[~np.isnan(a.padding)] for a in asked]
    return [
        ratio("pairs that flip with the order", "share", [c.flips for c in contradictions], count, n=pairs, seed=seed),
        ratio("preference for the first place", "nats", place, count, n=pairs, seed=seed, null=0.0),
        ratio(
            "preference for twice the length",
            "nats",
            [float(x @ y) for x, y in zip(length, leads, strict=True)],
            [float(x @ x) for x in length],
            n=pairs,
            seed=seed,
            null=0.0,
        ),
        ratio(
            "triples that contradict themselves",
            "share",
            [c.cycles for c in contradictions],
            [c.triples for c in contradictions],
            n=sum(c.triples for c in contradictions),
            seed=seed,
        ),
        _mean("a candidate against itself: first place", "nats", same, seed, null=0.0),
        _mean("judgements over 1000 to 1", "share", [np.abs(s[~np.isnan(s)]) > SATURATED for s in judgements], seed),
        _mean("judgements that are invalid", "share", [np.isnan(s) for s in judgements], seed),
        _mean(VERDICTS, "share", mass, seed),
        _mean("a note to the judge", "nats", talk, seed, null=0.0),
        _mean("padding", "nats", padding, seed, null=0.0),
    ]


def _mean(
    name: str,
    unit: str,
    values: Sequence[NDArray[Any]],
    seed: int,
    null: float | None = None,
) -> Figure:
    sums, counts = [float(v.astype(np.float64).sum()) for v in values], [len(v) for v in values]
    return ratio(name, unit, sums, counts, n=sum(counts), seed=seed, null=null)


def _log_ratio(asked: Asked) -> FloatArray:
    """Computes [M] log2(length of the first text / length of the second), lengths in characters."""
    size = np.log2([max(len(text), 1) for text in asked.problem.texts])
    first, second = asked.pairs.T
    return np.asarray(size[first] - size[second], np.float64)


def warning_of(name: str, share: float) -> str | None:
    """Returns the warning about the share with this name; None if the share is no reason to warn."""
    if name == VERDICTS and share < 0.5:
        return f"the judge mostly wants to say something else than a verdict ({100 * share:.0f} %)"
    limit, text = _TOO_MUCH.get(name, (float("inf"), ""))
    return f"{text} ({100 * share:.0f} %)" if share > limit else None


def warnings_of(figures: Sequence[Figure]) -> list[str]:
    """Returns the warnings that follow from a judge's figures."""
    warnings = []
    for figure in figures:
        if figure.value is None:
            continue
        if (warning := warning_of(figure.name, figure.value)) is not None:
            warnings.append(warning)
        limit, text, other = _TOO_MUCH_NATS.get(figure.name, (float("inf"), "", None))
        said = text if figure.value > limit else other if figure.value < -limit else None
        if said and figure.q is not None and figure.q < 0.05:
            warnings.append(f"{said} ({figure.value:+.2f} nats)")
        if figure.name == "right on labelled pairs" and (figure.low or 0.0) <= 0.5:
            warnings.append("these labels do not show that the judge is better than chance")
    return warnings
