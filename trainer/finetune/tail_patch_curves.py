"""The results of tail patches: curves of accuracy, the ratings that follow from them, a table and a figure.

A tail patch (section 3.4 of the paper) trains on one task alone for some steps. The paper describes the ratings in
words, without thresholds; the thresholds here are our own.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from flame_rank.errors import UserError
from flame_rank.io import json_file
from flame_rank.io.run_settings import differing
from flame_rank.io.writing import write_whole
from trainer.collection.mixture import FIELDS, GENERALLY, HELPFUL, Rating, bundles
from trainer.collection.mixture_options import THRESHOLDS

# What a patch comes to is the mean of this many last evaluations: single ones go up and down (Figure 4).
LAST = 3
# A change is significant from this number of standard errors on. Base and patched model answer the same examples, of
# which only those count whose answer flips: if flips to right and to wrong are equally likely, the difference of n
# flips has a standard error of sqrt(n) (McNemar's test; the mean of several evaluations may flip by a part).
SIGNIFICANT = 2.0
# A helpful or harmful change has at least this number of percentage points: on a large benchmark even a useless change
# is significant. The paper's whole gain by re-weighting is 2.1 points.
POINTS = 2.0
# Above this number of standard errors a rise is more than noise, but not significant: somewhat helpful. A useless task
# gets there in a twentieth of the cases.
NOISE = 1.645
# A change is stable if, after it is first reached, every evaluation keeps at least this share of it.
KEEPS = 0.5
_REMEDY = "delete it and measure again"

BoolArray: TypeAlias = npt.NDArray[np.bool_]
RightAnswers: TypeAlias = dict[str, BoolArray]  # category -> whether each of its examples is answered right

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
    """The accuracies that were measured while a model was trained on one task.

    Attributes:
      task: its name.
      setup: the settings that must be equal to compare curves: the base, the recipe, the measured tasks.
      examples: the number of examples of each category.
      steps: the numbers of steps after which the answers were taken, rising; the first is 0, the base.
      right: for each category and each of the steps, which examples were answered right: a bit for each example, in
        hexadecimal digits.
    """

    task: str
    setup: dict[str, Any]
    examples: dict[str, int]
    steps: list[int]
    right: dict[str, list[str]]

    @classmethod
    def of(cls, task: str, setup: dict[str, Any], measured: Mapping[int, RightAnswers]) -> Self:
        """Makes the curve of what was measured after some steps."""
        steps = sorted(measured)
        categories = list(measured[steps[0]])
        return cls(
            task=task,
            setup=setup,
            examples={category: len(measured[steps[0]][category]) for category in categories},
            steps=steps,
            right={category: [_packed(measured[step][category]) for step in steps] for category in categories},
        )

    def is_whole(self) -> bool:
        """Tells whether each category has an answer to each example at each step; in a damaged file it may not."""
        try:
            return (
                self.right.keys() == self.examples.keys()
                and all(count > 0 for count in self.examples.values())
                and all(len(values) == len(self.steps) > 1 for values in self.right.values())
                and all(self.answers(category).size for category in self.right)
            )
        except ValueError:
            return False

    def answers(self, category: str) -> BoolArray:
        """Returns which examples were answered right, [steps, examples].

        Raises:
          ValueError: a step does not have an answer to each example.
        """
        return np.stack([_unpacked(digits, self.examples[category]) for digits in self.right[category]])

    @property
    def accuracies(self) -> dict[str, list[float]]:
        """The accuracy in each category, one at each of the steps."""
        return {category: self.answers(category).mean(1).tolist() for category in self.right}

    def ratings(self) -> dict[str, Rating]:
        """Computes the rating of each category."""
        return {category: rate(self.answers(category)) for category in self.right}


def rate(right: BoolArray) -> Rating:
    """Rates how helpful a task is to a category.

    Args:
      right: [1 + evaluations, examples] whether each example is answered right: in row 0 by the base, in each other row
        at an evaluation during the patch; there is at least one evaluation.
    """
    accuracies = right.mean(1)
    gains = (accuracies[1:] - accuracies[0]).tolist()
    after = right[1:][-LAST:].mean(0)  # of each example
    flips = after - right[0]
    change, error = float(flips.mean()), float(np.sqrt((flips**2).sum())) / len(flips)
    rating = 0
    if abs(change) >= max(SIGNIFICANT * error, POINTS / 100):
        rating = -1 if change < 0 else HELPFUL if _stable(gains, change) else 1
    elif change > NOISE * error:
        rating = 1
    return Rating(rating=rating, score=100 * float(after.mean()))


def _stable(gains: Sequence[float], change: float) -> bool:
    # By rounding, the largest of some numbers may be slightly less than their mean.
    first = next(k for k, gain in enumerate(gains) if gain >= change - 1e-9)
    return min(gains[first:]) >= KEEPS * change


def _packed(right: BoolArray) -> str:
    return np.packbits(right).tobytes().hex()


def _unpacked(digits: str, count: int) -> BoolArray:
    packed = np.frombuffer(bytes.fromhex(digits), np.uint8)
    if len(packed) != -(-count // 8):
        raise ValueError(f"{len(packed)} bytes are not the answers to {count} examples")
    return np.unpackbits(packed, count=count).astype(bool)


def write_right(run: Path, step: int, right: RightAnswers) -> None:
    """Keeps in the folder of a run which examples were answered right after a step."""
    path = run / "right" / f"{step}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps({category: [len(a), _packed(a)] for category, a in right.items()}) + "\n")


def read_right(run: Path) -> dict[int, RightAnswers]:
    """Reads what `write_right` kept in the folder of a run, by step.

    Raises:
      UserError: a file is damaged.
    """
    measured = {}
    for path in run.glob("right/*.json"):
        kept: dict[str, tuple[int, str]] = json_file.read(path, dict[str, tuple[int, str]], remedy=_REMEDY)
        try:
            measured[int(path.stem)] = {category: _unpacked(digits, n) for category, (n, digits) in kept.items()}
        except ValueError as error:
            raise UserError(f"{path}: {error}; {_REMEDY}") from error
    return measured


def curve_file(out: Path, task: str) -> Path:
    """Returns the file of a task's curve in the folder of the tail patches."""
    return out / "curves" / f"{task}.json"


