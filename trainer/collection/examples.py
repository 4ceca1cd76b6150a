"""Tasks as examples: read, checked, put in order and formatted, the same way for all of them.

Which of two responses is response_a is decided by the rank of the example's hash among its task's: A and B are right
equally often, and neither the place in the file nor anything else tells which.
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
LONGEST = 500_000  # characters of one value: more is no text that somebody judged
_ENOUGH = 10_000  # records after which a run is stopped at once, not at the end
_NOT_AS_UPSTREAM = (KeyError, TypeError, ValueError, IndexError, AttributeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One example as the model sees it.

    Attributes:
      task: the task's name.
      pieces: the text around the values of the context, one more than there are values: the same objects for all
        examples of a task.
      values: of the context's fields; for a pairwise task the responses are the last two.
      target: what is to be answered behind the input: " A", or " B\\nexplanation: ...".
      label: the first output field's value; empty where the task has no labels.
      votes: of the annotators for response_a and for response_b of a pairwise task.
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
    """What became of a task's records.

    Attributes:
      records: read, bad ones included.
      examples: that came of them.
      bad: records that are not as upstream has them.
      unanswered: records of which the annotators say nothing that the task asks.
      ties: pairs without a better one, left out.
      empty: examples with an empty response or target, or two equal responses, left out.
      first_bad: the first bad record: where it stands, and why.
      labels: how often each label is the right one.
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
    """A task's folder under `data`, or under its parts train and eval."""
    places = [data / part / task.data.folder for part in ("", "train", "eval")]
    return Folder(next((place for place in places if place.is_dir()), places[0]))


def release(task: Task, data: Path) -> Release:
    """The form of a task's data set that is there.

    Raises:
      UserError: none is.
    """
    folder = data_folder(task, data)
    for form in task.data.releases:
        if all(folder.has(pattern) for pattern in form.files):
            return form
    missing = [pattern for pattern in task.data.releases[0].files if not folder.has(pattern)]
    raise UserError(
        f"{task.name}: {folder.path / missing[0]}: no such file; get it by "
        f"`flame-train data fetch {task.name} --data {data}` ({task.data.origin})"
    )


def is_available(task: Task, data: Path) -> bool:
    """Whether some form of a task's data set is there."""
    folder = data_folder(task, data)
    return any(all(folder.has(pattern) for pattern in form.files) for form in task.data.releases)


def examples(
    task: Task, data: Path, counts: Counts | None = None, *, max_bad: float = MAX_BAD, ties: bool = False
) -> Iterator[Example]:
    """A task's examples, in the order of the release; a pairwise task is read twice.

    Args:
      data: the folder of data sets.
      counts: is filled on the way.
      max_bad: the share of bad records above which it ends.
      ties: give the pairs without a better one, too, with the label "tie": an evaluation may count single votes.

    Raises:
      UserError: the data set is not there, a file cannot be read, or too many records are bad; it names the task, the
        file, the line and what is wrong with it.
    """
    form, folder = release(task, data), data_folder(task, data)
    counts = Counts() if counts is None else counts
    pieces = tuple(frame(task.instructions, task.context))
    ranks = None
    if task.kind == "pairwise":
        hashes = [_hash(pair) for pair in _converted(task, form, folder, Counts(), max_bad) if _is_decided(pair)]
        ranks = _Ranks(np.array(hashes, np.uint64))
    for found in _converted(task, form, folder, counts, max_bad):
        if isinstance(found, Answer):
            values, answer = found.context, tuple(value.strip() for value in found.values)
            votes = (0, 0)
        else:
            if found.tie and TIE not in task.labels and not ties:
                counts.ties += 1
                continue
            swap = (_hash(found) % 2 if found.tie or ranks is None else ranks.take(_hash(found)) % 2) == 1
            pair = (found.worse, found.better) if swap else (found.better, found.worse)
            values = (*found.context, *pair)
            votes = found.votes[::-1] if swap else found.votes
            answer = (TIE if found.tie else VERDICTS[swap],)
            answer = (*answer, found.words.strip()) if len(task.output_fields) > 1 else answer
        label = answer[0] if task.labels else ""
        counts.examples += 1
        if label:
            counts.labels[label] = counts.labels.get(label, 0) + 1
        behind = "".join(f"\n{name}: {value}" for name, value in zip(task.output_fields[1:], answer[1:], strict=True))
        stripped = tuple(_trimmed(value) for value in values)
        yield Example(
            task=task.name, pieces=pieces, values=stripped, target=f" {answer[0]}{behind}", label=label, votes=votes
        )


def in_both_orders(found: Iterable[Example], task: Task) -> Iterator[Example]:
    """Each pair as it is, and then with its responses exchanged; the examples of other tasks, and those whose
    explanation may name a response, as they are."""
    for example in found:
        yield example
        if has_two_orders(task):
            *context, first, second = example.values
            label = {"A": "B", "B": "A"}.get(example.label, example.label)
            votes = example.votes[::-1]
            yield replace(example, values=(*context, second, first), target=f" {label}", label=label, votes=votes)


