"""Reads, checks, orders and formats the examples of tasks, in the same way for all tasks.

The rank of an example's hash in its task decides which of two responses is response_a. So A and B are right equally
often, and nothing, such as the position in the file, shows which of them is right.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from flame_rank.errors import UserError
from flame_rank.prompts.format import frame
from flame_rank.prompts.instructions import VERDICTS
from trainer.collection.release_files import BadRecord, Folder, Row
from trainer.collection.tasks.base import TIE, Answer, Pair, Release, Task

MAX_BAD = 0.001  # the share of a task's records that may be bad
LONGEST = 500_000  # characters of one value: nobody judged a longer text
_ENOUGH = 10_000  # records after which too many bad ones stop a run at once, not at its end
_NOT_AS_UPSTREAM = (KeyError, TypeError, ValueError, IndexError, AttributeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One example as the model reads it.

    Attributes:
      task: the task's name.
      pieces: the text around the values of the context, one more than there are values: the same objects for all
        examples of a task.
      values: the values of the context's fields; the last two of a pairwise task are the responses.
      target: the answer that continues the input: " A", or " B\\nexplanation: ...".
      label: the first output field's value; empty if the task has no labels.
      votes: the number of annotators for response_a and for response_b of a pairwise task.
    """

    task: str
    pieces: tuple[str, ...]
    values: tuple[str, ...]
    target: str
    label: str
    votes: tuple[int, int] = (0, 0)

    @property
    def input(self) -> str:
        """The whole input, up to the cue of the first output field."""
        return self.pieces[0] + "".join(
            value + piece for value, piece in zip(self.values, self.pieces[1:], strict=True)
        )


@dataclass(kw_only=True)
class Counts:
    """How many of a task's records were used, and why others were not.

    Attributes:
      records: the number of records read, including the bad ones.
      examples: the number of examples made from them.
      bad: the number of records that do not have the released form.
      unanswered: the number of records in which the annotators did not answer the task's question.
      ties: the number of pairs without a better response, which are left out.
      empty: the number of examples that are left out because a response or the target is empty, or both responses are
        equal.
      first_bad: the first bad record: its place and the reason.
      labels: how often each label is the right answer.
    """

    records: int = 0
    examples: int = 0
    bad: int = 0
    unanswered: int = 0
    ties: int = 0
    empty: int = 0
    first_bad: str = ""
    labels: dict[str, int] = field(default_factory=dict)


def data_folder(task: Task, data: Path) -> Folder:
    """Finds the folder of a task's data set: under `data`, or under its parts train and eval."""
    paths = [data / part / task.data.folder for part in ("", "train", "eval")]
    return Folder(next((path for path in paths if path.is_dir()), paths[0]))


def available_release(task: Task, data: Path) -> Release:
    """Selects the first release of a task's data set whose files are under `data`.

    Raises:
      UserError: no release is complete.
    """
    folder = data_folder(task, data)
    for form in task.data.releases:
        if all(folder.has(pattern) for pattern in form.files):
            return form
    missing = [pattern for pattern in task.data.releases[0].files if not folder.has(pattern)]
    raise UserError(
        f"{task.name}: {folder.path / missing[0]}: no such file; get it with `flame-train data fetch {task.name} "
        f"--data {data}` ({task.data.origin})"
    )


def is_available(task: Task, data: Path) -> bool:
    """Tells whether a release of a task's data set is under `data`."""
    folder = data_folder(task, data)
    return any(all(folder.has(pattern) for pattern in form.files) for form in task.data.releases)


def examples(
    task: Task, data: Path, counts: Counts | None = None, *, max_bad: float = MAX_BAD, ties: bool = False
) -> Iterator[Example]:
    """Yields a task's examples in the order of the release. The files of a pairwise task are read twice.

    Args:
      data: the folder of data sets.
      counts: receives the counts while the examples are read.
      max_bad: the share of bad records above which reading stops with an error.
      ties: also yield the pairs without a better response, with the label "tie", for evaluations that count single
        votes.

    Raises:
      UserError: the data set is missing, a file cannot be read, or too many records are bad; the message names the
        task, the file, the line and the fault.
    """
    form, folder = available_release(task, data), data_folder(task, data)
    counts = Counts() if counts is None else counts
    pieces = tuple(frame(task.instructions, task.context))
    ranks = None
    if task.kind == "pairwise":
        hashes = [_hash(pair) for pair in _converted(task, form, folder, Counts(), max_bad) if _is_decided(pair)]
        ranks = _Ranks(np.array(hashes, np.uint64))
    for annotation in _converted(task, form, folder, counts, max_bad):
        if isinstance(annotation, Answer):
            values, answer = annotation.context, tuple(value.strip() for value in annotation.values)
            votes = (0, 0)
        else:
            if annotation.tie and not ties:
                counts.ties += 1
                continue
            swap = (
                _hash(annotation) % 2 if annotation.tie or ranks is None else ranks.take(_hash(annotation)) % 2
            ) == 1
            pair = (annotation.worse, annotation.better) if swap else (annotation.better, annotation.worse)
            values = (*annotation.context, *pair)
            votes = annotation.votes[::-1] if swap else annotation.votes
            answer = (TIE if annotation.tie else VERDICTS[swap],)
            answer = (*answer, annotation.words.strip()) if len(task.output_fields) > 1 else answer
        label = answer[0] if task.labels else ""
        counts.examples += 1
        if label:
            counts.labels[label] = counts.labels.get(label, 0) + 1
        behind = "".join(f"\n{name}: {value}" for name, value in zip(task.output_fields[1:], answer[1:], strict=True))
        stripped = tuple(_trimmed(value) for value in values)
        yield Example(
            task=task.name, pieces=pieces, values=stripped, target=f" {answer[0]}{behind}", label=label, votes=votes
        )


