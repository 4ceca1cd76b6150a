"""Counts the examples that each task has on this machine."""

from collections.abc import Callable, Sequence
from pathlib import Path

from tqdm import tqdm

from trainer.collection.examples import Counts, examples, is_available
from trainer.collection.tasks.base import Task


def count_examples(
    tasks: Sequence[Task], data: Path, *, max_bad: float, say: Callable[[str], None] = print
) -> dict[str, int]:
    """Counts the examples of each task whose data set is under `data`, and shows the progress on a terminal.

    Args:
      data: the folder of data sets.
      max_bad: the share of a task's records that may be bad.
      say: receives a line about each task that has bad records.

    Raises:
      UserError: more than this share of a task's records is bad, or one of its files cannot be read.
    """
    numbers = {}
    here = [task for task in tasks if is_available(task, data)]
    for task in tqdm(here, unit=" tasks", disable=None, leave=False):
        counts = Counts()
        for _ in examples(task, data, counts, max_bad=max_bad):
            pass
        numbers[task.name] = counts.examples
        if counts.bad:
            say(f"{task.name}: {counts.bad} bad records; the first: {counts.first_bad}")
    return numbers
