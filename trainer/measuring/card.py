"""A judge's report card: the paper's benchmarks (Tables 1 and 2) and every task, each figure with its number of
examples, its interval and baselines."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

from trainer.collection.tasks.base import Task
from trainer.collection.training_data import NOT_KNOWN
from trainer.measuring.baselines import BASELINES, chance
from trainer.measuring.benchmarks import BENCHMARKS, REWARDBENCH, TABLE_1, TABLE_2, Figure, Mean, Metric, Pool, tasks_of
from trainer.measuring.suite import Asked
from trainer.measuring.tally import Tally, interval, of_task, tally, value

PRINTED = ("PaLM-2-24B", "FLAMe-24B", "FLAMe-RM-24B")  # the paper's rows that stand beside each figure


@dataclass(frozen=True, kw_only=True)
class Line:
    """One figure of a card; shares are in %.

    Attributes:
      name: the name of the benchmark, section or task.
      metric: how the figure is computed.
      tasks: the names of the tasks that were asked; `of` is the number of the figure's tasks in all.
      n: the number of examples, or of single judgements, that were counted.
      invalid: the number of examples without a valid answer, which are not counted.
      share: the figure with its 95 % bootstrap interval over prompts.
      difference: the paired difference from the other judge, with its interval.
      baselines: the results of baselines by name; a baseline that does not apply to these tasks is missing.
      contact: whether the tasks overlap with what the judge was trained on (trainer/collection/training_data.py), with
        the number of tasks if they differ.
      paper: the paper's results for the whole benchmark.
      flipped: the share of pairs in which the judge prefers the same position in both orders.
      mass: the mean probability that the model gives to all labels together.
      scale: for a task whose labels are numbers, Pearson's and Spearman's correlation of the expected label with the
        annotators', and the mean absolute error.
    """

    name: str
    metric: str
    tasks: tuple[str, ...]
    of: int
    n: int
    invalid: int
    share: tuple[float, float, float]
    contact: str = NOT_KNOWN
    difference: tuple[float, float, float] | None = None
    baselines: Mapping[str, float] = field(default_factory=dict)
    paper: Mapping[str, float] = field(default_factory=dict)
    flipped: float | None = None
    mass: float | None = None
    scale: tuple[float, float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Card:
    """All figures of a judge.

    Attributes:
      judge: the judge's identity.
      against: the identity of the judge with which it is compared; empty without one.
      benchmarks: the lines of the paper's benchmarks and of RewardBench's sections.
      tasks: the lines of the single tasks.
      not_applicable: the names of tasks that this judge cannot answer.
      missing: the names of tasks whose data is missing.
      unanswered: the names of tasks to which the judge gave no valid answer.
      limit: the most examples that were asked per task; None for all.
    """

    judge: str
    against: str
    benchmarks: tuple[Line, ...]
    tasks: tuple[Line, ...]
    not_applicable: tuple[str, ...]
    missing: tuple[str, ...]
    unanswered: tuple[str, ...] = ()
    limit: int | None = None


def card(
    judge: str,
    asked: Mapping[str, Asked],
    *,
    against: str = "",
    other: Mapping[str, Asked] | None = None,
    not_applicable: Sequence[str] = (),
    missing: Sequence[str] = (),
    contact: Mapping[str, str] | None = None,
    limit: int | None = None,
) -> Card:
    """Makes a card from a judge's answers to tasks (by task name), and from those of another judge if there is one.

    Args:
      contact: for each task, whether it overlaps with what the judge was trained on; None if that is not known.
    """
    figures: dict[str, Figure] = dict(BENCHMARKS)
    for name, benchmark in BENCHMARKS.items():
        if isinstance(benchmark, Pool) and benchmark.metric == "single judgements":
            figures[f"{name}, by majority"] = Pool(benchmark.tasks)
    for section, part in REWARDBENCH.parts.items():
        figures[f"RewardBench {section}"] = part
    contact = contact or {}
    lines = [
        _line(name, figure, asked, other, contact)
        for name, figure in figures.items()
        if any(task in asked for task in tasks_of(figure))
    ]
    by_task = [_line(name, of_task(answers.task), asked, other, contact) for name, answers in asked.items()]
    return Card(
        judge=judge,
        against=against,
        benchmarks=tuple(line for line in lines if line is not None),
        tasks=tuple(line for line in by_task if line is not None),
        not_applicable=tuple(not_applicable),
        missing=tuple(missing),
        unanswered=tuple(name for name, answers in asked.items() if answers.invalid == len(answers.answers)),
        limit=limit,
    )


def _contact(tasks: Sequence[str], contact: Mapping[str, str]) -> str:
    """Returns the kind of contact that all tasks have, or the number of tasks with each kind."""
    counts = Counter(contact.get(task, NOT_KNOWN) for task in tasks)
    return next(iter(counts)) if len(counts) == 1 else ", ".join(f"{word} {count}" for word, count in counts.items())


def _line(
    name: str,
    figure: Figure,
    asked: Mapping[str, Asked],
    other: Mapping[str, Asked] | None,
    contact: Mapping[str, str],
) -> Line | None:
    """Returns a figure's line; None if no example of it has a valid answer."""
    given = [asked[task] for task in tasks_of(figure) if task in asked]
    metrics = dict(_metrics(figure))
    tallies = _tallies(metrics, given)
    if not tallies:
        return None
    answered = [answers for answers in given if answers.task.name in tallies]
    share = interval(figure, tallies)
    difference = None
    if other is not None and all(answers.task.name in other for answers in answered):
        both = {answers.task.name: _shared(answers, other[answers.task.name]) for answers in answered}
        ours, theirs = (_tallies(metrics, [pair[k] for pair in both.values()]) for k in (0, 1))
        difference = (
            _percent(interval(figure, ours, theirs)) if ours.keys() == theirs.keys() == tallies.keys() else None
        )
    flips = [answers.flipped for answers in answered if answers.flipped is not None]
    masses = [answers.mass for answers in answered if answers.mass is not None]
    return Line(
        name=name,
        metric="mean of its parts" if isinstance(figure, Mean) else figure.metric,
        tasks=tuple(tallies),
        of=len(list(tasks_of(figure))),
        n=sum(task_tally.n for task_tally in tallies.values()),
        invalid=sum(answers.invalid for answers in given),
        share=_percent(share),
        contact=_contact(list(tallies), contact),
        difference=difference,
        baselines=_baselines(figure, metrics, answered),
        paper=_paper(name) if len(tallies) == len(list(tasks_of(figure))) else {},
        flipped=100 * sum(flips) / len(flips) if flips else None,
        mass=sum(masses) / len(masses) if masses else None,
        scale=_scale(answered[0]) if len(answered) == 1 else None,
    )


