"""`flame-train tasks` on small releases."""

import json
from pathlib import Path

import pytest
from flame_train import succeed
from releases import make

from trainer.collection.tasks import TASKS


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("releases"))


def test_tasks_as_json(data: Path) -> None:
    rows = json.loads(succeed("tasks", "--data", data, "--json").stdout)
    assert [row["name"] for row in rows] == [task.name for task in TASKS]
    keys = {"name", "split", "capability", "kind", "licence", "permissive", "source", "found", "full"}
    assert all(row.keys() == keys and row["found"] > 1 for row in rows)
    splits = [row["split"] for row in rows]
    assert (splits.count("train"), splits.count("eval")) == (97, 53)  # the paper's, sections 3.2 and 4.1
    assert {row["capability"] for row in rows if row["split"] == "train"} == {
        *("general text quality", "attribution", "mathematical reasoning", "coding", "safety", "instruction tuning")
    }
    assert all(row["found"] is None for row in json.loads(succeed("tasks", "--json").stdout))


def test_tasks_as_a_table(data: Path) -> None:
    done = succeed("tasks", "--data", data)
    head, *rows = done.stdout.splitlines()
    assert head.split() == ["name", "split", "capability", "kind", "licence", "source", "found", "full"]
    assert len(rows) == len(TASKS) and done.stderr.endswith(f"97 train, 53 eval, {len(TASKS) - 150} extra\n")
    assert succeed("tasks").stdout.splitlines()[1].split()[-2:] == ["-", "549367"]
