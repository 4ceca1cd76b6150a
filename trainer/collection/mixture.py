"""Computes how often each task is drawn: the paper's two mixtures (section 3.4).

FLAMe: a task's weight is the number of its examples, at most 2^16. FLAMe-RM: a task's weight is the sum of the weights
of its bundles; the bundles follow from the ratings of tail patches (`flame-train tail-patch` writes the file). The
paper does not publish its ratings, so there are none here.
"""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from flame_rank.errors import UserError
from trainer.collection.counting import count_examples
from trainer.collection.mixture_options import THRESHOLDS, MixtureOptions
from trainer.collection.tasks.base import Task

CAP = 2**16  # the largest number of a task's examples that counts
GENERAL, SPECIFIC, OTHERS = 100_000, 30_000, 3_000  # weights of the bundles
SAFEST, SAFEST_WEIGHT = 3, 250_000  # the tasks that help Safety most weigh this instead of the sum
HELPFUL = 2  # the highest rating; the others are 1, somewhat helpful, 0, no clear effect, and -1, harmful
GENERALLY = 5  # a task is generally helpful if the sum of its ratings is at least this

FIELDS = ("task", "category", "rating", "score")  # columns of a ratings file


@dataclass(frozen=True, kw_only=True)
class Rating:
    """The effect that a tail patch on one task has on a category of the target benchmark.

    Attributes:
      rating: 2 (very helpful), 1, 0 or -1 (harmful).
      score: the category's accuracy after the tail patch, in percent.
    """

    rating: int
    score: float


Ratings: TypeAlias = Mapping[str, Mapping[str, Rating]]  # task -> category -> what was measured


def flame(counts: Mapping[str, int], *, cap: int = CAP, temperature: float = 1.0) -> dict[str, float]:
    """Computes the weights of FLAMe.

    Args:
      counts: the number of examples of each task; tasks without examples are left out.
      cap: the largest number of a task's examples that counts.
      temperature: shares of the largest weight are raised to 1 / temperature: above 1, small tasks are drawn more
        often.

    Raises:
      ValueError: cap or temperature is not positive.
    """
    if cap < 1 or temperature <= 0:
        raise ValueError(f"cap is {cap} and temperature is {temperature}; both must be positive")
    counted = {name: min(count, cap) for name, count in counts.items() if count}
    most = max(counted.values(), default=1)
    return {name: most * (count / most) ** (1 / temperature) for name, count in counted.items()}


def flame_rm(
    counts: Mapping[str, int], ratings: Ratings, thresholds: Mapping[str, float] = THRESHOLDS
) -> dict[str, float]:
    """Computes the weights of FLAMe-RM, for the tasks that have examples.

    Args:
      counts: the number of examples of each task.
      ratings: the rating of each of these tasks in each category.
      thresholds: the threshold of each category, in %; see `bundles`.

    Raises:
      UserError: a task has no rating.
    """
    weights = {}
    for name in (name for name, count in counts.items() if count):
        if name not in ratings:
            raise UserError(
                f"the ratings lack the task {name}; measure it with `flame-train tail-patch`, or leave it out"
            )
        weights[name] = float(sum(_WEIGHTS[bundle.split(":")[0]] for bundle in bundles(ratings[name], thresholds)))
    helpful = [name for name in weights if "specific:safety" in bundles(ratings[name], thresholds)]
    for name in sorted(helpful, key=lambda name: (-ratings[name]["safety"].score, name))[:SAFEST]:
        weights[name] = float(SAFEST_WEIGHT)
    return weights


_WEIGHTS = {"general": GENERAL, "specific": SPECIFIC, "others": OTHERS}


def bundles(rated: Mapping[str, Rating], thresholds: Mapping[str, float] = THRESHOLDS) -> list[str]:
    """Names the bundles of a task: "general", "specific:CATEGORY", or "others" if it is in none of these.

    Args:
      thresholds: the threshold of each category, in %: the task is specific to a category if it is helpful to it and
        its score is above the threshold.
    """
    names = ["general"] if sum(rating.rating for rating in rated.values()) >= GENERALLY else []
    names += [
        f"specific:{category}"
        for category, least in thresholds.items()
        if category in rated and rated[category].rating == HELPFUL and rated[category].score > least
    ]
    return names or ["others"]


