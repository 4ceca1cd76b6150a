"""Counts a judge's answers to a task per prompt; every figure and its interval is computed from these counts.

A tally is a matrix [G, K] of K counts for each of G prompts. Sums over prompts give a metric; sums over prompts drawn
with replacement give its bootstrap distribution, since examples with one prompt are not independent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from strategies.base import FloatArray
from trainer.collection.examples import Example
from trainer.collection.tasks.base import Task
from trainer.measuring.benchmarks import Figure, Mean, Metric, Pool, tasks_of
from trainer.measuring.intervals import percentiles, resampled_sums


@dataclass(frozen=True, kw_only=True)
class Tally:
    """The counts of one task.

    Attributes:
      counts: [G, K] float64. For accuracy, exact match and single judgements: the right answers, and all answers (K =
        2). For balanced accuracy: the right answers to the examples with each label, then all answers to these (K =
        2C).
      n: the number of examples or single judgements.
    """

    counts: FloatArray
    n: int


def tally(task: Task, examples: Sequence[Example], p: Sequence[Sequence[float]], metric: Metric) -> Tally | None:
    """Counts the answers to examples.

    Args:
      examples: the task's examples.
      p: for each example the probabilities of the task's labels, empty without a valid answer; for a pair those of A
        and B, which count half each if they are equal.
      metric: the metric whose counts are made.

    Returns:
      The counts; None if no example has a valid answer.
    """
    rows: dict[str, FloatArray] = {}
    n = 0
    for example, probabilities in zip(examples, p, strict=True):
        row = _row(task, example, probabilities, metric) if len(probabilities) else None
        if row is None:
            continue
        prompt = "\0".join(example.values[:-2] if task.kind == "pairwise" else example.values[:1])
        rows[prompt] = rows.get(prompt, 0) + row
        n += int(row[len(row) // 2 :].sum())
    return Tally(counts=np.stack(list(rows.values())), n=n) if rows else None


def _row(task: Task, example: Example, p: Sequence[float], metric: Metric) -> FloatArray | None:
    """Returns the counts [K] of one example; None if the metric does not count it."""
    if task.kind == "pairwise":
        for_a = 0.5 if p[0] == p[1] else float(p[0] > p[1])
        if metric == "single judgements":
            a, b = example.votes
            return np.array([a * for_a + b * (1 - for_a), a + b], np.float64) if a + b else None
        if example.label not in ("A", "B"):
            return None
        return np.array([for_a if example.label == "A" else 1 - for_a, 1.0])
    label, answer = task.labels.index(example.label), int(np.argmax(p))
    if metric != "balanced accuracy":
        return np.array([float(answer == label), 1.0])
    row = np.zeros(2 * len(task.labels))
    row[label], row[len(task.labels) + label] = float(answer == label), 1.0
    return row


def value(figure: Figure, sums: Mapping[str, FloatArray]) -> FloatArray:
    """Computes a figure [...], between 0 and 1, from the summed counts [..., K] of its tasks; leaves out parts without
    a task in `sums`, and labels without examples.

    Raises:
      KeyError: none of its tasks is in `sums`.
    """
    if isinstance(figure, Mean):
        parts = [part for part in figure.parts.values() if any(task in sums for task in tasks_of(part))]
        return np.asarray(np.mean([value(part, sums) for part in parts], axis=0))
    given = [sums[task] for task in figure.tasks if task in sums]
    if not given:
        raise KeyError(f"none of {', '.join(figure.tasks)}")
    right, counts = np.split(np.sum(given, axis=0), 2, axis=-1)
    shares = np.divide(right, counts, out=np.full_like(right, np.nan), where=counts > 0)
    return np.asarray(np.nanmean(shares, axis=-1))


def interval(
    figure: Figure, tallies: Mapping[str, Tally], against: Mapping[str, Tally] | None = None, *, seed: int = 0
) -> tuple[float, float, float]:
    """Computes a figure with its percentile bootstrap interval over prompts, as shares (not in %).

    Args:
      tallies: the tallies of tasks by name.
      against: the tallies of another judge on the same examples; the result is then the paired difference from it.

    Raises:
      ValueError: the two judges were not counted over the same prompts.
    """
    rng = np.random.default_rng(seed)
    names = [name for name in tasks_of(figure) if name in tallies]
    drawn: list[dict[str, FloatArray]] = [{}, {}]
    for name in names:
        counts = tallies[name].counts
        if against is None:
            drawn[0][name] = resampled_sums(counts, rng)
        elif against[name].counts.shape != counts.shape:
            raise ValueError(f"{name}: the two judges did not answer the same examples")
        else:
            both = resampled_sums(np.hstack([counts, against[name].counts]), rng)  # of one draw of prompts
            drawn[0][name], drawn[1][name] = np.split(both, 2, axis=1)
    samples = value(figure, drawn[0])
    middle = float(value(figure, {name: tallies[name].counts.sum(0) for name in names}))
    if against is not None:
        samples = samples - value(figure, drawn[1])
        middle -= float(value(figure, {name: against[name].counts.sum(0) for name in names}))
    return middle, *percentiles(samples)


def of_task(task: Task) -> Pool:
    """Computes the figure of one task alone."""
    if task.kind == "pairwise":
        return Pool((task.name,))
    return Pool((task.name,), "exact match")