def _scale(asked: Asked) -> tuple[float, float, float] | None:
    """Computes the correlations and the mean absolute error of a task whose labels are numbers; None for another
    task, or if the annotators' labels are all equal."""
    if not all(label.lstrip("-").isdecimal() for label in asked.task.labels):
        return None
    steps = np.array([float(label) for label in asked.task.labels])
    valid = [(p, float(example.label)) for p, example in zip(asked.p, asked.examples, strict=True) if p]
    expected, labels = np.array([p for p, _ in valid]) @ steps, np.array([label for _, label in valid])
    if len({*labels.tolist()}) < 2 or np.ptp(expected) == 0:
        return None
    pearson, spearman = (float(f(expected, labels).statistic) for f in (stats.pearsonr, stats.spearmanr))
    return pearson, spearman, float(np.abs(expected - labels).mean())


def _metrics(figure: Figure) -> list[tuple[str, Metric]]:
    """Returns the metric of each task under a figure."""
    if isinstance(figure, Pool):
        return [(task, figure.metric) for task in figure.tasks]
    return [pair for part in figure.parts.values() for pair in _metrics(part)]


def _tallies(metrics: Mapping[str, Metric], given: Sequence[Asked]) -> dict[str, Tally]:
    counted = {
        answers.task.name: tally(answers.task, answers.examples, answers.p, metrics[answers.task.name])
        for answers in given
    }
    return {name: counts for name, counts in counted.items() if counts is not None}


def _shared(ours: Asked, theirs: Asked) -> tuple[Asked, Asked]:
    """Selects the examples to which both judges gave a valid answer."""
    both = [bool(a.p and b.p) for a, b in zip(ours.answers, theirs.answers, strict=True)]
    picked = [
        Asked(
            task=judge.task,
            examples=[example for example, valid in zip(judge.examples, both, strict=True) if valid],
            answers=[answer for answer, valid in zip(judge.answers, both, strict=True) if valid],
        )
        for judge in (ours, theirs)
    ]
    return picked[0], picked[1]


def _baselines(figure: Figure, metrics: Mapping[str, Metric], answered: Sequence[Asked]) -> dict[str, float]:
    """Computes the results of the baselines on the examples that the judge answered, in %."""
    shares = {"chance": 100 * _mean_chance(figure, {answers.task.name: answers.task for answers in answered})}
    for name, answer in BASELINES.items():
        counted = {}
        for answers in answered:
            given = [e for e, a in zip(answers.examples, answers.answers, strict=True) if a.p]
            counted[answers.task.name] = tally(
                answers.task, given, answer(answers.task, given), metrics[answers.task.name]
            )
        sums = {task: counts.counts.sum(0) for task, counts in counted.items() if counts is not None}
        if len(sums) == len(answered):
            shares[name] = 100 * float(value(figure, sums))
    return shares


def _mean_chance(figure: Figure, tasks: Mapping[str, Task]) -> float:
    if isinstance(figure, Mean):
        parts = [part for part in figure.parts.values() if any(task in tasks for task in tasks_of(part))]
        return sum(_mean_chance(part, tasks) for part in parts) / len(parts)
    shares = [chance(tasks[name]) for name in figure.tasks if name in tasks]
    return sum(shares) / len(shares)


def _paper(name: str) -> dict[str, float]:
    """Returns the paper's figures of a benchmark or of a section of RewardBench."""
    if name in BENCHMARKS:
        column = list(BENCHMARKS).index(name)
        return {row: TABLE_1[row][column] for row in PRINTED}
    section = name.removeprefix("RewardBench ")
    if section in REWARDBENCH.parts:
        column = 1 + list(REWARDBENCH.parts).index(section)
        return {row: TABLE_2[row][column] for row in PRINTED}
    return {}


def _percent(shares: tuple[float, float, float]) -> tuple[float, float, float]:
    middle, low, high = shares
    return 100 * middle, 100 * low, 100 * high
