"""Writes the collection as files that `datasets`, TRL and T5X read: shards of examples and a data card."""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, count, islice
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
from tqdm import tqdm

from flame_rank.errors import UserError
from flame_rank.io.writing import part_of
from trainer.collection.decontamination import index_evaluation, without_overlap
from trainer.collection.examples import Counts, examples
from trainer.collection.tasks import TASKS
from trainer.collection.tasks.base import Task

_Put: TypeAlias = Callable[[Iterable[dict[str, Any]], Path], None]  # writes a shard


def write(
    tasks: Sequence[Task],
    weights: Mapping[str, float],
    data: Path,
    out: Path,
    *,
    form: str,
    shard: int,
    max_bad: float,
    say: Callable[[str], None] = print,
) -> None:
    """Writes the examples of tasks, without those that share text with an evaluation task.

    A row holds `task`, `input`, `target`, `weight` (the task's weight divided by the number of its examples) and
    `licence`.

    Args:
      weights: the weight of each task, from trainer/collection/mixture.py.
      data: the folder of data sets.
      out: a folder that does not exist yet; it appears once everything is written.
      form: "jsonl" or "parquet".
      shard: the largest number of examples in one file.
      max_bad: the share of a task's records that may be bad.
      say: receives lines about the examples that were left out and written.

    Raises:
      UserError: `out` exists, or a task cannot be read.
    """
    if out.exists():
        raise UserError(f"{out}: already exists; name a new folder")
    put = _jsonl if form == "jsonl" else _parquet()
    held_out = index_evaluation(TASKS, data, say)
    part = part_of(out)
    shutil.rmtree(part, ignore_errors=True)
    (part / "data").mkdir(parents=True)
    rows: dict[str, int] = {}
    omitted: dict[str, int] = {}

    def records() -> Iterator[dict[str, Any]]:
        for task in tqdm(tasks, unit=" tasks", disable=None):
            kept, counts = 0, Counts()
            # The task is read twice: an example's weight is known only when all examples are counted.
            size = sum(1 for _ in without_overlap(examples(task, data, max_bad=max_bad), held_out))
            for example in without_overlap(examples(task, data, counts, max_bad=max_bad), held_out):
                kept += 1
                yield {
                    "task": task.name,
                    "input": example.input,
                    "target": example.target,
                    "weight": weights[task.name] / size,
                    "licence": task.data.licence,
                }
            rows[task.name] = kept
            if counts.examples > kept:
                omitted[task.name] = counts.examples - kept
                say(f"{task.name}: {omitted[task.name]} examples share text with an evaluation task and are left out")

    try:
        _shards(records(), part / "data", put, form, shard)
        (part / "README.md").write_text(_card(tasks, rows, omitted, form), encoding="utf-8")
        part.rename(out)
    except OSError as error:
        raise UserError(f"{error.filename or part}: {error.strerror}; what was written is in {part}") from error
    say(f"{out}: {sum(rows.values())} examples of {len(rows)} tasks")


def _shards(records: Iterator[dict[str, Any]], folder: Path, put: _Put, form: str, size: int) -> None:
    for number in count():
        part = islice(records, size)
        first = next(part, None)
        if first is None:
            return
        put(chain([first], part), folder / f"train-{number:05d}.{form}")


def _jsonl(records: Iterable[dict[str, Any]], file: Path) -> None:
    encode = msgspec.json.Encoder().encode
    with file.open("wb") as lines:
        for record in records:
            lines.write(encode(record) + b"\n")


def _parquet() -> _Put:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise UserError("--format parquet needs pyarrow; pip install 'flame-rank[data]'") from error

    def put(records: Iterable[dict[str, Any]], file: Path) -> None:
        parquet.write_table(pyarrow.Table.from_pylist(list(records)), file)

    return put


def _card(tasks: Sequence[Task], rows: Mapping[str, int], omitted: Mapping[str, int], form: str) -> str:
    """Writes the text of the data card, with the header that Hugging Face reads."""
    header = {
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": f"data/*.{form}"}]}],
        "language": ["en"],
        "pretty_name": "FLAMe collection",
    }
    lines = [
        "---",
        json.dumps(header),  # JSON is YAML
        "---",
        "# The FLAMe collection",
        "",
        "Human judgements of public data sets in one text-to-text format, after Vu et al., Foundational Autoraters",
        "(2024), sections 3.1 to 3.4; written by `flame-train export`. Columns: `task`, `input`, `target` (with the",
        "blank that it begins with), `weight` (of the example, when the mixture is drawn), `licence` (of its data set;",
        "the whole has no other).",
        "",
        "| task | capability | kind | examples | left out: shares text with an evaluation task | licence | source |",
        "|---|---|---|---|---|---|---|",
    ]
    for task in tasks:
        if rows.get(task.name):
            cells = (
                task.name,
                task.capability,
                task.kind,
                rows[task.name],
                omitted.get(task.name, 0),
                task.data.licence,
            )
            lines.append("| " + " | ".join(map(str, (*cells, task.data.origin))) + " |")
    return "\n".join(lines) + "\n"
