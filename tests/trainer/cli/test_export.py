"""`flame-train export` on small releases."""

import json
from pathlib import Path

import pytest
from flame_train import succeed
from releases import make

from trainer.collection.tasks import TASKS


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("releases"))


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_export(form: str, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = succeed("export", "--data", data, "--out", out, "--format", form, "--shard", 40, "--licence", "permissive")
    shards = sorted((out / "data").iterdir())
    assert [path.name for path in shards[:2]] == [f"train-0000{k}.{form}" for k in range(2)]
    rows = []
    for path in shards:
        if form == "jsonl":
            results = [json.loads(line) for line in path.read_text().splitlines()]
        else:
            from pyarrow import parquet

            results = parquet.read_table(path).to_pylist()
        assert len(results) <= 40
        rows += results
    assert all(row.keys() == {"task", "input", "target", "weight", "licence"} for row in rows)
    assert f"{len(rows)} examples of " in done.stderr
    names = {task.name for task in TASKS if task.split == "train" and task.data.permissive}
    assert {row["task"] for row in rows} <= names
    total: dict[str, float] = {}
    for row in rows:
        total[row["task"]] = total.get(row["task"], 0) + row["weight"]
    card = (out / "README.md").read_text()
    for name, weight in total.items():
        assert weight == pytest.approx(round(weight))  # the number of examples, for small tasks
        assert f"| {name} |" in card
    assert json.loads(card.splitlines()[1])["configs"][0]["data_files"][0]["path"] == f"data/*.{form}"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_export_leaves_out_what_an_evaluation_task_has(tmp_path: Path) -> None:
    make(tmp_path / "data")
    file = tmp_path / "data" / "expert_lfqa" / "experts_pairwise_human_preferences.jsonl"
    question = "Why is it that one two three four five six seven eight nine ten is how people count?"
    held_out = json.loads(file.read_text().splitlines()[0]) | {"question": question}
    file.write_text(json.dumps(held_out) + "\n" + file.read_text())
    train = tmp_path / "data" / "hh_rlhf_harmless" / "harmless-base"
    record = {"chosen": f"\n\nHuman: {question}\n\nAssistant: a", "rejected": f"\n\nHuman: {question}\n\nAssistant: b"}
    (train / "train.jsonl").write_text(json.dumps(record) + "\n")
    done = succeed("export", "--data", tmp_path / "data", "--out", tmp_path / "out")
    assert "hh-harmless: 1 examples share text with an evaluation task and are left out" in done.stderr
    assert question not in "".join(path.read_text() for path in (tmp_path / "out" / "data").iterdir())
