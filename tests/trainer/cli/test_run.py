"""`flame-train run` on small releases."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from small_training import checkpoint

import flame_rank
from flame_rank.errors import UserError
from trainer.cli.group import cli
from trainer.collection.training_data import TrainingData


def run(*arguments: object) -> Any:
    return CliRunner().invoke(cli, ["run", *map(str, arguments)])


@pytest.fixture
def small(folder: Path, made_tasks: Path, tmp_path: Path) -> list[object]:
    numbers = ("--steps", 2, "--batch", 2, "--max-input", 512, "--max-target", 16)
    return ["--base", folder, "--data", made_tasks, "--out", tmp_path / "out", *numbers]


def test_the_command_trains_and_the_judge_reads_it(small: list[object], tmp_path: Path) -> None:
    done = run(*small, "--eval", "mnli", "--eval-every", 1, "--licence", "permissive")
    assert done.exit_code == 0, (done.output, done.exception)
    assert "mnli: 3 examples" in done.stderr and "step 2/2  loss " in done.stderr and "eval" in done.stderr
    assert "--eval mnli: it is trained on" in done.stderr
    assert "no dropout: " in done.stderr and "% padding" in done.stderr
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "best", "metrics.jsonl", "recipe.json", "rows", "step-0000001", "step-0000002", "tensorboard",
        "training_data.json",
    ]  # fmt: skip
    judge = flame_rank.load_judge(tmp_path / "out" / "best")
    assert flame_rank.rerank("p", ["a", "b"], judge=judge).order in ([0, 1], [1, 0])
    record = TrainingData.of_judge(str(tmp_path / "out" / "best"))
    assert record is not None and record.tasks["mnli"] == 3 and "expert-lfqa" in record.checked
    again = run(*small, "--licence", "permissive")
    assert again.exit_code == 0 and "taken up at step 2" in again.stderr
    (tmp_path / "m.csv").write_text("task,weight\nmnli,1\n")
    permissive, another = ["--licence", "permissive"], checkpoint(tmp_path / "another", "mistral")
    for changed, said in (
        ([*permissive, "--responses", "separate"], "responses"),
        (["--mixture", tmp_path / "m.csv"], "weights"),
        ([*permissive, "--base", another], "base"),
    ):
        refused = run(*small, *changed)
        assert isinstance(refused.exception, UserError) and f"begun with another {said};" in str(refused.exception)


def test_a_mixture_of_ones_own_on_a_gguf_file(small: list[object], gguf_file: Path, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("task,weight\nmnli,1\nesnli,3\nlima,2\n")
    done = run(*small, "--base", gguf_file, "--mixture", tmp_path / "m.csv")
    assert done.exit_code == 0, (done.output, done.exception)
    assert "mnli: 3 examples" in done.stderr and "\nhh-harmless: " not in done.stderr
    assert "1 of the mixture's 3 tasks are not under " in done.stderr
    assert flame_rank.load_judge(tmp_path / "out" / "step-0000002").name.startswith("llama:")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("mnli,1\n", "m.csv:1: the columns must be task, weight"),
        ("task,weight\nmnli,5\nmnli,1\n", "m.csv:3: the task mnli has a weight already"),
        ("task,weight\nmnli,5\nhhh-honest,3\n", "m.csv: hhh-honest: an evaluation task is never trained on"),
    ],
)
def test_a_mixture_is_read_before_anything_else(lines: str, said: str, small: list[object], tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(lines)
    done = run(*small, "--mixture", tmp_path / "m.csv", "--base", tmp_path / "nowhere")
    assert isinstance(done.exception, UserError) and said in str(done.exception)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--mixture", "none.csv"], "none.csv: no such file; a mixture is flame, flame-rm, or a CSV"),
        (["--mixture", "none.csv", "--extra"], "none.csv names its own tasks and weights: leave out --ratings"),
        (["--mixture", "flame-rm"], "--ratings FILE: flame-rm"),
        (["--threshold", "chat=90"], "--ratings and --threshold are for --mixture flame-rm"),
        (["--batch", 3, "--accumulate", 2], "a batch of 3 does not divide"),
        (["--eval", "nothing"], "no task 'nothing'"),
        (["--eval", "lima"], "--eval lima: it has no labels"),
        (["--max-input", 64], "its instructions take"),
        (["--model-parallel", 7], "cannot be split into groups of 7"),
        (["--template", "chat"], "it has no chat template"),
        (["--base", "none.gguf"], "--base none.gguf: "),
        (["--base", "hf:none"], "--base hf:none: write hf:ORG/NAME"),
        (["--freeze", 9], "--freeze 9: it is for decoders with more layers; this model has 1"),
    ],
)
def test_mistakes_are_told(arguments: list[object], said: str, small: list[object]) -> None:
    done = run(*small, *arguments)
    assert done.exit_code != 0 and isinstance(done.exception, UserError | SystemExit)
    assert said in str(done.exception) + done.output
