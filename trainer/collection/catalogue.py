"""Lists the tasks of the collection, one row for each."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from trainer.collection.tasks.base import Capability, Kind, Split, Task


class TaskRow(NamedTuple):
    """A summary of a task.

    Attributes:
      permissive: whether the licence allows commercial use and redistribution.
      source: where the data set is published.
      found: the number of examples on this machine; None if they were not counted.
      full: the number of examples in the full release; None if it is not known.
    """

    name: str
    split: Split
    capability: Capability
    kind: Kind
    licence: str
    permissive: bool
    source: str
    found: int | None
    full: int | None


def list_tasks(tasks: Sequence[Task], counts: Mapping[str, int] | None) -> list[TaskRow]:
    """Lists tasks with the number of their examples.

    Args:
      counts: the number of examples by task, 0 for a task that is missing; None if examples were not counted.
    """
    return [
        TaskRow(
            name=task.name,
            split=task.split,
            capability=task.capability,
            kind=task.kind,
            licence=task.data.licence,
            permissive=task.data.permissive,
            source=task.data.origin,
            found=None if counts is None else counts.get(task.name, 0),
            full=task.full,
        )
        for task in tasks
    ]
