"""`flame-train mixture` on small releases."""

import shutil
from pathlib import Path

import pytest
from flame_train import run, succeed
from releases import make

from trainer.collection.mixture_options import THRESHOLDS
from trainer.collection.tasks import TASKS


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("releases"))


def test_mixture(data: Path, tmp_path: Path) -> None:
    done = succeed("mixture", "--data", data, "--plot", tmp_path / "m.svg")
    rows = [line.split() for line in done.stdout.splitlines()]
    shares = [float(row[-1].rstrip("%")) for row in rows[1:98]]
    assert len(shares) == 97 and sum(shares) == pytest.approx(100, abs=1) and shares == sorted(shares, reverse=True)
    assert "weights by kind: " in done.stdout and "weights by capability: general text quality" in done.stdout
    assert (tmp_path / "m.svg").read_text().startswith("<?xml")
    named = {row[0] for row in rows}
    assert {"mnli", "lima"} <= named and "pandalm" not in named
    permissive = succeed("mixture", "--data", data, "--licence", "permissive").stdout
    assert "mnli " in permissive and "lima " not in permissive
    assert "pandalm " in succeed("mixture", "--data", data, "--extra").stdout
    capped = succeed("mixture", "--data", data, "--cap", 1).stdout.splitlines()[1:98]
    assert {line.split()[2] for line in capped} == {"1"}


def test_flame_rm_takes_ratings(data: Path, tmp_path: Path) -> None:
    train = [task.name for task in TASKS if task.split == "train"]
    helpful = {("mnli", "chat"): "2,97", **{(name, "safety"): f"2,{90 + k}" for k, name in enumerate(train[:4])}}
    rows = [f"{name},{category},{helpful.get((name, category), '0,50')}" for name in train for category in THRESHOLDS]
    (tmp_path / "ratings.csv").write_text("task,category,rating,score\n" + "\n".join(rows) + "\n")
    done = succeed("mixture", "--data", data, "--mixture", "flame-rm", "--ratings", tmp_path / "ratings.csv")
    for option in (["--cap", "5"], ["--temperature", "2"]):
        done_wrong = run(
            "mixture", "--data", data, "--mixture", "flame-rm", "--ratings", tmp_path / "ratings.csv", *option
        )
        assert done_wrong.exit_code != 0 and "--cap and --temperature are for --mixture flame" in str(
            done_wrong.exception
        )
    higher = succeed(
        *("mixture", "--data", data, "--mixture", "flame-rm", "--ratings", tmp_path / "ratings.csv"),
        *("--threshold", "safety=92.5"),
    )
    changed = {line.split()[0]: int(line.split()[2]) for line in higher.stdout.splitlines()[1:98]}
    assert [changed[name] for name in train[:5]] == [3_000, 3_000, 30_000, 250_000, 3_000]
    for option in (["--threshold", "chat=90"], ["--ratings", str(tmp_path / "ratings.csv")]):
        refused = run("mixture", "--data", data, *option)
        assert "are for --mixture flame-rm" in str(refused.exception)
    weights = {line.split()[0]: int(line.split()[2]) for line in done.stdout.splitlines()[1:98]}
    # Of the four that help safety the last three are the best; mnli, the third, also helps chat.
    assert [weights[name] for name in train[:5]] == [30_000, 250_000, 250_000, 250_000, 3_000]


def test_what_cannot_be_checked_is_named(data: Path, tmp_path: Path) -> None:
    assert "is not checked" not in succeed("mixture", "--data", data, "--cap", 1).stderr
    shutil.copytree(data / "mnli", tmp_path / "mnli")
    (line,) = [line for line in succeed("mixture", "--data", tmp_path).stderr.splitlines() if "is not checked" in line]
    assert line.startswith("overlap with 31 of 53 evaluation tasks") and "dipper" in line and "rankgen" not in line
