"""To be written."""

from trainer.tasks.base import Task

TASKS: tuple[Task, ...] = ()
