"""Several criteria: one model, one judgement by each, and what comes of them together."""

import json
from pathlib import Path

import numpy as np
import pytest
import servers
from click.testing import CliRunner

import flame_rank
from flame_rank import Problem, UserError
from flame_rank.cli.group import cli
from flame_rank.judges import load
from flame_rank.judges.language_model import LanguageModelJudge
from flame_rank.judges.panel import PanelJudge

FILE = """
[[criteria]]
name = "correct"
text = "Prefer the response that states no falsehood."
weight = 3

[[criteria]]
name = "short"
text = "Prefer the response with fewer words."
"""
PROBLEM = {"prompt": "What is 2 + 2?", "candidates": ["4", "It is 5.", "Four, I think."]}
PAIRS = np.array([[0, 1], [1, 0], [2, 0]])


@pytest.fixture
def criteria(tmp_path: Path) -> str:
    path = tmp_path / "criteria.toml"
    path.write_text(FILE)
    return str(path)


def test_each_criterion_is_judged_by_itself_with_one_model(tiny_model: Path, criteria: str) -> None:
    panel = load(tiny_model, criteria=criteria, max_length=512)
    assert isinstance(panel, PanelJudge)
    first, second = panel.members
    assert isinstance(first, LanguageModelJudge) and isinstance(second, LanguageModelJudge)
    assert first.kernel is second.kernel and first.name != second.name
    problem = Problem.of(PROBLEM)
    texts = ("Prefer the response that states no falsehood.", "Prefer the response with fewer words.")
    alone = [load(tiny_model, criteria=text, max_length=512) for text in texts]
    assert [judge.name for judge in alone] == [first.name, second.name]  # so that they share a ledger
    own = [judge.judge([(problem, PAIRS)])[0] for judge in alone]
    assert panel.judge([(problem, PAIRS)])[0] == pytest.approx(0.75 * own[0] + 0.25 * own[1], abs=1e-5)


def test_the_record_keeps_each_by_its_name(tiny_model: Path, criteria: str, tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text(json.dumps(PROBLEM) + "\n")
    arguments = ["rerank", str(tmp_path / "p.jsonl"), "--judge", str(tiny_model), "--criteria", criteria]
    ran = CliRunner().invoke(cli, [*arguments, "--format", "jsonl", "--ledger", str(tmp_path / "l.db")])
    record = json.loads(ran.stdout)
    assert ran.exit_code == 0 and [*record["by_judge"]] == ["correct", "short"]


@pytest.mark.loopback
def test_a_server_judges_by_each(criteria: str) -> None:
    pytest.importorskip("openai")
    with servers.running(servers.VLLM) as server:
        judge = servers.load(server, criteria=criteria)
        server.seen.clear()
        ranking = flame_rank.Reranker(judge, "round-robin").rank(PROBLEM)
        asked = [servers.decode(body["query"]) for path, body in server.seen if path == "/generative_scoring"]
        assert ranking.by_judge is not None and [*ranking.by_judge] == ["correct", "short"]
        assert sum("no falsehood" in text for text in asked) == sum("fewer words" in text for text in asked) == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("criteria =", "Invalid value"),
        ('[[criteria]]\nname = "a"\ntext = "b"\n', "length >= 2"),
        (FILE.replace("weight = 3", "weight = 0"), "weight|> 0"),
        (FILE.replace("weight", "wieght"), "wieght"),
        (FILE.replace('"short"', '"correct"'), "two criteria have the same name"),
        (FILE.replace('"short"', '" "'), "name"),
    ],
)
def test_a_file_that_is_none(tiny_model: Path, tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=words) as raised:
        load(tiny_model, criteria=str(path))
    assert str(raised.value).startswith(f"--criteria {path}: ") and "\n" not in str(raised.value)


def test_other_judges_take_none(criteria: str) -> None:
    with pytest.raises(UserError, match="takes no criteria"):
        load("agreement", criteria=criteria)
    with pytest.raises(UserError, match=r"--criteria nowhere\.toml: No such file"):
        load("agreement", criteria="nowhere.toml")
