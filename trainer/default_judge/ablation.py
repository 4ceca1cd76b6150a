"""Measures what each kind of evidence adds to the default judge, on problems from which its weights were not
learned."""

from collections.abc import Mapping, Sequence

import numpy as np

from flame_rank.judges.default.pool import EVIDENCE, READING, Kind, PoolEvidence, Weights
from strategies.base import FloatArray
from trainer.default_judge.combine import LabelledProblem, learn, right_share
from trainer.default_judge.consensus import consensus
from trainer.measuring.intervals import Interval, mean_interval

FOLDS = 5  # if there is one source, weights are measured on a fifth of its prompts and learned on the others

OUTSIDE = tuple(name for name in EVIDENCE if name not in READING)  # what needs no model
ROWS: Mapping[str, Sequence[str]] = {
    "agreement": OUTSIDE,
    "forward": ("forward",),
    "gain": ("gain",),
    "reverse": ("reverse",),
    "all": tuple(EVIDENCE),
    **{f"all but {name}": tuple(other for other in EVIDENCE if other != name) for name in EVIDENCE},
}


def held_out_qualities(
    labelled: Sequence[LabelledProblem],
    seen: Sequence[PoolEvidence],
    sources: Sequence[str],
    using: Sequence[str],
) -> list[FloatArray]:
    """Computes the qualities of each problem's candidates, by weights that were learned without the problem's source.

    If there is only one source, the weights are learned without the fifth of the prompts to which the problem belongs.

    Args:
      labelled: problems with known better candidates.
      seen: the judge's evidence about each problem.
      sources: the source of each problem.
      using: the kinds of evidence that may count.

    Returns:
      For each problem [n] qualities, in log-odds.
    """
    if len({*sources}) > 1:
        parts = np.unique(np.array(sources), return_inverse=True)[1]
    else:
        prompts = sorted({item.problem.prompt for item in labelled})
        number = {prompt: i for i, prompt in enumerate(prompts)}
        parts = np.array([number[item.problem.prompt] for item in labelled]) % FOLDS
    qualities: list[FloatArray] = [np.empty(0)] * len(labelled)
    for part in np.unique(parts):
        others = np.flatnonzero(parts != part).tolist()
        weights = learn(
            [labelled[i] for i in others], [seen[i] for i in others], [sources[i] for i in others], using=using
        )
        for i in np.flatnonzero(parts == part).tolist():
            qualities[i] = seen[i].quality(weights)
    return qualities


def measure_weights(
    labelled: Sequence[LabelledProblem], seen: Sequence[PoolEvidence], weights: Mapping[Kind, Weights]
) -> dict[str, Interval]:
    """Measures learned weights on problems from which they were not learned: the rows of `ablation_table`.

    A row of several kinds of evidence has their learned weights; a row of a single kind has weight 1.
    """
    rows = {}
    for row, using in ROWS.items():
        shares = []
        for item, evidence in zip(labelled, seen, strict=True):
            learned = weights[evidence.kind]
            used = {name: learned.get(name, 0.0) if len(using) > 1 else 1.0 for name in using}
            shares.append(right_share(item, evidence.quality(used)))
        rows[row] = mean_interval(np.array(shares))
    rows["longest"] = mean_interval(np.array([right_share(item, _lengths(item)) for item in labelled]))
    return rows


def _lengths(item: LabelledProblem) -> FloatArray:
    return np.array([float(len(text)) for text in item.problem.texts])


def gain_of_kind(name: str, rows: Mapping[str, Mapping[str, Interval]]) -> float:
    """Computes what one kind of evidence adds to all others in `ablation_table`'s rows: the mean over sources."""
    return float(np.mean([row["all"].mean - row[f"all but {name}"].mean for row in rows.values()]))


def gain_of_reading(labelled: Sequence[LabelledProblem], seen: Sequence[PoolEvidence], sources: Sequence[str]) -> float:
    """Computes what all evidence adds to the evidence that needs no model, as a mean over problems."""
    everything, outside = (
        np.mean(_right_shares(labelled, held_out_qualities(labelled, seen, sources, using)))
        for using in (ROWS["all"], ROWS["agreement"])
    )
    return float(everything - outside)


def ablation_table(
    labelled: Sequence[LabelledProblem], seen: Sequence[PoolEvidence], sources: Sequence[str], kind: Kind
) -> dict[str, dict[str, Interval]]:
    """Computes for each source and each row the mean over prompts with its interval.

    If the right candidates are known, the mean is the share of right picks; otherwise, the share of pairs in the right
    order.

    Args:
      kind: the kind of the problems; for programs there is also a row for plain consensus.
    """
    shares = {
        row: _right_shares(labelled, held_out_qualities(labelled, seen, sources, using)) for row, using in ROWS.items()
    }
    shares["longest"] = _right_shares(labelled, [_lengths(item) for item in labelled])
    shares["mean"] = np.array([0.5 if item.right is None else float(item.right.mean()) for item in labelled])
    if kind == "programs":
        shares["consensus"] = _right_shares(labelled, [consensus(item.problem.texts) for item in labelled])
    table: dict[str, dict[str, Interval]] = {}
    for source in dict.fromkeys(sources):
        members = [i for i, name in enumerate(sources) if name == source]
        prompts = sorted({labelled[i].problem.prompt for i in members})
        number = {prompt: k for k, prompt in enumerate(prompts)}
        numbers = np.array([number[labelled[i].problem.prompt] for i in members])
        counts = np.bincount(numbers)  # a prompt counts once, however many pools were drawn from its programs
        table[source] = {
            row: mean_interval(np.bincount(numbers, share[members]) / counts) for row, share in shares.items()
        }
    return table


def _right_shares(labelled: Sequence[LabelledProblem], qualities: Sequence[FloatArray]) -> FloatArray:
    return np.array([right_share(item, quality) for item, quality in zip(labelled, qualities, strict=True)])