def in_both_orders(single: Iterable[Example], task: Task) -> Iterator[Example]:
    """Yields each pair unchanged and then with its responses exchanged.

    The examples of other tasks are yielded once, and so are those with an explanation, which may name a response.
    """
    for example in single:
        yield example
        if has_two_orders(task):
            *context, first, second = example.values
            label = {"A": "B", "B": "A"}.get(example.label, example.label)
            votes = example.votes[::-1]
            yield replace(example, values=(*context, second, first), target=f" {label}", label=label, votes=votes)


def has_two_orders(task: Task) -> bool:
    """Tells whether the responses of a task's examples can be exchanged."""
    return task.kind == "pairwise" and len(task.output_fields) == 1


def _trimmed(value: str) -> str:
    """Strips the white space around a value, but keeps the indentation that a program begins with."""
    value = value.rstrip().lstrip("\r\n")
    return value if value.startswith(("  ", "\t")) else value.lstrip()


def _is_decided(annotation: Pair | Answer) -> bool:
    return isinstance(annotation, Pair) and not annotation.tie


class _Ranks:
    """The ranks of a task's hashes; equal hashes get their ranks in the order of `take`."""

    def __init__(self, hashes: npt.NDArray[np.uint64]):
        self._sorted = np.sort(hashes)
        self._taken: dict[int, int] = {}

    def take(self, value: int) -> int:
        """Returns the rank of the next example with this hash."""
        rank = int(np.searchsorted(self._sorted, np.uint64(value)))
        if rank + 1 < len(self._sorted) and self._sorted[rank + 1] == value:
            self._taken[value] = self._taken.get(value, -1) + 1
            rank += self._taken[value]
        return rank


def _hash(annotation: Pair | Answer) -> int:
    parts = (
        (*annotation.context, annotation.better, annotation.worse)
        if isinstance(annotation, Pair)
        else (*annotation.context, *annotation.values)
    )
    return int.from_bytes(hashlib.blake2b("\0".join(parts).encode(), digest_size=8).digest(), "little")


def _converted(task: Task, form: Release, folder: Folder, counts: Counts, max_bad: float) -> Iterator[Pair | Answer]:
    """Yields the annotations of all records, checked against the task's description of itself."""
    check = _checker(task)
    for where, record in _rows(task, folder, form):
        counts.records += 1
        try:
            if isinstance(record, BadRecord):
                raise record
            annotations = list(task.convert(record))
            for annotation in annotations:
                check(annotation)
        except _NOT_AS_UPSTREAM as error:
            counts.bad += 1
            counts.first_bad = counts.first_bad or f"{where}: {_why(error)}"
            if counts.records >= _ENOUGH and counts.bad > max_bad * counts.records:
                break
            continue
        counts.unanswered += not annotations
        for annotation in annotations:
            if _is_empty(annotation):
                counts.empty += 1
            else:
                yield annotation
    if counts.bad > max_bad * counts.records:
        raise UserError(
            f"{task.name}: {counts.first_bad}; {counts.bad} of {counts.records} records are bad, more than --max-bad "
            f"allows ({max_bad:.2%}); check that this is the release of {task.data.origin}"
        )
    if not counts.records:
        raise UserError(f"{task.name}: {folder.path}: its files hold no record; fetch them again")


def _rows(task: Task, folder: Folder, form: Release) -> Iterator[Row]:
    """Yields the records; adds the task's name to errors about files."""
    try:
        yield from form.read(folder)
    except UserError as error:
        raise UserError(f"{task.name}: {error}") from error
    except _NOT_AS_UPSTREAM as error:  # a reader that joins files does not find them as they are released
        raise UserError(
            f"{task.name}: {folder.path}: its files do not have the form that {task.data.origin} releases "
            f"({_why(error)})"
        ) from error


def _why(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"no field {error.args[0]!r}" if error.args else "a field is missing"
    return str(error) if isinstance(error, BadRecord) else f"{type(error).__name__}: {error}"


def _checker(task: Task) -> Callable[[Pair | Answer], None]:
    """Returns a function that raises BadRecord if an annotation does not fit its task's description of itself."""
    wanted = Pair if task.kind == "pairwise" else Answer
    fields, outputs, labels = len(task.fields), len(task.output_fields), frozenset(task.labels)

    def check(annotation: Pair | Answer) -> None:
        if not isinstance(annotation, wanted):
            raise BadRecord(f"a {task.kind} task made a {type(annotation).__name__}")
        if len(annotation.context) != fields:
            raise BadRecord(f"{len(annotation.context)} values for {fields} fields")
        texts = (
            (*annotation.context, annotation.better, annotation.worse)
            if isinstance(annotation, Pair)
            else annotation.context + annotation.values
        )
        for text in texts:
            if type(text) is not str:
                raise BadRecord(f"{type(text).__name__} instead of a text")
            if len(text) > LONGEST:
                raise BadRecord(f"a text of {len(text)} characters")
            if "\0" in text:
                raise BadRecord("a NUL in a text")
        if isinstance(annotation, Answer):
            if len(annotation.values) != outputs:
                raise BadRecord(f"{len(annotation.values)} values for {outputs} output fields")
            if labels and annotation.values[0] not in labels:
                raise BadRecord(f"{annotation.values[0]!r} is not a label of the task")

    return check


def _is_empty(annotation: Pair | Answer) -> bool:
    if isinstance(annotation, Pair):
        return not annotation.better.strip() or not annotation.worse.strip() or annotation.better == annotation.worse
    return not all(value.strip() for value in annotation.values)
