"""Runs a judge over tasks and keeps its answers in a file, so that an interrupted run resumes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from flame_rank.errors import UserError
from flame_rank.judges.base import Judge
from trainer.collection.examples import Example, examples
from trainer.collection.tasks.base import Task
from trainer.measuring.answer_file import AnswerFile
from trainer.measuring.asking import Answer, ask, identity


class TaskLine(msgspec.Struct, frozen=True, kw_only=True):
    """An answer in the file, with the judge that gave it."""

    judge: str
    answer: Answer

    @property
    def key(self) -> tuple[str, str, str]:
        """Judge, task and example."""
        return self.judge, self.answer.task, self.answer.example

    @property
    def valid(self) -> bool:
        """Whether the judge answered."""
        return bool(self.answer.p)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The examples of a task with a judge's answers."""

    task: Task
    examples: Sequence[Example]
    answers: Sequence[Answer]

    @property
    def p(self) -> list[tuple[float, ...]]:
        """The probabilities of the labels for each example; empty if there is no valid answer."""
        return [answer.p for answer in self.answers]

    @property
    def invalid(self) -> int:
        """The number of examples without a valid answer."""
        return sum(not answer.p for answer in self.answers)

    @property
    def mass(self) -> float | None:
        """The mean probability that the model gives to all labels together; None if it is not known."""
        masses = [answer.mass for answer in self.answers if answer.mass is not None]
        return sum(masses) / len(masses) if masses else None

    @property
    def flipped(self) -> float | None:
        """The share of pairs in which the judge prefers the same position in both orders; None without pairs."""
        flips = [answer.flipped for answer in self.answers if answer.flipped is not None]
        return sum(flips) / len(flips) if flips else None


def read_examples(task: Task, data: Path, limit: int | None = None) -> list[Example]:
    """Reads a task's examples, tied pairs included. `limit` takes the first ones by their identities, so that every
    run takes the same examples."""
    every = list(examples(task, data, ties=task.kind == "pairwise"))
    return every if limit is None else sorted(every, key=identity)[:limit]


def run(
    judge: Judge,
    task: Task,
    given: Sequence[Example],
    kept: AnswerFile[TaskLine],
    *,
    done: Callable[[int], object] = lambda count: None,
) -> Asked:
    """Has a judge answer the examples of a task, except those whose answers are in `kept`.

    Args:
      done: is called with the number of examples that were answered since the last call.

    Raises:
      UserError: the model cannot answer this task.
    """
    names = [identity(example) for example in given]
    new = [
        example for name, example in zip(names, given, strict=True) if (judge.name, task.name, name) not in kept.known
    ]
    done(len(given) - len(new))
    batch: list[TaskLine] = []
    try:
        for answer in ask(judge, task, new):
            batch.append(TaskLine(judge=judge.name, answer=answer))
            if len(batch) == 32:
                kept.add(batch)
                done(len(batch))
                batch = []
    except ValueError as error:
        raise UserError(f"{task.name}: {error}") from error
    finally:
        kept.add(batch)
    done(len(batch))
    return Asked(task=task, examples=given, answers=[kept.known[judge.name, task.name, name].answer for name in names])
