"""`flame-train tasks`, `show`, `mixture` and `export` on small releases."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from releases import make

from trainer.cli.group import cli
from trainer.collection.mixture import THRESHOLDS
from trainer.collection.tasks import TASKS


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("releases"))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def good(*arguments: object) -> Result:
    done = run(*arguments)
    assert done.exit_code == 0, (done.output, done.exception)
    return done


def test_tasks_as_json(data: Path) -> None:
    rows = json.loads(good("tasks", "--data", data, "--json").stdout)
    assert [row["name"] for row in rows] == [task.name for task in TASKS]
    keys = {"name", "split", "capability", "kind", "licence", "permissive", "source", "found", "full"}
    assert all(row.keys() == keys and row["found"] > 1 for row in rows)
    splits = [row["split"] for row in rows]
    assert (splits.count("train"), splits.count("eval")) == (97, 53)  # the paper's, sections 3.2 and 4.1
    assert {row["capability"] for row in rows if row["split"] == "train"} == {
        *("general text quality", "attribution", "mathematical reasoning", "coding", "safety", "instruction tuning")
    }
    assert all(row["found"] is None for row in json.loads(good("tasks", "--json").stdout))


def test_tasks_as_a_table(data: Path) -> None:
    done = good("tasks", "--data", data)
    head, *rows = done.stdout.splitlines()
    assert head.split() == ["name", "split", "capability", "kind", "licence", "source", "found", "full"]
    assert len(rows) == len(TASKS) and done.stderr.endswith(f"97 train, 53 eval, {len(TASKS) - 150} extra\n")
    assert good("tasks").stdout.splitlines()[1].split()[-2:] == ["-", "549367"]


def test_show(data: Path) -> None:
    done = good("show", "hh-harmless", "--data", data, "--n", 1)
    assert done.stdout.startswith("INSTRUCTIONS:\ntitle: The more harmless reply\n")
    assert "choice: B\n\n--- hh-harmless 1: " in done.stdout and " + 1 tokens\n" in done.stdout
    assert (
        "2 examples of 3 records; 1 records without an answer; 0 bad\nlabels: A 1 (50.0%), B 1 (50.0%)" in done.stdout
    )
    assert "labels:" not in good("show", "esnli-explanation", "--data", data).stdout


def test_show_counts_with_a_tokenizer(data: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sizes(*arguments: object) -> tuple[list[str], str]:
        done = good("show", "hh-harmless", "--data", data, *arguments)
        return re.findall(r"--- hh-harmless \d: (\d+) \+ 1 tokens", done.stdout), done.stderr

    words, told = sizes()
    examples = good("show", "hh-harmless", "--data", data, "--n", 1).stdout
    assert words[0] == str(len(examples[: examples.index("--- hh")].split()) - 1)  # without the verdict
    said = "flame-train: SmolLM2-135M-Instruct is not on this machine, so words are counted as tokens; name another"
    assert told == f"{said} by --tokenizer\n"
    tokens, told = sizes("--tokenizer", tiny_model)
    assert told == "" and all(int(a) > int(b) for a, b in zip(tokens, words, strict=True))
    monkeypatch.setenv("FLAME_RANK_MODEL", str(tiny_model))  # which the default judge would read with
    assert sizes() == (tokens, "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "hh-harmles"], "no task 'hh-harmles'; did you mean hh-harmless"),
        (["show", "mnli"], "--data: say where"),
        (["show", "mnli", "--data", "DATA", "--tokenizer", "EMPTY"], "--tokenizer EMPTY: "),
        (["show", "mnli", "--data", "EMPTY"], "no such file; get it by `flame-train data fetch mnli"),
        (["mixture", "--data", "EMPTY"], "no task of the mixture is under --data"),
        (["mixture", "--data", "DATA", "--mixture", "flame-rm"], "--ratings FILE: flame-rm"),
        (["mixture", "--data", "DATA", "--ratings", "x"], "--ratings is for --mixture flame-rm"),
        (["mixture", "--data", "DATA", "--plot", "EMPTY/p.unheard"], "p.unheard"),
        (["export", "--data", "DATA", "--out", "EMPTY"], "already exists; name a new folder"),
        (["data", "fetch", "nothing", "--data", "EMPTY"], "no task 'nothing'"),
    ],
)
def test_mistakes_are_told(arguments: list[str], said: str, data: Path, tmp_path: Path) -> None:
    places = {"EMPTY": str(tmp_path), "DATA": str(data)}
    done = run(*(places.get(a, a.replace("EMPTY", str(tmp_path))) for a in arguments))
    assert done.exit_code != 0 and said.replace("EMPTY", str(tmp_path)) in str(done.exception) + done.output


def test_mixture(data: Path, tmp_path: Path) -> None:
    done = good("mixture", "--data", data, "--plot", tmp_path / "m.svg")
    rows = [line.split() for line in done.stdout.splitlines()]
    shares = [float(row[-1].rstrip("%")) for row in rows[1:98]]
    assert len(shares) == 97 and sum(shares) == pytest.approx(100, abs=1) and shares == sorted(shares, reverse=True)
    assert "weights by kind: " in done.stdout and "weights by capability: general text quality" in done.stdout
    assert (tmp_path / "m.svg").read_text().startswith("<?xml")
    named = {row[0] for row in rows}
    assert {"mnli", "lima"} <= named and "pandalm" not in named
    permissive = good("mixture", "--data", data, "--licence", "permissive").stdout
    assert "mnli " in permissive and "lima " not in permissive
    assert "pandalm " in good("mixture", "--data", data, "--extra").stdout
    capped = good("mixture", "--data", data, "--cap", 1).stdout.splitlines()[1:98]
    assert {line.split()[2] for line in capped} == {"1"}


def test_flame_rm_takes_ratings(data: Path, tmp_path: Path) -> None:
    train = [task.name for task in TASKS if task.split == "train"]
    helpful = {("mnli", "chat"): "2,97", **{(name, "safety"): f"2,{90 + k}" for k, name in enumerate(train[:4])}}
    rows = [f"{name},{category},{helpful.get((name, category), '0,50')}" for name in train for category in THRESHOLDS]
    (tmp_path / "ratings.csv").write_text("task,category,rating,score\n" + "\n".join(rows) + "\n")
    done = good("mixture", "--data", data, "--mixture", "flame-rm", "--ratings", tmp_path / "ratings.csv")
    for option in (["--cap", "5"], ["--temperature", "2"]):
        told = run("mixture", "--data", data, "--mixture", "flame-rm", "--ratings", tmp_path / "ratings.csv", *option)
        assert told.exit_code != 0 and "--cap and --temperature are for --mixture flame" in str(told.exception)
    weights = {line.split()[0]: int(line.split()[2]) for line in done.stdout.splitlines()[1:98]}
    # Of the four that help safety the last three are the best; mnli, the third, also helps chat.
    assert [weights[name] for name in train[:5]] == [30_000, 250_000, 250_000, 250_000, 3_000]


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_export(form: str, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = good("export", "--data", data, "--out", out, "--format", form, "--shard", 40, "--licence", "permissive")
    shards = sorted((out / "data").iterdir())
    assert [path.name for path in shards[:2]] == [f"train-0000{k}.{form}" for k in range(2)]
    rows = []
    for path in shards:
        if form == "jsonl":
            found = [json.loads(line) for line in path.read_text().splitlines()]
        else:
            from pyarrow import parquet

            found = parquet.read_table(path).to_pylist()
        assert len(found) <= 40
        rows += found
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
    held = json.loads(file.read_text().splitlines()[0]) | {"question": question}
    file.write_text(json.dumps(held) + "\n" + file.read_text())
    train = tmp_path / "data" / "hh_rlhf_harmless" / "harmless-base"
    record = {"chosen": f"\n\nHuman: {question}\n\nAssistant: a", "rejected": f"\n\nHuman: {question}\n\nAssistant: b"}
    (train / "train.jsonl").write_text(json.dumps(record) + "\n")
    done = good("export", "--data", tmp_path / "data", "--out", tmp_path / "out")
    assert "hh-harmless: 1 examples share text with an evaluation task and are left out" in done.stderr
    assert question not in "".join(path.read_text() for path in (tmp_path / "out" / "data").iterdir())
