"""What each kind of evidence adds to the default judge, on problems that its weights were not learned on."""

from collections.abc import Mapping, Sequence

import numpy as np

from flame_rank.judges.default.pool import EVIDENCE, READING, Kind, PoolEvidence, Weights
from strategies.base import FloatArray
from trainer.default_judge.combine import Judged, learn, right_share
from trainer.default_judge.consensus import consensus
from trainer.measuring.intervals import Interval, mean_interval

FOLDS = 5  # where there is one source, weights are measured on a fifth of its prompts and learned on the others

_OUTSIDE = tuple(name for name in EVIDENCE if name not in READING)
ROWS: Mapping[str, Sequence[str]] = {
    "agreement": _OUTSIDE,
    "forward": ("forward",),
    "gain": ("gain",),
    "reverse": ("reverse",),
    "all": tuple(EVIDENCE),
    **{f"all but {name}": tuple(other for other in EVIDENCE if other != name) for name in EVIDENCE},
}


def left_out(
    judged: Sequence[Judged],
    seen: Sequence[PoolEvidence],
    sources: Sequence[str],
    using: Sequence[str],
    fixed: Weights | None = None,
) -> list[FloatArray]:
    """The qualities of each problem's candidates by weights that were learned without its source; where there is only
    one source, without the fifth of the prompts that it is in."""
    if len({*sources}) > 1:
        parts = np.unique(np.array(sources), return_inverse=True)[1]
    else:
        number = {prompt: i for i, prompt in enumerate(sorted({one.problem.prompt for one in judged}))}
        parts = np.array([number[one.problem.prompt] for one in judged]) % FOLDS
    found: list[FloatArray] = [np.empty(0)] * len(judged)
    for part in np.unique(parts):
        others = np.flatnonzero(parts != part).tolist()
        weights = learn(
            [judged[i] for i in others],
            [seen[i] for i in others],
            [sources[i] for i in others],
            using=using,
            fixed=fixed,
        )
        for i in np.flatnonzero(parts == part).tolist():
            found[i] = seen[i].quality(weights)
    return found


def of_weights(
    judged: Sequence[Judged], seen: Sequence[PoolEvidence], weights: Mapping[Kind, Weights]
) -> dict[str, Interval]:
    """The rows of `table` for problems that nothing was learned from: with the learned weights of the evidence that a
    row has, and with weight 1 where that is a single kind."""
    found = {}
    for row, using in ROWS.items():
        shares = []
        for one, evidence in zip(judged, seen, strict=True):
            learned = weights[evidence.kind]
            some = {name: learned.get(name, 0.0) if len(using) > 1 else 1.0 for name in using}
            shares.append(right_share(one, evidence.quality(some)))
        found[row] = mean_interval(np.array(shares))
    found["longest"] = mean_interval(np.array([right_share(one, _lengths(one)) for one in judged]))
    return found


def _lengths(one: Judged) -> FloatArray:
    return np.array([float(len(text)) for text in one.problem.texts])


def adds(name: str, rows: Mapping[str, Mapping[str, Interval]]) -> float:
    """By how much all evidence is better than all but one kind, in `table`'s rows: the mean over its sources."""
    return float(np.mean([row["all"][0] - row[f"all but {name}"][0] for row in rows.values()]))


def gain(judged: Sequence[Judged], seen: Sequence[PoolEvidence], sources: Sequence[str]) -> float:
    """By how much all evidence is better than what takes no model."""
    everything, outside = (
        np.mean([right_share(one, q) for one, q in zip(judged, left_out(judged, seen, sources, using), strict=True)])
        for using in (ROWS["all"], ROWS["agreement"])
    )
    return float(everything - outside)


def table(
    judged: Sequence[Judged], seen: Sequence[PoolEvidence], sources: Sequence[str], kind: Kind
) -> dict[str, dict[str, Interval]]:
    """For each row and each source the mean and the interval over prompts: the share of picks that are right where the
    right candidates are known, of pairs in the right order elsewhere.

    Args:
      kind: of the problems; for programs there are plain consensus and the mean of a pool, too.
    """
    shares = {
        row: np.array(
            [
                right_share(one, quality)
                for one, quality in zip(judged, left_out(judged, seen, sources, using), strict=True)
            ]
        )
        for row, using in ROWS.items()
    }
    shares["longest"] = np.array([right_share(one, _lengths(one)) for one in judged])
    shares["mean"] = np.array([0.5 if one.right is None else float(one.right.mean()) for one in judged])
    if kind == "programs":
        shares["consensus"] = np.array([right_share(one, consensus(one.problem.texts)) for one in judged])
    found: dict[str, dict[str, Interval]] = {}
    for source in dict.fromkeys(sources):
        members = [i for i, name in enumerate(sources) if name == source]
        prompts = sorted({judged[i].problem.prompt for i in members})
        number = {prompt: k for k, prompt in enumerate(prompts)}
        of = np.array([number[judged[i].problem.prompt] for i in members])
        counts = np.bincount(of)  # a prompt counts once, however many pools were drawn from its programs
        found[source] = {row: mean_interval(np.bincount(of, share[members]) / counts) for row, share in shares.items()}
    return found