def read_curves(out: Path) -> list[Curve]:
    """Reads the curves in a folder, including those that were copied from other machines.

    Raises:
      UserError: a file is not a curve, or the curves were not all measured in the same way.
    """
    curves: list[Curve] = []
    for path in sorted(out.glob("curves/*.json")):
        curve: Curve = json_file.read(path, Curve, remedy=_REMEDY)
        if curve.task != path.stem or not curve.is_whole():
            raise UserError(f"{path}: not a curve of {path.stem} with an accuracy at each of its steps; {_REMEDY}")
        curves.append(curve)
        if names := differing(curves[0].setup, curve.setup):
            raise UserError(
                f"{path} and {curve_file(out, curves[0].task)}: measured with another {', '.join(names)}; they cannot "
                "be compared"
            )
    return curves


def write_curve(out: Path, curve: Curve) -> None:
    """Writes a curve to its file."""
    write_whole(curve_file(out, curve.task), json.dumps(dataclasses.asdict(curve), indent=1) + "\n")


def ratings_csv(curves: Sequence[Curve]) -> str:
    """Returns the text of a ratings file, as `trainer.collection.mixture.read_ratings` reads it."""
    lines = [",".join(FIELDS)]
    for curve in curves:
        lines += [f"{curve.task},{c},{r.rating},{r.score:.4f}" for c, r in curve.ratings().items()]
    return "\n".join(lines) + "\n"


def table(curves: Sequence[Curve], thresholds: Mapping[str, float] = THRESHOLDS) -> list[str]:
    """Returns the lines of a table: the base's accuracies, then for each task its rating and accuracy in each category.

    Accuracies are in percent. The last two columns are the sum of the ratings and the task's bundles.

    Args:
      thresholds: the threshold of each category, in %; see `bundles`.
    """
    measured = [c for c in THRESHOLDS if all(c in curve.accuracies for curve in curves)]
    heads = ["task", *measured, "sum", "bundles"]
    base = [f"{100 * fmean(curve.accuracies[c][0] for curve in curves):.1f}" for c in measured]
    cells = [heads, ["(base)", *base, "", ""]]
    rated = [(curve.task, curve.ratings()) for curve in curves]
    for task, ratings in sorted(rated, key=lambda item: (-sum(r.rating for r in item[1].values()), item[0])):
        marks = [f"{signed(ratings[c].rating)} {ratings[c].score:5.1f}" for c in measured]
        cells.append(
            [task, *marks, signed(sum(r.rating for r in ratings.values())), ", ".join(bundles(ratings, thresholds))]
        )
    widths = [max(len(row[i]) for row in cells) for i in range(len(heads))]
    lines = []
    for row in cells:
        numbers = [cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1], strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *numbers, row[-1]]).rstrip())
    least = ", ".join(f"{category} {percent:g}" for category, percent in thresholds.items() if category in measured)
    lines.append(f"general: ratings sum to {GENERALLY} or more; specific: rated {HELPFUL} and above {least}")
    return lines


def signed(number: int) -> str:
    """Writes a rating with its sign."""
    return f"{number:+d}" if number else "0"


def draw(curves: Sequence[Curve], file: Path) -> None:
    """Draws accuracies over steps as in the paper's Figure 4: a panel for each task, a line for each category.

    Args:
      file: SVG or PNG, by its ending.

    Raises:
      UserError: matplotlib is not installed, or does not know the file's ending.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("--plot needs matplotlib; pip install 'flame-rank[plot]'") from error
    columns = min(4, len(curves))
    lines = -(-len(curves) // columns)
    figure = Figure(figsize=(3.5 * columns, 2.8 * lines + 0.6), layout="constrained")
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).flat
    for panel in panels[len(curves) :]:
        panel.set_visible(False)
    for panel, curve in zip(panels, curves, strict=False):
        ratings = curve.ratings()
        for category, accuracies in curve.accuracies.items():
            rating = ratings[category].rating
            panel.plot(
                curve.steps,
                [100 * accuracy for accuracy in accuracies],
                marker=".",
                label=f"{category} {signed(rating)}",
            )
        panel.set_title(curve.task, fontsize=9)
        panel.legend(fontsize=6)
        panel.grid(alpha=0.3)
    figure.supxlabel("steps on the task alone")
    figure.supylabel("accuracy, %")
    try:
        figure.savefig(file)
    except ValueError as error:
        raise UserError(f"{file}: {error}") from error
