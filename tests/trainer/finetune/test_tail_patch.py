"""Tail patches on a small collection in which it is known what helps."""

import csv
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import VARIANTS, write_checkpoint
from click.testing import CliRunner
from tokenizers_tiny import write_byte_bpe

from flame_rank.errors import UserError
from trainer.cli.group import cli
from trainer.collection import tasks
from trainer.collection.mixture import bundles, flame_rm, read_ratings
from trainer.collection.mixture_options import THRESHOLDS
from trainer.collection.tasks.base import Answer, DataSet, Release, Task
from trainer.finetune import tail_patch
from trainer.finetune.evaluation import right_answers
from trainer.finetune.tail_patch_curves import (
    read_curves,
)

# ---- A collection with known structure ----

FILLER = ("item", "sum", "first", "second", "choice", "for", "better", "answers")


def answers(record: Any) -> Iterator[Answer]:
    yield Answer(context=(record["text"],), values=(record["label"],))


def task(name: str, split: Any = "train", labels: tuple[str, str] = ("yes", "no"), title: str = "Marked") -> Task:
    return Task(
        name=name,
        split=split,
        capability="safety",
        kind="classification",
        data=DataSet(
            folder=name,
            origin="https://example.org",
            licence="MIT",
            permissive=True,
            releases=(Release(files=("t.jsonl",), read=lambda folder: folder.jsonl("t.jsonl")),),
        ),
        title=title,
        description="Answer.",
        fields=("text",),
        labels=labels,
        convert=answers,
    )


COLLECTION = (
    task("helpful"),
    task("useless", labels=("A", "B"), title="Direction"),
    task("harmful"),
    task("target", "eval"),
    task("coin", "eval"),
)
MARKS = ("return", "print")
SHAPE = ["--batch", "16", "--rate", "3e-3", "--dropout", "0", "--max-input", "128", "--max-target", "16"]
TARGETS = [
    *("--category", "chat-hard=target", "--category", "safety=target,coin"),
    *("--category", "chat=coin", "--category", "code=coin", "--category", "math=coin"),
]


