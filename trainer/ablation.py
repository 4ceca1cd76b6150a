"""What each source of the default judge adds, on problems that the encoder never saw."""

from collections.abc import Mapping, Sequence

import numpy as np

from flame_rank.judges.pool import Evidence
from strategies.base import FloatArray
from trainer.combine import EVIDENCE, Judged, learn, right_share
from trainer.consensus import consensus

FOLDS = 5  # a combination is measured on problems that it was not learned on
RESAMPLES = 10_000

AGREEMENT = ("overlap", "cosine", "vote")
ROWS: Mapping[str, Sequence[str]] = {"(a) agreement": AGREEMENT, "(b) encoder": ("encoder",), "both": EVIDENCE}


def interval(values: FloatArray, *, seed: int = 0) -> tuple[float, float, float]:
    """The mean of values [n], and its 95 % bootstrap interval over them."""
    rng = np.random.default_rng(seed)
    means = values[rng.integers(len(values), size=(RESAMPLES, len(values)))].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(values.mean()), float(low), float(high)


def table(
    judged: Sequence[Judged], seen: Sequence[Evidence], sources: Sequence[str] | None = None
) -> dict[str, tuple[float, float, float]]:
    """For each row its mean and interval over prompts: the share of picks that are right for pools of programs, of
    pairs in the right order for others. `both - (a)` is the paired difference.

    Args:
      sources: of each problem; a source's problems are then measured with weights learned on all other sources. Without
        it, a fifth of the prompts with those learned on the rest.
    """
    prompts = sorted({one.problem.prompt for one in judged})
    number = {prompt: i for i, prompt in enumerate(prompts)}
    of = np.array([number[one.problem.prompt] for one in judged])
    parts = of % FOLDS if sources is None else np.unique(np.array(sources), return_inverse=True)[1]
    shares: dict[str, FloatArray] = {}
    if judged[0].right is not None:
        shares["mean"] = np.array([float(one.right.mean()) for one in judged if one.right is not None])
        shares["consensus"] = np.array([right_share(one, consensus(one.problem.texts)) for one in judged])
    for row, using in ROWS.items():
        share = np.empty(len(judged))
        for part in np.unique(parts):
            inside, outside = (np.flatnonzero(where).tolist() for where in (parts == part, parts != part))
            weights = learn([judged[i] for i in outside], [seen[i] for i in outside], using=using)
            share[inside] = [right_share(judged[i], seen[i].quality(weights)) for i in inside]
        shares[row] = share
    shares["both - (a)"] = shares["both"] - shares["(a) agreement"]
    # A prompt counts once, however many pools were drawn from its programs.
    counts = np.bincount(of)
    return {row: interval(np.bincount(of, share) / counts) for row, share in shares.items()}
