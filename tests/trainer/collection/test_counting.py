"""How many examples each task has on this machine."""

import shutil
from pathlib import Path

import pytest
from releases import make

from flame_rank.errors import UserError
from trainer.collection.catalogue import list_tasks
from trainer.collection.counting import count_examples
from trainer.collection.examples import examples
from trainer.collection.tasks import by_name

TASKS = [by_name("hh-harmless"), by_name("rankgen"), by_name("mnli")]


def test_tasks_that_are_not_on_this_machine_are_not_counted(tmp_path: Path) -> None:
    data, lines = make(tmp_path), list[str]()
    shutil.rmtree(data / "rankgen")
    counts = count_examples(TASKS, data, max_bad=0, say=lines.append)
    assert counts == {task.name: len(list(examples(task, data))) for task in (TASKS[0], TASKS[2])}
    assert lines == [] and min(counts.values()) >= 2
    rows = list_tasks(TASKS, counts)
    assert [row.found for row in rows] == [counts["hh-harmless"], 0, counts["mnli"]]
    assert [row.found for row in list_tasks(TASKS, None)] == [None] * 3


def test_bad_records_are_told_or_end_it(tmp_path: Path) -> None:
    data, lines = make(tmp_path), list[str]()
    file = next((data / "hh_rlhf_harmless").rglob("*.jsonl*"))
    file.unlink()
    file.with_suffix("").write_text('{"chosen": 1}\n' if file.suffix == ".gz" else "")
    with pytest.raises(UserError, match="1 of 1 records are bad"):
        count_examples(TASKS[:1], data, max_bad=0.5, say=lines.append)
    assert count_examples(TASKS[:1], data, max_bad=1, say=lines.append) == {"hh-harmless": 0}
    (line,) = lines
    assert line.startswith("hh-harmless: 1 bad records; the first: ") and "jsonl:1" in line
