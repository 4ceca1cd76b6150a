"""A mixture's examples as token ids on disk, to be read in any order: a file of ids and an index for each task.

What does not fit the input's length is left out, or cut as the judge cuts it (flame_rank/prompts/truncation.py): a
pairwise task's responses first, of other tasks the longest values.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from flame_rank.errors import UserError
from flame_rank.io import json_file
from flame_rank.model.gguf import file as gguf_file
from flame_rank.prompts.format import Format, Ids
from flame_rank.prompts.truncation import middle_cut, truncate_pair
from trainer.collection.examples import Example, data_folder
from trainer.collection.fetch import sha256
from trainer.collection.tasks.base import Task

Ints = npt.NDArray[np.int32]

_CHUNK = 512  # examples that are tokenised together
_COLUMNS = 4  # of an index: where an example starts, the lengths of input and target, the number of its label


class NothingLeftError(UserError):
    """A task has no example that touches no evaluation text and, where these are left out, none short enough."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenizedRows:
    """The examples of one task.

    Attributes:
      task: its name.
      labels: what its first output field may hold; empty for a generative task.
      label_ids: of each label as an answer, its end included.
      cut: how many examples lost something, or were left out because they would have.
    """

    task: str
    kind: str
    labels: tuple[str, ...]
    label_ids: tuple[Ids, ...]
    cut: int
    ids: Ints
    index: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.index)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each example, its target's included."""
        return np.asarray(self.index[:, 1] + self.index[:, 2])

    def __getitem__(self, place: int) -> tuple[Ints, Ints, int]:
        """An example: the ids of its input and of its target, and which label that is, -1 where it is none."""
        start, of_input, of_target, label = map(int, self.index[place])
        middle = start + of_input
        return self.ids[start:middle], self.ids[middle : middle + of_target], label


def encode(
    form: Format, task: Task, found: Sequence[Example], *, max_input: int, max_target: int
) -> Iterator[tuple[Ids, Ids, bool]]:
    """The ids of examples of one task: input, target with its end, and whether something was cut.

    Raises:
      ValueError: the instructions leave no room for values, or the tokenizer merges an answer with its cue.
    """
    around = form.frame(task.instructions, task.context)
    room = max_input - sum(map(len, around))
    if room < 16:
        raise ValueError(f"{task.name}: its instructions take {max_input - room} of {max_input} tokens")
    values = form.values([value for example in found for value in example.values])
    answers = form.answers(task.instructions, [example.target[1:] for example in found])
    width = len(task.context)
    for k, answer in enumerate(answers):
        own = values[k * width : (k + 1) * width]
        long = sum(map(len, own)) > room
        if long:
            own = (
                list(truncate_pair(own[0], own[1], own[2], room))
                if width == 3 and task.kind == "pairwise"
                else _level(own, room)
            )
        ids = around[0] + tuple(i for value, behind in zip(own, around[1:], strict=True) for i in value + behind)
        yield ids, answer[:max_target], long or len(answer) > max_target


def _level(values: Sequence[Ids], room: int) -> list[Ids]:
    """The values cut to `room` tokens together, the longest ones to one length."""
    low, high = 0, max(map(len, values))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if sum(min(len(v), middle) for v in values) <= room else (low, middle - 1)
    return [middle_cut(value, low) for value in values]


def identity(base: Path, task: Task, data: Path, rest: str) -> str:
    """Of what rows are made of: the tokenizer's files and template, the data set's files by size and time, and `rest`.
    TokenizedRows that were made by another version of a task's `convert` are to be deleted by hand."""
    found = hashlib.sha256(rest.encode())
    if gguf_file.is_gguf(base):
        found.update(gguf_file.read(base).raw)
    for pattern in ("tokenizer*", "*.model", "*.jinja"):
        for path in sorted(base.glob(pattern)):
            found.update(path.name.encode() + path.read_bytes())
    folder = data_folder(task, data).path
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            about = path.stat()
            found.update(f"{path.relative_to(folder)} {about.st_size} {about.st_mtime_ns}".encode())
    return found.hexdigest()


def build(
    form: Format,
    identity: str,
    task: Task,
    found: Callable[[], Iterator[Example]],
    folder: Path,
    *,
    max_input: int,
    max_target: int,
    skip: bool = False,
    say: Callable[[str], None] = print,
) -> TokenizedRows:
    """A task's rows, from `folder` if they are there already, as they were written.

    Args:
      identity: of the tokenizer and of the data: what is there counts only if it was made of the same.
      found: gives the examples.
      folder: of all tasks; files appear there once they are whole.
      skip: leave out what is too long rather than cut it.

    Raises:
      NothingLeftError: no example is left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stated = json.dumps([identity, max_input, max_target, asdict(task.instructions), task.context, *[skip] * skip])
    name = f"{task.name}-{hashlib.sha256(stated.encode()).hexdigest()[:12]}"
    about, ids_file, index_file = (folder / f"{name}.{end}" for end in ("json", "ids", "npy"))
    if damaged := _damaged(about, (ids_file, index_file)):
        say(f"{damaged}: damaged; the rows of {task.name} are made again")
        about.unlink()
    if not about.exists():
        index: list[tuple[int, int, int, int]] = []
        cut = at = 0
        examples = found()
        part = ids_file.with_suffix(".part")
        with part.open("wb") as file:
            while chunk := list(islice(examples, _CHUNK)):
                rows = encode(form, task, chunk, max_input=max_input, max_target=max_target)
                for example, (of_input, target, lost) in zip(chunk, rows, strict=True):
                    cut += lost
                    if lost and skip:
                        continue
                    file.write(np.array(of_input + target, np.int32).tobytes())
                    label = task.labels.index(example.label) if task.labels else -1
                    index.append((at, len(of_input), len(target), label))
                    at += len(of_input) + len(target)
        part.rename(ids_file)
        np.save(index_file, np.array(index, np.int64).reshape(-1, _COLUMNS))
        written = about.with_suffix(".json.part")
        written.write_bytes(msgspec.json.encode(_About(cut=cut, sha256=[sha256(ids_file), sha256(index_file)])))
        written.rename(about)
    index_ = np.load(index_file, mmap_mode="r")
    if not len(index_):
        raise NothingLeftError(f"{task.name}: no example is left to train on")
    return TokenizedRows(
        task=task.name,
        kind=task.kind,
        labels=task.labels,
        label_ids=tuple(form.answers(task.instructions, task.labels)) if task.labels else (),
        cut=json_file.read(about, _About).cut,
        ids=np.memmap(ids_file, np.int32, "r"),
        index=index_,
    )


class _About(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept beside a task's rows: how many examples were too long, and the digests of the two files."""

    cut: int
    sha256: list[str]


def _damaged(about: Path, files: Sequence[Path]) -> Path | None:
    """The first of a task's files that is not as it was written; None if all are, or none was written to its end."""
    if not about.exists():
        return None
    try:
        stated = json_file.read(about, _About).sha256
    except json_file.BadFile:
        return about
    if len(stated) != len(files):
        return about
    return next((f for f, s in zip(files, stated, strict=True) if not f.exists() or sha256(f) != s), None)
