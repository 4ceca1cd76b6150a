"""Every task of the collection, on small records in its upstream format and on the data sets that are at hand."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from places import GOLDEN, ROOT
from releases import GOLDEN_TASKS, RELEASES, make

import trainer.collection.tasks.base
from flame_rank.errors import UserError
from trainer.collection.examples import Counts, data_folder, examples, is_available
from trainer.collection.tasks import TASKS, by_name
from trainer.collection.tasks.base import Task

FOUND = GOLDEN / "found"

every = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("releases"))


def test_names_are_unique() -> None:
    assert [name for name, times in Counter(task.name for task in TASKS).items() if times > 1] == []


@every
def test_says_what_it_is(task: Task) -> None:
    assert task.name == task.name.lower() and " " not in task.name and "_" not in task.name
    assert len(task.description) >= 100, "a definition and instructions, not a title"
    assert "\n" not in task.title and len(task.title) < 80
    assert bool(task.labels) == (task.kind != "generative")
    assert task.data.origin.startswith(("hf:", "github:", "https://"))
    if task.kind == "pairwise":
        assert task.labels[:2] == ("A", "B") and "response_a" in task.description and "response_b" in task.description
    else:  # a label that the instructions do not name cannot be known
        numbers = all(label.isdigit() for label in task.labels)
        missing = [] if numbers else [label for label in task.labels if label not in task.description]
        assert not missing
    for address, file in task.data.downloads.items():
        assert address.startswith(("hf://datasets/", "https://", "http://"))
        assert file and ("*" not in address or file.endswith("/"))


@every
def test_loads_from_its_upstream_format(task: Task, data: Path) -> None:
    counts = Counts()
    results = list(examples(task, data, counts, max_bad=0))
    assert 2 <= len(results) == counts.examples and counts.bad == 0
    # The official form, which is the first one, is the one that the fixtures have.
    assert all(data_folder(task, data).has(pattern) for pattern in task.data.releases[0].files)
    if task.kind == "pairwise":
        letters = Counter(example.label for example in results)
        assert abs(letters["A"] - letters["B"]) <= 1
    for example in results:
        assert len(example.values) == len(task.context) and example.target.startswith(" ")
        assert example.label in task.labels if task.labels else not example.label


@every
def test_the_first_example_is_as_a_reader_has_seen_it(task: Task, data: Path) -> None:
    first = next(examples(task, data))
    assert first.input + first.target + "\n" == (GOLDEN_TASKS / f"{task.name}.txt").read_text(encoding="utf-8")


def test_no_golden_is_left_over() -> None:
    assert {path.stem for path in GOLDEN_TASKS.iterdir()} == {task.name for task in TASKS}
    used = {task.data.folder.split("/")[0] for task in TASKS}
    assert {path.name for path in RELEASES.iterdir()} == used


def manifest() -> dict[str, dict[str, object]]:
    """What is found at hand for each task, as its manifest has it: records, examples, labels."""
    files = [json.loads(path.read_text()) for path in sorted(FOUND.glob("*.json"))]
    return {name: counts for file in files for name, counts in file.items()}


@pytest.mark.full
@pytest.mark.parametrize("name", manifest())
def test_what_is_at_hand_loads_whole(name: str, shared_data: Path) -> None:
    counts = Counts()
    for _ in examples(by_name(name), shared_data, counts):
        pass
    wanted = manifest()[name]
    assert {"records": counts.records, "examples": counts.examples, "labels": counts.labels} == wanted


def test_all_that_is_at_hand_is_counted(shared_data: Path) -> None:
    assert {task.name for task in TASKS if is_available(task, shared_data)} == manifest().keys()


def test_the_documented_task(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "collection.md").read_text(encoding="utf-8")
    code = page.split("HEADLINES = DataSet(")[1].split("```")[0]
    base = ("DataSet", "Pair", "Release", "Task", "majority")
    names: dict[str, Any] = {name: getattr(trainer.collection.tasks.base, name) for name in base}
    exec("HEADLINES = DataSet(" + code.replace("\nTask(", "\nHEADLINE = Task("), names)
    (tmp_path / "headlines").mkdir()
    records = [
        {"headlines": ["one", "two"], "article": "a", "votes": ["first", "second", "first"]},
        {"headlines": ["one", "two"], "article": "b", "votes": ["first", "second"]},
        {"headlines": ["one", "two"], "article": "c", "votes": ["second"]},
    ]
    (tmp_path / "headlines" / "votes.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    counts = Counts()
    results = list(examples(names["HEADLINE"], tmp_path, counts))
    assert counts.unanswered == 1
    assert [e.values[1:][e.label == "B"] for e in results] == ["one", "two"]


def test_by_name() -> None:
    assert by_name("mnli") in TASKS
    with pytest.raises(UserError, match="did you mean mnli"):
        by_name("mnly")
    with pytest.raises(UserError, match="flame-train tasks"):
        by_name("qqqqqqqq")
