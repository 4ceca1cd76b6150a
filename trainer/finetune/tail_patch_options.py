"""The options of tail patches besides the recipe. Imports nothing heavy, because the command's help is made from it."""

from dataclasses import dataclass

from flame_rank.fields import described, self_documented
from trainer.collection.mixture_options import THRESHOLDS, TaskChoice, Thresholds


@self_documented
@dataclass(frozen=True, kw_only=True)
class TailPatchOptions(Thresholds, TaskChoice):
    """Which tasks are patched, and what is measured.

    Attributes:
      {options}

    Raises:
      ValueError: a shard is not K/N, a category is not NAME=TASK[,TASK...] with a name that flame-rm knows, or a
        threshold is not CATEGORY=PERCENT.
    """

    tasks: tuple[str, ...] = described(
        (), "Patch only this task; repeat the option for more.", option="--task", unit="TASK"
    )
    shard: str | None = described(
        None, "Patch only the K-th of N equal parts of the tasks, counted from 1.", automatic="all tasks", unit="K/N"
    )
    category: tuple[str, ...] = described(
        (),
        "Measure only the categories that this option names, by these evaluation tasks; repeat it for more.",
        automatic="RewardBench's five",
        unit="NAME=TASK[,TASK...]",
    )
    eval_every: int = described(300, "The number of steps between two measurements.", unit="STEPS", least=1)
    eval_size: int | None = described(
        None,
        "The largest number of examples of each evaluation task to measure on.",
        automatic="all examples",
        unit="EXAMPLES",
        least=1,
    )
    save_every: int = described(1000, "The number of steps between two checkpoints.", unit="STEPS", least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.part()
        self.categories()

    def part(self) -> tuple[int, int]:
        """Returns K and N of --shard K/N."""
        if self.shard is None:
            return 1, 1
        first, _, second = self.shard.partition("/")
        if first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second):
            return int(first), int(second)
        raise ValueError(f"{self.shard!r} is not K/N with 1 <= K <= N")

    def categories(self) -> dict[str, list[str]]:
        """Returns the names of the evaluation tasks of each category that --category names."""
        if not self.category:
            return {}
        categories: dict[str, list[str]] = {}
        for value in self.category:
            name, _, listed = value.partition("=")
            tasks = [task.strip() for task in listed.split(",")]
            if not all(tasks):
                raise ValueError(f"{value!r} is not NAME=TASK[,TASK...]")
            if name not in THRESHOLDS:
                raise ValueError(f"{name!r} is not one of flame-rm's categories ({', '.join(THRESHOLDS)})")
            if name in categories:
                raise ValueError(f"{name} is given twice")
            categories[name] = tasks
        return categories
