"""Keeps a task's examples as token ids on disk, to be read in any order: a file of ids and an index.

A long example is left out, or cut as the judge cuts it (flame_rank/prompts/truncation.py): the responses of a pairwise
task, the longest values of another task.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from flame_rank.errors import UserError
from flame_rank.io import json_file
from flame_rank.io.writing import part_of, write_whole
from flame_rank.model.choices import Responses
from flame_rank.model.gguf import file as gguf_file
from flame_rank.model.separate import Lengths
from flame_rank.prompts.format import Format, Ids, SeparateFrame
from flame_rank.prompts.instructions import VERDICTS
from flame_rank.prompts.truncation import common_length, middle_cut, separate_lengths, truncate_pair, truncated_lengths
from trainer.collection.examples import Example, data_folder
from trainer.collection.fetch import sha256
from trainer.collection.tasks.base import Task
from trainer.finetune.recipe import ResolvedRecipe
from trainer.finetune.sampler import dealt, drawn

Ints: TypeAlias = npt.NDArray[np.int32]

_CHUNK = 512  # examples that are tokenised together
_COLUMNS = 4  # of an index: where an example starts, the lengths of input and target, the number of its label


class NothingLeftError(UserError):
    """No example of a task is left: all of them share text with evaluation tasks, or were left out because they are too
    long."""


class Row(NamedTuple):
    """An example as token ids.

    Attributes:
      source: the ids of the input.
      target: the ids of the target, its end included.
      pieces: the lengths of the parts of a comparison in the separate form.
      verdicts: the tokens of A and B in such a comparison.
    """

    source: Ints
    target: Ints
    pieces: Lengths | None = None
    verdicts: tuple[int, int] = (-1, -1)


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenizedRows:
    """The examples of one task.

    Attributes:
      task: the task's name.
      kind: the task's kind.
      labels: the values that the task's first output field may have; empty for a generative task.
      label_ids: the ids of each label as an answer, its end included; in the separate form, the tokens of A and B.
      cut: the number of examples that were cut, or left out instead.
      ids: the ids of all examples, one after the other.
      index: [N, 4] where an example starts in `ids`, the lengths of input and target, the number of its label; [N, 7]
        in the separate form, with the lengths of its parts, or 0.
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
    def separate(self) -> bool:
        """Whether these are comparisons in the separate form."""
        return self.index.shape[1] > _COLUMNS and bool(self.index[0, _COLUMNS:].any())

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """[N] int64, the number of tokens of each example, including those of its target."""
        return np.asarray(self.index[:, 1] + self.index[:, 2])

    def __getitem__(self, number: int) -> Row:
        """Returns an example."""
        start, source_length, target_length, _, *pieces = map(int, self.index[number])
        middle = start + source_length
        row = Row(self.ids[start:middle], self.ids[middle : middle + target_length])
        if not self.separate:
            return row
        (a,), (b,) = self.label_ids
        return row._replace(pieces=Lengths(*pieces), verdicts=(a, b))


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """The examples of a step.

    Attributes:
      rows: [B] the examples.
      kinds: [B] the kind of each example's task.
    """

    rows: list[Row]
    kinds: list[str]


@dataclass(frozen=True, kw_only=True, eq=False)
class MixtureRows:
    """The examples of a mixture's tasks.

    Attributes:
      tasks: the rows of each task.
      weights: the weight of each task by name; they need not sum to 1.
    """

    tasks: Sequence[TokenizedRows]
    weights: Mapping[str, float]

    def draw(self, step: int, recipe: ResolvedRecipe) -> Drawn:
        """Draws the examples of a step, which depend only on the recipe and the step."""
        shares = np.array([self.weights[rows.task] for rows in self.tasks], np.float64)
        sizes = np.array([len(rows) for rows in self.tasks], np.int64)
        state = {"seed": recipe.seed, "step": step, "batch": recipe.batch, "share": recipe.share}
        numbers = dealt(shares, self._lengths, **state) if recipe.by_length else drawn(shares, sizes, **state)
        tasks, places = (part.tolist() for part in numbers)
        return Drawn(
            rows=[self.tasks[t][k] for t, k in zip(tasks, places, strict=True)],
            kinds=[self.tasks[t].kind for t in tasks],
        )

    @cached_property
    def _lengths(self) -> list[npt.NDArray[np.int64]]:
        return [rows.lengths for rows in self.tasks]


