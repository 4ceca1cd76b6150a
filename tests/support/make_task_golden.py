"""Writes the first example of tasks, as the model sees it, for a reader to check: make_task_golden.py [NAME...]"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from releases import GOLDEN_TASKS, make

from trainer.collection.examples import examples
from trainer.collection.tasks import TASKS


def main(names: list[str]) -> None:
    GOLDEN_TASKS.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        data = make(Path(folder))
        for task in TASKS:
            if not names or task.name in names:
                first = next(examples(task, data))
                (GOLDEN_TASKS / f"{task.name}.txt").write_text(first.input + first.target + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