def has_two_orders(task: Task) -> bool:
    """Whether the responses of a task's examples can be exchanged."""
    return task.kind == "pairwise" and len(task.output_fields) == 1


def _trimmed(value: str) -> str:
    """A value without the blank around it; indentation that a program begins with stays."""
    value = value.rstrip().lstrip("\r\n")
    return value if value.startswith(("  ", "\t")) else value.lstrip()


def _is_decided(found: Pair | Answer) -> bool:
    return isinstance(found, Pair) and not found.tie


class _Ranks:
    """The rank of each hash among all of a task's; equal ones rank in the order in which they are taken."""

    def __init__(self, hashes: npt.NDArray[np.uint64]):
        self._sorted = np.sort(hashes)
        self._taken: dict[int, int] = {}

    def take(self, value: int) -> int:
        """The rank of the next example with this hash."""
        rank = int(np.searchsorted(self._sorted, np.uint64(value)))
        if rank + 1 < len(self._sorted) and self._sorted[rank + 1] == value:
            self._taken[value] = self._taken.get(value, -1) + 1
            rank += self._taken[value]
        return rank


def _hash(found: Pair | Answer) -> int:
    parts = (*found.context, found.better, found.worse) if isinstance(found, Pair) else (*found.context, *found.values)
    return int.from_bytes(hashlib.blake2b("\0".join(parts).encode(), digest_size=8).digest(), "little")


def _converted(task: Task, form: Release, folder: Folder, counts: Counts, max_bad: float) -> Iterator[Pair | Answer]:
    """What the records say, checked against what the task says of itself."""
    check = _checker(task)
    for where, record in _rows(task, folder, form):
        counts.records += 1
        try:
            if isinstance(record, BadRecord):
                raise record
            found = list(task.convert(record))
            for one in found:
                check(one)
        except _NOT_AS_UPSTREAM as error:
            counts.bad += 1
            counts.first_bad = counts.first_bad or f"{where}: {_why(error)}"
            if counts.records >= _ENOUGH and counts.bad > max_bad * counts.records:
                break
            continue
        counts.unanswered += not found
        for one in found:
            if _is_empty(one):
                counts.empty += 1
            else:
                yield one
    if counts.bad > max_bad * counts.records:
        raise UserError(
            f"{task.name}: {counts.first_bad}; {counts.bad} of {counts.records} records are bad, more than --max-bad "
            f"allows ({max_bad:.2%}): is this the release of {task.data.origin}?"
        )
    if not counts.records:
        raise UserError(f"{task.name}: {folder.path}: no record in its files; fetch them again")


def _rows(task: Task, folder: Folder, form: Release) -> Iterator[Row]:
    """The records; an error about a file says for which task it was read."""
    try:
        yield from form.read(folder)
    except UserError as error:
        raise UserError(f"{task.name}: {error}") from error
    except _NOT_AS_UPSTREAM as error:  # a reader that joins files found them otherwise than they are released
        raise UserError(
            f"{task.name}: {folder.path}: its files are not as {task.data.origin} has them ({_why(error)})"
        ) from error


def _why(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"no field {error.args[0]!r}" if error.args else "a field is missing"
    return str(error) if isinstance(error, BadRecord) else f"{type(error).__name__}: {error}"


def _checker(task: Task) -> Callable[[Pair | Answer], None]:
    """Raises BadRecord where an example is not what its task says of itself."""
    wanted = Pair if task.kind == "pairwise" else Answer
    fields, outputs, labels = len(task.fields), len(task.output_fields), frozenset(task.labels)

    def check(found: Pair | Answer) -> None:
        if not isinstance(found, wanted):
            raise BadRecord(f"a {task.kind} task made a {type(found).__name__}")
        if len(found.context) != fields:
            raise BadRecord(f"{len(found.context)} values for {fields} fields")
        texts = (*found.context, found.better, found.worse) if isinstance(found, Pair) else found.context + found.values
        for text in texts:
            if type(text) is not str:
                raise BadRecord(f"{type(text).__name__} where a text is due")
            if len(text) > LONGEST:
                raise BadRecord(f"a text of {len(text)} characters")
            if "\0" in text:
                raise BadRecord("a NUL in a text")
        if isinstance(found, Answer):
            if len(found.values) != outputs:
                raise BadRecord(f"{len(found.values)} values for {outputs} output fields")
            if labels and found.values[0] not in labels:
                raise BadRecord(f"{found.values[0]!r} is none of its labels")

    return check


def _is_empty(found: Pair | Answer) -> bool:
    if isinstance(found, Pair):
        return not found.better.strip() or not found.worse.strip() or found.better == found.worse
    return not all(value.strip() for value in found.values)