class Encoded(NamedTuple):
    """The ids of an example.

    Attributes:
      source: the ids of its input.
      target: the ids of its target, the end included.
      pieces: the lengths of the parts of a comparison in the separate form, whose target is A or B alone.
      cut: whether input or target was too long, and was cut.
    """

    source: Ids
    target: Ids
    pieces: Lengths | None
    cut: bool


def encode(
    form: Format,
    task: Task,
    examples: Sequence[Example],
    *,
    max_input: int,
    max_target: int,
    responses: Responses = "joint",
    apart: bool = False,
) -> Iterator[Encoded]:
    """Yields the ids of each example of a task.

    Args:
      form: the unified format in the tokens of the model.
      max_input: the most tokens of an input.
      max_target: the most tokens of a target.
      responses: the form in which comparisons of two responses are read.
      apart: whether the responses of the separate form are read one by one, as a judge does, and not as one row: then
        an input is what precedes the responses with the longer one.

    Raises:
      ValueError: the instructions leave no room for values, or the tokenizer merges an answer with its cue.
    """
    pair = task.kind == "pairwise" and len(task.context) == 3
    around = _separate_frame(form, task, responses)
    frame = form.frame(task.instructions, task.context) if around is None else around.fixed
    apart = apart and around is not None
    room = max_input - sum(map(len, frame[:-1] if apart else frame))
    if room < 16:
        raise ValueError(f"{task.name}: its instructions take {max_input - room} of {max_input} tokens, too many")
    values = form.values([value for example in examples for value in example.values])
    if around is None:
        answers = form.answers(task.instructions, [example.target[1:] for example in examples])
    else:  # a tie, which is evaluated but never trained on, has no target
        tokens = dict(zip(VERDICTS, around.verdicts, strict=True))
        answers = [(tokens[example.label],) if example.label in tokens else () for example in examples]
    width = len(task.context)
    for k, answer in enumerate(answers):
        own = values[k * width : (k + 1) * width]
        lengths = [*map(len, own)]
        if apart:
            lengths[-2:] = [max(lengths[-2:])]
        long = sum(lengths) > room
        if long and pair:
            own = list(truncate_pair(own[0], own[1], own[2], room, separate_lengths if apart else truncated_lengths))
        elif long:
            most = common_length(lengths, room)
            own = [middle_cut(value, most) for value in own]
        ids = frame[0] + tuple(i for value, behind in zip(own, frame[1:], strict=True) for i in value + behind)
        pieces = None if around is None else Lengths(*around.lengths(own))
        yield Encoded(ids, answer[:max_target], pieces, long or len(answer) > max_target)


def _separate_frame(form: Format, task: Task, responses: Responses) -> SeparateFrame | None:
    """Returns the frame of the separate form for a task that compares two responses, otherwise None."""
    if responses == "joint" or task.kind != "pairwise" or task.labels != VERDICTS:
        return None
    return form.separate_frame(task.instructions, task.context)


