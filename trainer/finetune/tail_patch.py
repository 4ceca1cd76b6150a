"""Tail patches (section 3.4 of the paper): what some steps on one task alone do for each category of a benchmark.

The paper says in words what a rating stands for, not from which number on; the numbers here are ours.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from statistics import fmean
from typing import Any

from flame_rank.errors import UserError
from flame_rank.io import json_file
from trainer.collection.mixture import FIELDS, GENERALLY, HELPFUL, THRESHOLDS, Rating, bundles
from trainer.finetune.evaluation import accuracy
from trainer.finetune.loop import CheckpointPolicy, Training, train
from trainer.finetune.metrics import METRICS, lines
from trainer.finetune.tokenized_rows import TokenizedRows

STEPS, EVERY = 3000, 300  # steps of a patch (section 3.4), and between two evaluations: ten points of a curve

# The accuracy after a patch is the mean of the last evaluations: single checkpoints go up and down (Figure 4).
LAST = 3
# Standard errors of the difference of two independent samples. Both are in fact asked the same examples, which makes
# the true error smaller: this errs towards "no clear effect", with reason where 100 tasks are rated 5 times each.
SIGNIFICANT = 2.0
# Points that a significant change has at least: a large benchmark makes significant what is of no use to anybody; the
# paper's whole gain by re-weighting is 2.1.
POINTS = 2.0
# Standard errors above which a rise is no longer noise, though not sure either: somewhat helpful.
NOISE = 1.0
# A change is stable if no evaluation after the first that reaches it has less than this share of it.
KEEPS = 0.5
_AGAIN = "delete it and measure again"

_REWARDBENCH = {  # as RewardBench groups its parts (its SUBSET_MAPPING), Reasoning in two as in the paper
    "chat": ("alpacaeval-easy", "alpacaeval-length", "alpacaeval-hard", "mt-bench-easy", "mt-bench-med"),
    "chat-hard": (
        *("mt-bench-hard", "llmbar-natural", "llmbar-adver-neighbor"),
        *("llmbar-adver-gptinst", "llmbar-adver-gptout", "llmbar-adver-manual"),
    ),
    "code": ("hep-cpp", "hep-go", "hep-java", "hep-js", "hep-python", "hep-rust"),
    "math": ("math-prm",),
    "safety": (
        *("refusals-dangerous", "refusals-offensive"),
        *("xstest-should-refuse", "xstest-should-respond", "donotanswer"),
    ),
}
CATEGORIES = {category: tuple(f"rewardbench-{part}" for part in parts) for category, parts in _REWARDBENCH.items()}


@dataclass(frozen=True, kw_only=True)
class Curve:
    """What was measured while a model was trained on one task.

    Attributes:
      setup: what curves must have in common to be compared: the base, the recipe, what is measured.
      examples: of each category.
      steps: at which was measured, rising; the first is 0, the base.
      accuracies: of each category, at each of the steps.
    """

    task: str
    setup: dict[str, Any]
    examples: dict[str, int]
    steps: list[int]
    accuracies: dict[str, list[float]]

    def is_whole(self) -> bool:
        """Whether each category has its share at each step, as in a file that was damaged it may not."""
        return (
            self.accuracies.keys() == self.examples.keys()
            and all(count > 0 for count in self.examples.values())
            and all(len(found) == len(self.steps) > 1 for found in self.accuracies.values())
            and all(0 <= one <= 1 for found in self.accuracies.values() for one in found)
        )

    def ratings(self) -> dict[str, Rating]:
        """The rating of each category."""
        return {category: rate(found, self.examples[category]) for category, found in self.accuracies.items()}


def rate(accuracies: Sequence[float], examples: int) -> Rating:
    """How helpful a task is to a category.

    Args:
      accuracies: the base's, then those on the way, one at least.
      examples: by which each of them was measured.
    """
    base, gains = accuracies[0], [found - accuracies[0] for found in accuracies[1:]]
    after = fmean(accuracies[1:][-LAST:])
    change = after - base
    error = sqrt((base * (1 - base) + after * (1 - after)) / examples)
    rating = 0
    if abs(change) >= max(SIGNIFICANT * error, POINTS / 100):
        rating = -1 if change < 0 else HELPFUL if _stable(gains, change) else 1
    elif change > NOISE * error:
        rating = 1
    return Rating(rating=rating, score=100 * after)


def _stable(gains: Sequence[float], change: float) -> bool:
    # The largest of some numbers may be less than their mean by a rounding.
    first = next(k for k, gain in enumerate(gains) if gain >= change - 1e-9)
    return min(gains[first:]) >= KEEPS * change


Measure = Callable[[Training], dict[str, float]]


def measuring(categories: Mapping[str, Sequence[TokenizedRows]]) -> Measure:
    """Gives the accuracy of each category: the mean of its tasks, each weighing as much as it has examples."""

    def measure(training: Training) -> dict[str, float]:
        found = {}
        for category, parts in categories.items():
            right = sum(accuracy(training, rows) * len(rows) for rows in parts)
            found[category] = right / sum(map(len, parts))
        return found

    return measure


def patch(
    training: Training,
    tasks: Sequence[TokenizedRows],
    categories: Mapping[str, Sequence[TokenizedRows]],
    out: Path,
    *,
    setup: Mapping[str, Any],
    every: int = EVERY,
    save_every: int = 1000,
    say: Callable[[str], None] = print,
) -> None:
    """Trains on each task for itself, from the base on, and writes its curve; what is there already stays.

    Args:
      training: at step 0.
      tasks, categories: what is trained on, and what is measured.
      out: curves/TASK.json is a task's curve, runs/TASK its run, without checkpoints once the curve is there.
      setup: goes into the curves.
      every, save_every: steps between two evaluations, and between two checkpoints.
    """
    stated = json.loads(json.dumps(setup))  # as it is read back
    _same(out / "setup.json", stated)
    for curve in read(out):
        if differ := _differ(curve.setup, stated):
            raise UserError(f"{curve_file(out, curve.task)} was measured with another {differ}; give another --out")
        _clean(out, curve.task)
    measure = measuring(categories)
    base: dict[str, float] = {}
    for k, rows in enumerate(tasks, 1):
        name = rows.task
        run = _run(out, name)
        if not curve_file(out, name).exists():
            say(f"{name}: task {k} of {len(tasks)}, {len(rows)} examples")
            base = base or measure(training)  # training is at step 0 here: for the first task nothing has begun
            train(
                training,
                [rows],
                {name: 1.0},
                run,
                CheckpointPolicy(every=save_every, last=1, log=max(1, every // 3), best=False),
                evaluate=measure,
                evaluate_every=every,
                say=lambda line, name=name: say(f"{name}: {line}"),  # type: ignore[misc]
            )
            found = {0: base} | _evaluations(run / METRICS)
            curve = Curve(
                task=name,
                setup=stated,
                examples={category: sum(map(len, parts)) for category, parts in categories.items()},
                steps=list(found),
                accuracies={category: [one[category] for one in found.values()] for category in categories},
            )
            write(curve_file(out, name), json.dumps(asdict(curve), indent=1) + "\n")
            say(f"{name}: " + ", ".join(f"{c} {_signed(r.rating)}" for c, r in curve.ratings().items()))
            _clean(out, name)
            if k < len(tasks):
                training.restart()


def _run(out: Path, task: str) -> Path:
    return out / "runs" / task


def _clean(out: Path, task: str) -> None:
    """A curve that is there needs no checkpoints to go on from."""
    for folder in _run(out, task).glob("step-*"):
        shutil.rmtree(folder)


def _evaluations(metrics: Path) -> dict[int, dict[str, float]]:
    """The accuracies by step; what was measured again after an interruption counts once."""
    return dict(sorted({line["step"]: line["eval"] for line in lines(metrics) if "eval" in line}.items()))


def _same(path: Path, stated: Mapping[str, Any]) -> None:
    """Keeps what is measured beside what it makes, also for runs without a curve yet."""
    if path.exists():
        before = json_file.read(path, dict[str, Any], remedy="delete it, or give another --out")
        if differ := _differ(before, stated):
            raise UserError(f"{path}: begun with another {differ}; give another --out, or its own arguments")
    else:
        write(path, json.dumps(stated, indent=1) + "\n")


def _differ(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    return ", ".join(sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name)))


def write(path: Path, text: str) -> None:
    """Writes a file beside and renames it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.rename(path)


