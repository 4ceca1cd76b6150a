"""A run over tasks: what it keeps, what it asks again, and what the command prints."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from releases import make

from flame_rank.errors import UserError
from flame_rank.judges.function import FunctionJudge
from trainer.cli.group import cli
from trainer.collection.tasks import by_name
from trainer.measuring.answer_file import AnswerFile
from trainer.measuring.card import card
from trainer.measuring.rendering import markdown
from trainer.measuring.suite import TaskLine, read_examples, run

TASKS = ("rankgen", "copoem", "expert-lfqa", "contrastive-search")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("data"))


class Counting:
    """A function of pairs that prefers the longer one and counts its calls."""

    def __init__(self, stop: int = 10**9):
        self.pairs, self.stop = 0, stop

    def __call__(self, prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
        self.pairs += len(pairs)
        if self.pairs > self.stop:
            raise KeyboardInterrupt
        return [float(len(a) - len(b)) for a, b in pairs]


def test_what_was_answered_is_not_asked_again(data: Path, tmp_path: Path) -> None:
    path, task = tmp_path / "answers.jsonl", by_name("rankgen")
    given = read_examples(task, data)
    first, second = Counting(), Counting()
    before = run(FunctionJudge(first, name="f"), task, given, AnswerFile(TaskLine, path))
    with path.open("ab") as file:
        file.write(b'{"judge": "f", "ans')  # as a killed run leaves it
    after = run(FunctionJudge(second, name="f"), task, given, AnswerFile(TaskLine, path))
    assert first.pairs == 2 * len(given) and second.pairs == 0 and before.answers == after.answers
    third = Counting()
    run(FunctionJudge(third, name="g"), task, given, AnswerFile(TaskLine, path))
    assert third.pairs == first.pairs


def test_what_failed_is_asked_again(data: Path, tmp_path: Path) -> None:
    path, task = tmp_path / "answers.jsonl", by_name("rankgen")
    given = read_examples(task, data)

    def fails(prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
        return [float("nan")] * len(pairs)

    failed = run(FunctionJudge(fails, name="f"), task, given, AnswerFile(TaskLine, path))
    assert failed.invalid == len(given)
    assert not run(FunctionJudge(Counting(), name="f"), task, given, AnswerFile(TaskLine, path)).invalid


def test_a_judge_that_never_answers_is_an_error(data: Path, tmp_path: Path) -> None:
    judge = tmp_path / "judge.py"
    judge.write_text(
        "def never(prompt, pairs):\n    return [float('nan')] * len(pairs)\n\n"
        "def longer(prompt, pairs):\n    return [len(a) - len(b) for a, b in pairs]\n"
    )
    command = ["evaluate", "--data", str(data), "--task", "rankgen", "--judge"]
    ran = CliRunner().invoke(cli, [*command, f"{judge}:never"])
    assert isinstance(ran.exception, UserError) and "no valid answer to rankgen" in str(ran.exception)
    assert not ran.stdout
    assert "At least as good" in CliRunner().invoke(cli, [*command, f"{judge}:longer"]).stdout
    few = CliRunner().invoke(cli, [*command, f"{judge}:longer", "--limit", "3"]).stdout
    assert "At most 3 examples of each task were asked" in few and "At least as good" not in few


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text('{"judge": 3}\n')
    with pytest.raises(UserError, match=r"answers.jsonl:1: not an answer"):
        AnswerFile(TaskLine, path)


def test_a_limit_takes_the_same_examples_whatever_else_is_asked(data: Path) -> None:
    task = by_name("rankgen")
    every = read_examples(task, data)
    two = read_examples(task, data, 2)
    assert len(two) == 2 and two == read_examples(task, data, 3)[:2] and all(example in every for example in two)


def test_baselines_are_of_the_examples_that_were_answered(data: Path) -> None:
    task = by_name("rankgen")
    given = read_examples(task, data)
    alone = {given[0].values[-1], given[0].values[-2]}

    def answers(prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
        return [float(len(a) - len(b)) if {a, b} == alone else float("nan") for a, b in pairs]

    asked = {task.name: run(FunctionJudge(answers, name="some"), task, given, AnswerFile(TaskLine))}
    (line,) = [line for line in card("some", asked).tasks if line.name == task.name]
    assert line.n == 1 < len(given) and line.baselines["longer"] == line.share[0]


def test_a_card_says_what_stands_where(data: Path) -> None:
    def asked(sign: float) -> dict[str, Any]:
        judge = FunctionJudge(lambda _, pairs: [sign * (len(a) - len(b)) for a, b in pairs], name=str(sign))
        return {
            name: run(judge, by_name(name), read_examples(by_name(name), data), AnswerFile(TaskLine)) for name in TASKS
        }

    result = card(
        "1",
        asked(1.0),
        against="-1",
        other=asked(-1.0),
        missing=["dipper"],
        not_applicable=["lens-overall"],
        contact={"rankgen": "none", "copoem": "trained on"},
    )
    lines = {line.name: line for line in result.benchmarks}
    for name in ("RankGen", "RankGen, by majority", "CoPoem", "Expert LFQA", "Contrastive search"):
        line = lines[name]
        assert line.share[0] == line.baselines["longer"] and line.invalid == 0
        assert line.difference is not None
        assert line.difference[0] == pytest.approx(2 * line.share[0] - 100)  # the other judge prefers the shorter one
    assert lines["CoPoem"].paper["FLAMe-RM-24B"] == 53.6 and not lines["CoPoem, by majority"].paper
    assert lines["RankGen"].baselines["best possible"] <= 100 and lines["RankGen"].baselines["chance"] == 50
    assert [lines[name].contact for name in ("RankGen", "CoPoem", "Expert LFQA")] == ["none", "trained on", "not known"]
    text = markdown(result)
    assert "Not at hand: dipper." in text and "which only compares: lens-overall." in text
    assert "| RankGen " in text and "Differences are to: -1" in text


def test_the_command(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text("def longer(prompt, pairs):\n    return [len(a) - len(b) for a, b in pairs]\n")
    monkeypatch.chdir(tmp_path)
    asked = ["evaluate", "--judge", "mine.py:longer", "--data", str(data), "--json", "figures.json"]
    ran = CliRunner().invoke(cli, [*asked, "--suite", "pairs", "--out", "out"], catch_exceptions=False)
    assert ran.exit_code == 0
    figures = json.loads(Path("figures.json").read_text())
    assert figures == json.loads(Path("out/card.json").read_text())
    names = [line["name"] for line in figures["benchmarks"]]
    assert names[0] == "AlpacaFarm" and "RankGen, by majority" in names
    assert Path("out/card.md").read_text() == ran.stdout
    assert figures["missing"] == []
    ran = CliRunner().invoke(cli, ["evaluate", "--judge", "agreement", "--data", str(tmp_path)])
    assert ran.exit_code and "data fetch" in str(ran.exception)
