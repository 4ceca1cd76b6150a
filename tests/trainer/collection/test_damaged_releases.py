"""Releases that are damaged in twenty ways: an error that names it or a counted bad record, never a wrong example."""

import csv
import io
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from releases import make

from flame_rank.errors import UserError
from trainer.collection.examples import Counts, Example, available_release, data_folder, examples, is_available
from trainer.collection.tasks import TASKS
from trainer.collection.tasks.base import Task

HEAD = 200  # lines of a file in the quick tier
SMALL = 3_000_000  # bytes of a JSON file that is taken whole there; of a larger one, a tenth of HEAD in records

Shapes = set[tuple[str, str]]


def damages(content: bytes, rng: random.Random, kind: str) -> Iterator[tuple[str, bytes]]:
    """Twenty of them; of texts without a form, in which a line is as good as another, no line is exchanged."""
    size = len(content)
    for k in range({"table": 5, "records": 7, "text": 8}[kind]):
        yield f"cut {k}", content[: rng.randrange(size)]
    for k in range(6):
        place = rng.randrange(size)
        yield f"high bit {k}", content[:place] + bytes([content[place] ^ 0x80]) + content[place + 1 :]
    lines = content.split(b"\n")
    line = rng.randrange(len(lines))

    def changed(new: bytes) -> bytes:
        return b"\n".join([*lines[:line], new, *lines[line + 1 :]])

    yield "a huge line", changed(b"x" * 10**6)
    if kind != "text":
        yield "a line of another file", changed(b'{"unheard": "of"}')
    if kind == "table":
        tab = b"\t" if b"\t" in lines[0] else b","
        yield "a line with more columns", changed(lines[line] + tab + b"more" + tab + b"and more")
        yield "a line without its first column", changed(lines[line].split(tab, 1)[-1])
    yield "NUL", content.replace(b" ", b"\0", 3)
    yield "UTF-16", content.decode(errors="replace").encode("utf-16")
    yield "nothing", b""
    yield "no file of this kind", b"<html>404: Not Found</html>\n"
    yield "zeros", bytes(size)


@pytest.mark.parametrize("kind", ["table", "records", "text"])
def test_damages_are_twenty(kind: str) -> None:
    assert len(list(damages(b"a b\nc d\n", random.Random(0), kind))) == 20


def shape(example: Example) -> tuple[str, str]:
    """An example, whichever side its better response is on."""
    if example.label in ("A", "B"):
        *context, first, second = example.values
        pair = (first, second) if example.label == "A" else (second, first)
        return "\0".join((*context, *pair)), "better first"
    return "\0".join(example.values), example.target


def shapes(task: Task, data: Path) -> Shapes:
    return {shape(example) for example in examples(task, data, max_bad=1.0)}


def check(task: Task, path: Path, damage: str, content: bytes, data: Path, right: Shapes) -> None:
    """Damages a file, reads the task, and mends the file again.

    A file that is cut between two lines is a whole one of fewer records, and its examples are right: where several
    annotators' records make one example, there may be others among them.
    """
    whole = path.read_bytes()
    path.write_bytes(content)
    counts = Counts()
    try:
        results = [(shape(example), example) for example in examples(task, data, counts)]
    except UserError as error:
        message = str(error)
        assert task.name in message and task.data.folder in message and "\n" not in message, (
            path.name,
            damage,
            message,
        )
        return
    finally:
        path.write_bytes(whole)
    wrong = [example for key, example in results if key not in right]
    if wrong and damage.startswith("cut"):
        path.write_bytes(content[: content.rfind(b"\n") + 1])
        right = shapes(task, data)
        path.write_bytes(whole)
        wrong = [example for key, example in results if key not in right]
    assert not wrong, (path.name, damage, wrong[0].values, wrong[0].target)


def damage_all(task: Task, data: Path, *, chosen: int, files: int | None = None) -> None:
    """Damages every file of the form that is there, or the first `files`, each in `of` of the twenty ways."""
    folder, right = data_folder(task, data), shapes(task, data)
    for path in sorted({path for pattern in available_release(task, data).files for path in folder.files(pattern)})[
        :files
    ]:
        rng = random.Random(f"{task.name} {path.name}")
        content = path.read_bytes()
        ways = list(damages(content, rng, _kind(path, content)))
        for name, content in rng.sample(ways, chosen):
            check(task, path, name, content, data, right)


def _kind(path: Path, content: bytes) -> str:
    """A table has a row in each line: where cells have several lines, most lines are text."""
    if path.suffix not in (".csv", ".tsv"):
        return "records" if path.suffix in (".json", ".jsonl", ".gz", ".parquet") else "text"
    text = content.decode(errors="replace")
    rows = sum(1 for row in csv.reader(io.StringIO(text, newline=""), delimiter="\t" if "\t" in text else ",") if row)
    return "table" if rows == sum(1 for line in text.splitlines() if line) else "text"


every = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)


@every
def test_damaged_fixtures(task: Task, made: Path) -> None:
    damage_all(task, made, chosen=20)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("made"))


def head(path: Path, to: Path) -> None:
    """The first part of a file, whole in its own way."""
    to.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".json" and path.stat().st_size < SMALL:
        to.write_bytes(path.read_bytes())
        return
    lines = path.suffix != ".json"
    if not lines:
        try:
            content = json.loads(path.read_bytes())
        except ValueError:
            lines = True  # JSONL by another name
    if not lines:
        if isinstance(content, dict) and len(content) > HEAD:
            content = dict(list(content.items())[: HEAD // 10])
        to.write_text(json.dumps(content[: HEAD // 10] if isinstance(content, list) else content, indent=1) + "\n")
    else:
        with path.open("rb") as file:
            to.write_bytes(b"".join(line for line, _ in zip(file, range(HEAD), strict=False)))


def heads(task: Task, data: Path, to: Path) -> Path:
    folder = data_folder(task, data)
    for path in {path for pattern in available_release(task, data).files for path in folder.files(pattern)}:
        head(path, to / task.data.folder / path.relative_to(folder.path))
    return to


@every
def test_damaged_heads_of_what_is_at_hand(task: Task, shared_data: Path, tmp_path: Path) -> None:
    if is_available(task, shared_data):
        damage_all(task, heads(task, shared_data, tmp_path), chosen=3, files=6)


@pytest.mark.full
@every
def test_damaged_files_at_hand(task: Task, shared_data: Path, tmp_path: Path) -> None:
    if is_available(task, shared_data):
        data = tmp_path / "whole"
        folder = data_folder(task, shared_data)
        for path in {path for pattern in available_release(task, shared_data).files for path in folder.files(pattern)}:
            to = data / task.data.folder / path.relative_to(folder.path)
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(path.read_bytes())
        damage_all(task, data, chosen=20)


def test_folders_of_the_manifest_are_read(shared_data: Path) -> None:
    """Every folder of training data at hand is some task's, or it is said here why not."""
    left = {
        "cxc": "its captions are not here",
        "extra_refchecker": "its questions and passages are not here",
        "mbpp": "problems and tests, without solutions to judge",
    }
    used = {task.data.folder for task in TASKS if is_available(task, shared_data)}
    here = {path.name for path in (shared_data / "train").iterdir()}
    assert here - used == left.keys()