def read_ratings(path: Path) -> dict[str, dict[str, Rating]]:
    """Reads a ratings file: CSV with the columns task, category, rating (-1 to 2) and score (percent).

    A category for which no task is rated makes no difference between tasks.

    Raises:
      UserError: the file is missing, a line has another form, or a task is not rated for a category for which other
        tasks are.
    """
    ratings: dict[str, dict[str, Rating]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            if tuple(rows.fieldnames or ()) != FIELDS:
                raise UserError(f"{path}:1: the columns must be {', '.join(FIELDS)}")
            for row in rows:
                where = f"{path}:{rows.line_num}"
                name, category = row["task"], row["category"]
                if category not in THRESHOLDS:
                    raise UserError(f"{where}: category {category!r} is none of {', '.join(THRESHOLDS)}")
                if category in ratings.setdefault(name, {}):
                    raise UserError(f"{where}: {name} is rated twice for {category}")
                ratings[name][category] = _rating(row, where)
    except FileNotFoundError as error:
        raise UserError(
            f"{path}: no such file; FLAMe-RM needs the ratings that `flame-train tail-patch` writes"
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not CSV ({error})") from error
    measured = {category for rated in ratings.values() for category in rated}
    for name, rated in ratings.items():
        if missing := [category for category in THRESHOLDS if category in measured and category not in rated]:
            raise UserError(f"{path}: {name} is not rated for {', '.join(missing)}")
    return ratings


def read_weights(path: Path) -> dict[str, float]:
    """Reads the weights of a user's own mixture: CSV with the columns task and weight.

    Raises:
      UserError: the file is missing, or a line has another form.
    """
    weights: dict[str, float] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            if tuple(rows.fieldnames or ()) != ("task", "weight"):
                raise UserError(f"{path}:1: the columns must be task, weight")
            for row in rows:
                weight = _number(row["weight"])
                if not 0 < weight < float("inf"):
                    raise UserError(f"{path}:{rows.line_num}: weight {row['weight']!r} is not a positive number")
                if row["task"] in weights:
                    raise UserError(f"{path}:{rows.line_num}: the task {row['task']} has a weight already")
                weights[row["task"]] = weight
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; a mixture is flame, flame-rm, or a CSV of task,weight") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not CSV ({error})") from error
    if not weights:
        raise UserError(f"{path}: the file names no task")
    return weights


def _number(text: str | None) -> float:
    try:
        return float(text or "")
    except ValueError:
        return float("nan")


def _rating(row: Mapping[str, str], where: str) -> Rating:
    try:
        rating, score = int(row["rating"]), float(row["score"])
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: rating must be a whole number and score a number ({error})") from error
    if not -1 <= rating <= HELPFUL:
        raise UserError(f"{where}: rating {rating} is not between -1 and {HELPFUL}")
    if not 0 <= score <= 100:
        raise UserError(f"{where}: score {score} is not between 0 and 100")
    return Rating(rating=rating, score=score)


def trained_on(tasks: Sequence[Task], *, permissive: bool = False, extra: bool = False) -> list[Task]:
    """Selects the tasks that a mixture may draw from: never an evaluation task.

    Args:
      permissive: leave out data sets whose licence forbids commercial use or redistribution.
      extra: add the training tasks that are not in the paper.
    """
    splits = ("train", "extra") if extra else ("train",)
    return [task for task in tasks if task.split in splits and (task.data.permissive or not permissive)]


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """The tasks of a mixture and how they are weighted, before any data is read.

    Attributes:
      tasks: all of its tasks, even if their data is not on this machine.
      weights: the weight of each task by name, if a file states them.
      ratings: the ratings from which the weights follow, for flame-rm only.
      thresholds: the threshold of each category, for flame-rm only.
      cap, temperature: as in `flame`, for flame only.
    """

    tasks: Sequence[Task]
    weights: Mapping[str, float] | None = None
    ratings: Ratings | None = None
    thresholds: Mapping[str, float] = field(default_factory=lambda: THRESHOLDS)
    cap: int = CAP
    temperature: float = 1.0

    @classmethod
    def read(cls, options: MixtureOptions) -> "Mixture":
        """Reads the files that the options name.

        Raises:
          UserError: a file is missing or damaged or names an unknown task, or the options contradict each other.
        """
        from trainer.collection.tasks import TASKS, by_name

        if options.mixture not in ("flame", "flame-rm"):
            if options.ratings is not None or options.threshold or options.licence != "any" or options.extra:
                raise UserError(
                    f"--mixture {options.mixture} names its own tasks and weights: leave out --ratings, --threshold, "
                    "--licence and --extra"
                )
            weights = read_weights(Path(options.mixture))
            chosen = [by_name(name) for name in weights]
            if held_out := [task.name for task in chosen if task.split == "eval"]:
                raise UserError(f"{options.mixture}: {', '.join(held_out)}: an evaluation task is never trained on")
            return cls(tasks=chosen, weights=weights)
        tasks = trained_on(TASKS, permissive=options.licence == "permissive", extra=options.extra)
        return cls(
            tasks=tasks,
            ratings=read_needed_ratings(options),
            thresholds=options.thresholds(),
            cap=options.cap or CAP,
            temperature=options.temperature,
        )

    def weigh(self, counts: Mapping[str, int]) -> Mapping[str, float]:
        """Returns the weights that a file states, or computes those of flame-rm if there are ratings and otherwise
        those of flame.

        Args:
          counts: the number of examples of each task.

        Raises:
          UserError: no task has examples, or a task has no rating.
        """
        if self.weights is not None:
            return self.weights
        if not any(counts.values()):
            raise UserError("no task of the mixture is under --data; `flame-train data fetch` gets the data sets")
        if self.ratings is None:
            return flame(counts, cap=self.cap, temperature=self.temperature)
        return flame_rm(counts, self.ratings, self.thresholds)


def read_needed_ratings(options: MixtureOptions) -> Ratings | None:
    """Reads the ratings that flame-rm needs; None for another mixture. It is called early, so that mistakes are
    reported at once.

    Raises:
      UserError: flame-rm has no ratings file, or the file is damaged, or an option is given that the mixture does not
        use.
    """
    if options.mixture != "flame-rm":
        if options.ratings is not None or options.threshold:
            raise UserError("--ratings and --threshold are for --mixture flame-rm")
        return None
    if options.ratings is None:
        raise UserError(
            "--ratings FILE: flame-rm weighs tasks by the ratings of tail patches; the paper publishes none, but "
            "`flame-train tail-patch` makes them"
        )
    if options.cap is not None or options.temperature != 1.0:
        raise UserError("--cap and --temperature are for --mixture flame: flame-rm weighs tasks by their ratings alone")
    return read_ratings(options.ratings)


@dataclass(frozen=True, kw_only=True)
class WeighedTasks:
    """The tasks of a mixture, and the examples of them that are on this machine.

    Attributes:
      tasks: all of the mixture's tasks.
      counts: the number of examples of each task whose data set is on this machine.
      weights: the weight of each task that has examples.
    """

    tasks: Sequence[Task]
    counts: Mapping[str, int]
    weights: Mapping[str, float]


def weigh_available(
    options: MixtureOptions, data: Path, *, max_bad: float, say: Callable[[str], None] = print
) -> WeighedTasks:
    """Counts the examples of a mixture's tasks that are under `data`, and weighs the tasks.

    Args:
      options: flame or flame-rm, and how it is weighted.
      data: the folder of data sets.
      max_bad: the share of a task's records that may be bad.
      say: receives a line about each task that has bad records.

    Raises:
      UserError: the options contradict each other, a file cannot be read, or no task has examples.
    """
    mixture = Mixture.read(options)
    counts = count_examples(mixture.tasks, data, max_bad=max_bad, say=say)
    return WeighedTasks(tasks=mixture.tasks, counts=counts, weights=mixture.weigh(counts))
