"""Records what a checkpoint was trained on, in a file beside its weights, and whether an evaluation task overlaps
with it."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from flame_rank import judges
from flame_rank.io import json_file
from flame_rank.io.writing import write_whole
from flame_rank.judges import SHIPPED

FILE = "training_data.json"
_SHIPPED = Path(judges.__file__).parent
NONE, TRAINED_ON, NOT_CHECKED, NOT_KNOWN = "none", "trained on", "not checked", "not known"


class TrainingData(msgspec.Struct, frozen=True, kw_only=True):
    """The data on which a judge was trained, without its base model's pretraining.

    Attributes:
      tasks: the number of examples of each task, or of problems of each source (flame-train default).
      checked: the evaluation tasks with which no training example shares an n-gram
        (trainer/collection/decontamination.py).
    """

    tasks: Mapping[str, int]
    checked: tuple[str, ...]

    @classmethod
    def of_judge(cls, judge: str) -> "TrainingData | None":
        """Reads the record of the judge that `--judge` names, from the folder of its weights or, one level up, the
        folder of its run; None if it has none.

        Raises:
          UserError: the file is damaged.
        """
        shipped = {"agreement": "default"}.get(judge, judge)  # its weights are in the other's folder
        folder = _SHIPPED / shipped if judge in SHIPPED else Path(judge)
        places = (folder / FILE, folder.parent / FILE) if folder.is_dir() else ()
        path = next(filter(Path.is_file, places), None)
        return None if path is None else read(path)

    def after(self, base: "TrainingData | None") -> "TrainingData":
        """Returns the record of a model that was trained on these data after its base was trained on the data of
        `base`."""
        if base is None:
            return self
        tasks = {**base.tasks, **{name: base.tasks.get(name, 0) + count for name, count in self.tasks.items()}}
        return TrainingData(tasks=tasks, checked=tuple(name for name in self.checked if name in base.checked))

    def write(self, path: Path) -> None:
        """Writes the file."""
        write_whole(path, msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")

    def contact(self, task: str) -> str:
        """Tells whether an evaluation task overlaps with the training data: NONE, TRAINED_ON or NOT_CHECKED."""
        return TRAINED_ON if task in self.tasks else NONE if task in self.checked else NOT_CHECKED


def read(path: Path) -> TrainingData:
    """Reads the file.

    Raises:
      UserError: it is damaged.
    """
    record: TrainingData = json_file.read(
        path, TrainingData, remedy="delete it; overlap with the training data is then not known"
    )
    return record


def contacts(judge: str, tasks: Iterable[str]) -> dict[str, str]:
    """Tells for each evaluation task whether it overlaps with the training data of the judge that `--judge` names."""
    record = TrainingData.of_judge(judge)
    return {name: NOT_KNOWN if record is None else record.contact(name) for name in tasks}
