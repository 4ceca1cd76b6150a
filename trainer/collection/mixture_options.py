"""What a user says of a mixture, before any data is read. Imports nothing heavy: the commands' help is made of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flame_rank.fields import described, self_documented


@dataclass(frozen=True, kw_only=True)
class TaskChoice:
    """Which training tasks of the collection are used."""

    licence: Literal["any", "permissive"] = described(
        "any", "Which data sets to use: all of them, or only those whose licence allows commercial use."
    )
    extra: bool = described(False, "Add the training tasks that are not in the paper.")


@self_documented
@dataclass(frozen=True, kw_only=True)
class MixtureOptions(TaskChoice):
    """Which mixture of tasks, and how it is weighted.

    Attributes:
      {options}
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