def write(data: Path, name: str, count: int, labels: Sequence[str], marks: Sequence[str], seed: int) -> None:
    """Words, among them one of the marks, each of which stands for a label."""
    rng = np.random.default_rng(seed)
    (data / name).mkdir()
    with (data / name / "t.jsonl").open("w") as file:
        for k in range(count):
            side = k % 2
            words = [str(word) for word in rng.choice(FILLER, 6)]
            words[rng.integers(6)] = marks[side]
            file.write(json.dumps({"text": " ".join(words), "label": labels[side]}) + "\n")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is helpful is seldom in the collection, and what is harmful often."""
    folder = tmp_path_factory.mktemp("data")
    write(folder, "helpful", 100, ("yes", "no"), MARKS, 1)
    write(folder, "useless", 1500, ("A", "B"), ("function", "user"), 2)
    write(folder, "harmful", 1500, ("no", "yes"), MARKS, 3)
    write(folder, "target", 100, ("yes", "no"), MARKS, 4)
    write(folder, "coin", 50, ("yes", "no"), ("euros", "euros"), 5)  # nothing tells which
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    write_checkpoint(folder, {**VARIANTS["llama3"], "vocab_size": write_byte_bpe(folder, bos=True)})
    return folder


@pytest.fixture(autouse=True)
def collection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "TASKS", (*tasks.TASKS, *COLLECTION))


def invoke(*arguments: object, code: int = 0) -> Any:
    found = CliRunner().invoke(cli, [str(one) for one in arguments])
    assert found.exit_code == code, (found.output, found.exception)
    return found


def begin(base: Path, data: Path, out: Path, *more: object) -> list[object]:
    return ["tail-patch", "--base", base, "--data", data, "--out", out, *SHAPE, *TARGETS, *more]


@pytest.fixture(scope="module")
def measured(data: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[str]]]:
    """All three tasks, killed in the middle of the first one: the folder, and what the second start said."""
    out = tmp_path_factory.mktemp("out")
    arguments = begin(base, data, out, "--steps", 60, "--eval-every", 10, "--save-every", 30)
    calls = 0

    def killed(training: Any, rows: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 6 * 5:  # of the six parts of the categories, the fifth time: the base, then steps 10 to 40
            raise RuntimeError("killed")
        return right_answers(training, rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "TASKS", (*tasks.TASKS, *COLLECTION))
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(tail_patch, "right_answers", killed)
            assert str(invoke(*arguments, code=1).exception) == "killed"
        assert [path.name for path in (out / "runs" / "helpful").glob("step-*")] == ["step-0000030"]
        assert not (out / "curves").exists()
        said = invoke(*arguments, "--plot", out / "curves.png")
    yield out, said.output.splitlines()


@pytest.mark.full
def test_recovers_what_helps(measured: tuple[Path, list[str]], data: Path) -> None:
    out, _ = measured
    ratings = read_ratings(out / "ratings.csv")
    found = {name: {category: one.rating for category, one in rated.items()} for name, rated in ratings.items()}
    nothing = dict.fromkeys(THRESHOLDS, 0)
    assert found == {
        "helpful": nothing | {"chat-hard": 2, "safety": 2},
        "useless": nothing,
        "harmful": nothing | {"chat-hard": -1, "safety": -1},
    }
    assert ratings["helpful"]["chat-hard"].score > 90 and ratings["harmful"]["chat-hard"].score < 20
    assert bundles(ratings["helpful"]) == ["specific:chat-hard"]
    assert flame_rm(dict.fromkeys(found, 1), ratings) == {"helpful": 30_000, "useless": 3_000, "harmful": 3_000}
    shares = invoke("mixture", "--data", data, "--mixture", "flame-rm", "--ratings", out / "ratings.csv").output
    assert shares.splitlines()[1].split() == ["helpful", "100", "30000", "83.33%"]


@pytest.mark.full
def test_curves_are_whole_after_an_interruption(measured: tuple[Path, list[str]]) -> None:
    out, said = measured
    assert "helpful: taken up at step 30" in said
    curves = read_curves(out)
    assert [curve.task for curve in curves] == ["harmful", "helpful", "useless"]
    for curve in curves:
        assert curve.steps == [0, 10, 20, 30, 40, 50, 60]
        assert curve.examples == dict.fromkeys(THRESHOLDS, 50) | {"chat-hard": 100, "safety": 150}
        assert all(found[0] == curves[0].accuracies[c][0] for c, found in curve.accuracies.items())  # one base
        of_both = (100 * np.array(curve.accuracies["chat-hard"]) + 50 * np.array(curve.accuracies["code"])) / 150
        np.testing.assert_allclose(curve.accuracies["safety"], of_both)  # weighted by examples
    assert not list((out / "runs").glob("*/step-*"))
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.full
def test_the_report(measured: tuple[Path, list[str]], tmp_path: Path) -> None:
    out, said = measured
    again = shutil.copytree(out / "curves", tmp_path / "curves").parent
    lines = invoke("tail-patch", "--report", "--out", again).output.splitlines()
    assert lines[0].split() == ["task", *THRESHOLDS, "sum", "bundles"]
    assert [line.split()[0] for line in lines[1:5]] == ["(base)", "helpful", "useless", "harmful"]
    assert lines[2].split()[-2:] == ["+4", "specific:chat-hard"]
    assert set(lines[:6]) <= set(said)
    assert (again / "ratings.csv").read_text() == (out / "ratings.csv").read_text()
    high = invoke("tail-patch", "--report", "--out", again, "--threshold", "chat-hard=100").output.splitlines()
    assert high[2].split()[-2:] == ["+4", "others"]
    with (again / "ratings.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3 * 5


@pytest.mark.full
def test_what_is_measured_is_not_measured_again(
    measured: tuple[Path, list[str]], data: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, _ = measured
    before = (out / "ratings.csv").read_bytes()
    monkeypatch.setattr(tail_patch, "right_answers", None)  # nothing may ask for it
    arguments = begin(base, data, out, "--eval-every", 10, "--save-every", 30)
    assert "3 tasks, 3 of them measured already" in invoke(*arguments, "--steps", 60).output
    assert "2 tasks, 2 of them measured already" in invoke(*arguments, "--steps", 60, "--shard", "1/2").output
    assert (out / "ratings.csv").read_bytes() == before
    assert "another steps" in str(invoke(*arguments, "--steps", 70, code=1).exception)


# ---- Mistakes ----


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "category chat: none of its tasks is under"),
        (
            ["--category", "code=coin", "--category", "safety=hhh-harmless"],
            "category safety: none of its tasks is under",
        ),
        (["--category", "chat=helpful"], "category chat: helpful is not an evaluation task"),
        (["--category", "chat=cion"], "no task 'cion'; did you mean coin"),
        (["--task", "target"], "--task target: an evaluation task is never trained on"),
        (["--task", "nothing-like-it"], "no task 'nothing-like-it'"),
    ],
)
def test_tasks_that_do_not_serve_are_told(
    more: list[str], message: str, data: Path, base: Path, tmp_path: Path
) -> None:
    arguments = ["tail-patch", "--base", base, "--data", data, "--out", tmp_path / "out", *SHAPE, *more]
    found = invoke(*arguments, code=1).exception
    assert isinstance(found, UserError) and message in str(found)


@pytest.mark.full  # a minute: the vanilla mixture takes twenty times the steps
@pytest.mark.full
def test_the_reweighted_mixture_beats_the_vanilla_one_in_a_twentieth_of_the_steps(
    measured: tuple[Path, list[str]], data: Path, base: Path, tmp_path: Path
) -> None:
    def trained(name: str, steps: int, *more: object) -> list[float]:
        out = tmp_path / name
        asked = ["--eval", "target", "--eval-every", steps // 5, "--steps", steps]
        invoke("run", "--base", base, "--data", data, "--out", out, *SHAPE, *asked, "--mixture", name, *more)
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        return [line["mean"] for line in lines if "eval" in line]

    reweighted = trained("flame-rm", 50, "--ratings", measured[0] / "ratings.csv")
    vanilla = trained("flame", 1000)
    assert reweighted[-1] > 0.8 > 0.6 > max(vanilla), (reweighted, vanilla)