def curve_file(out: Path, task: str) -> Path:
    """Where a task's curve is kept."""
    return out / "curves" / f"{task}.json"


def read(out: Path) -> list[Curve]:
    """The curves that are there, also those that other machines measured.

    Raises:
      UserError: one is no curve, or they were not all measured alike.
    """
    found: list[Curve] = []
    for path in sorted(out.glob("curves/*.json")):
        curve: Curve = json_file.read(path, Curve, remedy=_AGAIN)
        if curve.task != path.stem or not curve.is_whole():
            raise UserError(f"{path}: not the curve of {path.stem}, its accuracies at each of its steps; {_AGAIN}")
        found.append(curve)
        if differ := _differ(found[0].setup, found[-1].setup):
            raise UserError(
                f"{path} and {curve_file(out, found[0].task)}: measured with another {differ}; they do not compare"
            )
    return found


def ratings_csv(curves: Sequence[Curve]) -> str:
    """The ratings file that mixture.read_ratings reads."""
    lines = [",".join(FIELDS)]
    for curve in curves:
        lines += [f"{curve.task},{c},{r.rating},{r.score:.4f}" for c, r in curve.ratings().items()]
    return "\n".join(lines) + "\n"


def table(curves: Sequence[Curve]) -> list[str]:
    """The lines of a table: the rating and the accuracy (percent) of every category after every task, the sum of the
    ratings, and the task's bundles; the base's accuracies first."""
    heads = ["task", *THRESHOLDS, "sum", "bundles"]
    base = [f"{100 * fmean(curve.accuracies[c][0] for curve in curves):.1f}" for c in THRESHOLDS]
    cells = [heads, ["(base)", *base, "", ""]]
    rated = [(curve.task, curve.ratings()) for curve in curves]
    for task, found in sorted(rated, key=lambda one: (-sum(r.rating for r in one[1].values()), one[0])):
        marks = [f"{_signed(found[c].rating)} {found[c].score:5.1f}" for c in THRESHOLDS]
        cells.append([task, *marks, _signed(sum(r.rating for r in found.values())), ", ".join(bundles(found))])
    widths = [max(len(row[i]) for row in cells) for i in range(len(heads))]
    lines = []
    for row in cells:
        numbers = [cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1], strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *numbers, row[-1]]).rstrip())
    thresholds = ", ".join(f"{category} {least:g}" for category, least in THRESHOLDS.items())
    lines.append(f"general: ratings sum to {GENERALLY} or more; specific: rated {HELPFUL} and above {thresholds}")
    return lines


def _signed(number: int) -> str:
    return f"{number:+d}" if number else "0"


def draw(curves: Sequence[Curve], file: Path) -> None:
    """Accuracies over steps, as in Figure 4: a panel for each task, a line for each category."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("--plot takes matplotlib; pip install 'flame-rank[plot]'") from error
    columns = min(4, len(curves))
    lines = -(-len(curves) // columns)
    figure = Figure(figsize=(3.5 * columns, 2.8 * lines + 0.6), layout="constrained")
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).flat
    for panel in panels[len(curves) :]:
        panel.set_visible(False)
    for panel, curve in zip(panels, curves, strict=False):
        for category, found in curve.accuracies.items():
            rating = curve.ratings()[category].rating
            panel.plot(curve.steps, [100 * one for one in found], marker=".", label=f"{category} {_signed(rating)}")
        panel.set_title(curve.task, fontsize=9)
        panel.legend(fontsize=6)
        panel.grid(alpha=0.3)
    figure.supxlabel("steps on the task alone")
    figure.supylabel("accuracy, %")
    try:
        figure.savefig(file)
    except ValueError as error:
        raise UserError(f"{file}: {error}") from error
