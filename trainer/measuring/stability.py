"""Measures how much a judge's accuracy varies over the evaluations of a run (the paper's Figure 4)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flame_rank.errors import UserError
from trainer.collection.tasks import by_name
from trainer.finetune import metrics
from trainer.measuring.benchmarks import SECTIONS

ALL = "all tasks"


@dataclass(frozen=True, kw_only=True)
class Course:
    """The accuracy of one category over the evaluations of a run, in %.

    Attributes:
      steps: [k] the steps after which it was measured.
      accuracy: [k] the mean over the category's tasks.
    """

    steps: tuple[int, ...]
    accuracy: tuple[float, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.accuracy))

    @property
    def deviation(self) -> float:
        """The standard deviation between evaluations (n - 1)."""
        return float(np.std(self.accuracy, ddof=1)) if len(self.accuracy) > 1 else 0.0


def read_courses(run: Path, last: int | None = None) -> dict[str, Course]:
    """Reads the evaluations of a run: of RewardBench's sections, of the capabilities of other tasks, and of all
    together.

    Args:
      run: a folder that `flame-train run --eval` wrote.
      last: the number of last evaluations that count; None for all.

    Raises:
      UserError: the run has no evaluation.
    """
    path = run / metrics.METRICS
    if not path.exists():
        raise UserError(f"{path}: no such file; {run} is not the folder of a run")
    lines = [line for line in metrics.lines(path) if "eval" in line][-last if last else None :]
    if not lines:
        raise UserError(f"{path}: no evaluation in it; `flame-train run --eval TASK` measures during training")
    courses: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for line in lines:
        for name, accuracy in _by_category(line["eval"]).items():
            courses[name].append((line["step"], 100 * accuracy))
    return {
        name: Course(steps=tuple(step for step, _ in course), accuracy=tuple(value for _, value in course))
        for name, course in courses.items()
    }


def _by_category(accuracies: Mapping[str, float]) -> dict[str, float]:
    groups: dict[str, list[float]] = defaultdict(list)
    for task, accuracy in accuracies.items():
        groups[_category(task)].append(accuracy)
        groups[ALL].append(accuracy)
    return {name: float(np.mean(values)) for name, values in sorted(groups.items())}


def _category(task: str) -> str:
    section = next((name for name, tasks in SECTIONS.items() if task in tasks), None)
    return f"RewardBench {section}" if section else by_name(task).capability


def draw(courses: Mapping[str, Course], file: Path) -> None:
    """Draws the courses into a file, SVG or PNG by its ending.

    Raises:
      UserError: matplotlib is not installed, or does not know the file's ending.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("--plot needs matplotlib; pip install 'flame-rank[plot]'") from error
    figure = Figure(figsize=(8, 4.5))
    panel = figure.add_subplot()
    for name, course in courses.items():
        panel.plot(course.steps, course.accuracy, marker="o", markersize=3, label=name)
    panel.set_xlabel("step")
    panel.set_ylabel("accuracy, %")
    panel.legend(fontsize=8)
    figure.tight_layout()
    try:
        figure.savefig(file)
    except ValueError as error:
        raise UserError(f"{file}: {error}") from error


def rows(courses: Mapping[str, Course]) -> Sequence[tuple[str, str, str, str, str]]:
    """Returns a line for each category: its name, evaluations, mean, standard deviation and range, in %."""
    return [
        (
            name,
            str(len(course.steps)),
            f"{course.mean:.1f}",
            f"{course.deviation:.2f}",
            f"{min(course.accuracy):.1f} to {max(course.accuracy):.1f}",
        )
        for name, course in courses.items()
    ]
