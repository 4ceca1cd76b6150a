"""All candidates in one prompt: the plain computation, orders, what is too long, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import flame_rank
from flame_rank import Problem, UserError
from flame_rank.cli.group import cli
from flame_rank.judges.base import notes
from flame_rank.judges.choice import ChoiceJudge
from flame_rank.judges.choice_prompts import ROUNDS

TEXTS = ["4", "It is 5.", "Four, I think.", "4"]
PAIRS = np.array([[0, 1], [2, 1], [0, 3]])


@pytest.fixture(scope="module")
def judge(tiny_model: Path) -> ChoiceJudge:
    loaded = flame_rank.load_judge(tiny_model, ask="choice", max_length=1024)
    assert isinstance(loaded, ChoiceJudge)
    return loaded


def test_a_quality_is_the_mean_log_probability_of_the_letters(judge: ChoiceJudge) -> None:
    problem = Problem(prompt="What is 2 + 2?", candidates=TEXTS)
    (log_odds,) = judge.judge([(problem, PAIRS)])
    distinct = sorted({*TEXTS})
    shared, labels = judge.form.labels(judge.instructions, "ABC")
    qualities = np.zeros(3)
    shown = judge.shown(problem)
    for path, order in zip(shown.paths, shown.orders, strict=True):
        ids = tuple(token for piece in path for token in piece)
        text = judge.form.text(ids)
        places = [text.index(f"response_{letter}: {distinct[k]}") for letter, k in zip("abc", order, strict=True)]
        assert places == sorted(places) and text.count("response_") == 3
        qualities[order] += judge.kernel.log_probs([(ids,)], [label[0] for label in labels])[0] / ROUNDS
    of = [qualities[distinct.index(text)] for text in TEXTS]
    assert len(shown.paths) == ROUNDS and not shared
    assert log_odds == pytest.approx([of[0] - of[1], of[2] - of[1], 0.0], abs=1e-4)
    assert 0 < judge.verdict_mass(problem, PAIRS)[0] < 1


def test_the_order_and_the_batch_do_not_matter(judge: ChoiceJudge) -> None:
    problem = Problem(prompt="p", candidates=TEXTS)
    turned = Problem(prompt="p", candidates=TEXTS[::-1])
    other = Problem(prompt="q", candidates=["x", "y"])
    first, _, second = judge.judge([(problem, PAIRS), (other, PAIRS[:1]), (turned, 3 - PAIRS)])
    assert first == pytest.approx(second, abs=1e-4)


def test_through_the_command(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps({"prompt": "p", "candidates": TEXTS}) + "\n")
    arguments = ["rerank", str(path), "--judge", str(tiny_model), "--ask", "choice", "--format", "jsonl"]
    ran = CliRunner().invoke(cli, [*arguments, "--ledger", str(tmp_path / "l.db")])
    record = json.loads(ran.stdout)
    assert ran.exit_code == 0 and record["judge"].startswith(f"choice of {ROUNDS}:") and record["comparisons"] == 2
    many = {"prompt": "p", "candidates": [str(k) for k in range(27)]}
    path.write_text(json.dumps(many) + "\n")
    ran = CliRunner().invoke(cli, arguments)
    assert isinstance(ran.exception, UserError) and "27 different candidates" in str(ran.exception)


@pytest.mark.parametrize("on_long", ["cut", "skip", "fail"])
def test_what_is_too_long(tiny_model: Path, on_long: Any) -> None:
    judge = flame_rank.load_judge(tiny_model, ask="choice", max_length=700, on_long=on_long)
    assert isinstance(judge, ChoiceJudge)
    problem = Problem(prompt="p", candidates=["x " * 900, "y", "z"])
    if on_long == "fail":
        with pytest.raises(UserError, match="raise max_length"):
            judge.judge([(problem, PAIRS[:2])])
        return
    (log_odds,) = judge.judge([(problem, PAIRS[:2])])
    noted = notes(judge, problem)
    if on_long == "skip":
        assert np.isnan(log_odds).all() and "more than the" in noted.failures[0]
    else:
        assert np.isfinite(log_odds).all() and noted.truncated == 1
        assert max(sum(map(len, path)) for path in judge.shown(problem).paths) <= 700
        assert judge.shown(Problem(prompt="p " * 900, candidates=["x", "y", "z"])).cut == 3


def test_what_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("".join(f'[[criteria]]\nname = "{name}"\ntext = "x"\n' for name in "ab"))
    with pytest.raises(UserError, match="--ask choice takes one text"):
        flame_rank.load_judge(tiny_model, ask="choice", criteria=str(path))
