"""The options of a mixture. Imports nothing heavy, because the commands' help is made from it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flame_rank.fields import described, self_documented

# A task helps a category specifically if the category's accuracy after its tail patch is above this (the paper's tau,
# footnote 5), in %.
THRESHOLDS = {"chat": 95.0, "chat-hard": 66.0, "code": 84.0, "math": 99.8, "safety": 85.0}


@dataclass(frozen=True, kw_only=True)
class TaskChoice:
    """Which training tasks of the collection are used."""

    licence: Literal["any", "permissive"] = described(
        "any", "Which data sets to use: all of them, or only those whose licence allows commercial use."
    )
    extra: bool = described(False, "Add the training tasks that are not in the paper.")


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """The accuracies above which a task of flame-rm is specific to a category."""

    threshold: tuple[str, ...] = described(
        (),
        "For flame-rm, a task helps this category specifically if the category's accuracy after the task's tail patch "
        "is above this percentage; repeat the option for more categories.  [default: the paper's "
        f"{', '.join(f'{category}={least:g}' for category, least in THRESHOLDS.items())}]",
        unit="CATEGORY=PERCENT",
    )

    def __post_init__(self) -> None:
        self.thresholds()

    def thresholds(self) -> dict[str, float]:
        """Returns the threshold of each category, in %."""
        thresholds = dict(THRESHOLDS)
        for value in self.threshold:
            category, _, number = value.partition("=")
            if category not in THRESHOLDS:
                raise ValueError(f"{category!r} is not a category of flame-rm; these are {', '.join(THRESHOLDS)}")
            try:
                thresholds[category] = float(number)
            except ValueError:
                raise ValueError(f"{value!r} is not CATEGORY=PERCENT") from None
            if not 0 <= thresholds[category] <= 100:
                raise ValueError(f"{value!r}: a percentage is between 0 and 100")
        return thresholds


@self_documented
@dataclass(frozen=True, kw_only=True)
class MixtureOptions(Thresholds, TaskChoice):
    """Which mixture of tasks, and how it is weighted.

    Attributes:
      {options}

    Raises:
      ValueError: a threshold is not CATEGORY=PERCENT with a category that flame-rm knows.
    """

    mixture: str = described(
        "flame",
        "The mixture of tasks: flame or flame-rm, the paper's two (section 3.4), or a CSV file with the columns task "
        "and weight.",
        unit="NAME|FILE",
    )
    ratings: Path | None = described(
        None,
        "The ratings that flame-rm needs, as `flame-train tail-patch` writes them: a CSV file with the columns task, "
        "category, rating and score.",
        unit="FILE",
    )
    cap: int | None = described(
        None,
        "Count at most this many examples of a task for its weight in flame.",
        automatic="65536",
        unit="EXAMPLES",
        least=1,
    )
    temperature: float = described(
        1.0,
        "Raise the weights of flame to the power 1/temperature: above 1, small tasks are drawn more often.",
        unit="NUMBER",
        above=0,
    )