def identity(base: Path, task: Task, data: Path, rest: str) -> str:
    """Hashes the sources of rows: the tokenizer's files and template, the data set's files by size and time, and
    `rest`.

    A task's `convert` is not included: delete rows by hand if an older version of it made them.
    """
    digest = hashlib.sha256(rest.encode())
    if gguf_file.is_gguf(base):
        digest.update(gguf_file.read(base).raw)
    for pattern in ("tokenizer*", "*.model", "*.jinja"):
        for path in sorted(base.glob(pattern)):
            digest.update(path.name.encode() + path.read_bytes())
    folder = data_folder(task, data).path
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            status = path.stat()
            digest.update(f"{path.relative_to(folder)} {status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()


def build(
    form: Format,
    identity: str,
    task: Task,
    examples: Callable[[], Iterator[Example]],
    folder: Path,
    *,
    max_input: int,
    max_target: int,
    skip: bool = False,
    responses: Responses = "joint",
    say: Callable[[str], None] = print,
) -> TokenizedRows:
    """Makes a task's rows, or reads those that an earlier call left in `folder`.

    Args:
      form: the unified format in the tokens of the model.
      identity: the identity of the tokenizer and the data; rows with another identity are not used.
      examples: returns the task's examples; called only if the rows are made.
      folder: the folder of all tasks' rows.
      max_input: the most tokens of an input.
      max_target: the most tokens of a target.
      skip: leave out an example that is too long instead of cutting it.
      responses: as in `encode`.
      say: receives a line if a file is damaged and the rows are made again.

    Raises:
      NothingLeftError: no example is left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = [form.chat, form.lead, form.text_start, form.end]  # --template, and the checkpoint's settings
    limits = [max_input, max_target, skip]
    made_of = json.dumps([identity, *written, *limits, asdict(task.instructions), task.context])
    made_of += "separate, each with its cue" * (responses == "separate")
    name = f"{task.name}-{hashlib.sha256(made_of.encode()).hexdigest()[:12]}"
    about, ids_file, index_file = (folder / f"{name}.{end}" for end in ("json", "ids", "npy"))
    if damaged := _damaged(about, (ids_file, index_file)):
        say(f"{damaged}: damaged; the rows of {task.name} are made again")
        about.unlink()
    if not about.exists():
        rows: list[tuple[int, ...]] = []
        whole = Lengths(0, 0, 0) if responses == "separate" else ()
        cut = start = 0
        left = examples()
        part = part_of(ids_file)
        with part.open("wb") as file:
            while chunk := list(islice(left, _CHUNK)):
                encoded = encode(form, task, chunk, max_input=max_input, max_target=max_target, responses=responses)
                for example, (source, target, pieces, is_cut) in zip(chunk, encoded, strict=True):
                    cut += is_cut
                    if is_cut and skip:
                        continue
                    file.write(np.array(source + target, np.int32).tobytes())
                    label = task.labels.index(example.label) if task.labels else -1
                    rows.append((start, len(source), len(target), label, *(pieces or whole)))
                    start += len(source) + len(target)
        part.replace(ids_file)
        np.save(index_file, np.array(rows, np.int64).reshape(-1, _COLUMNS + len(whole)))
        digests = [sha256(ids_file), sha256(index_file)]
        write_whole(about, msgspec.json.encode(_About(cut=cut, sha256=digests)))  # last: the others are whole by then
    around = _separate_frame(form, task, responses)
    label_ids = form.answers(task.instructions, task.labels) if task.labels else []
    index = np.load(index_file, mmap_mode="r")
    if not len(index):
        raise NothingLeftError(f"{task.name}: no example is left to train on")
    return TokenizedRows(
        task=task.name,
        kind=task.kind,
        labels=task.labels,
        label_ids=tuple((token,) for token in around.verdicts) if around else tuple(label_ids),
        cut=json_file.read(about, _About).cut,
        ids=np.memmap(ids_file, np.int32, "r"),
        index=index,
    )


class _About(msgspec.Struct, frozen=True, kw_only=True):
    """The content of the JSON file beside a task's rows: the number of examples that were too long, and digests of
    the two files."""

    cut: int
    sha256: list[str]


def _damaged(about: Path, files: Sequence[Path]) -> Path | None:
    """Returns the first of a task's files that changed since it was written; None if no file did, or if the rows are
    not complete yet."""
    if not about.exists():
        return None
    try:
        digests = json_file.read(about, _About).sha256
    except json_file.BadFile:
        return about
    if len(digests) != len(files):
        return about
    return next((f for f, s in zip(files, digests, strict=True) if not f.exists() or sha256(f) != s), None)
