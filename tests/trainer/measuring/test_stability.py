"""The spread of a run's evaluations, against numbers worked out by hand."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from flame_rank.errors import UserError
from trainer.cli.group import cli
from trainer.measuring.stability import ALL, read_courses

EVALUATIONS = [
    {"rewardbench-math-prm": 0.5, "rankgen": 0.6, "copoem": 0.4},
    {"rewardbench-math-prm": 0.7, "rankgen": 0.6, "copoem": 0.6},
    {"rewardbench-math-prm": 0.6, "rankgen": 0.8, "copoem": 0.6},
]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    lines: list[dict[str, object]] = [{"step": 5, "loss": 1.0}]
    lines += [{"step": 10 * k, "eval": found, "mean": 0.5} for k, found in enumerate(EVALUATIONS, 1)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def test_by_category(run: Path) -> None:
    courses = read_courses(run)
    assert set(courses) == {"RewardBench Math", "general text quality", ALL}
    math = courses["RewardBench Math"]
    assert math.steps == (10, 20, 30) and math.accuracy == pytest.approx((50, 70, 60))
    assert math.mean == pytest.approx(60) and math.deviation == pytest.approx(10)
    assert courses["general text quality"].accuracy == pytest.approx((50, 60, 70))
    assert courses[ALL].accuracy == pytest.approx((50, 190 / 3, 200 / 3))
    assert read_courses(run, 2)["RewardBench Math"].steps == (20, 30)


def test_the_command_prints_and_draws(run: Path) -> None:
    asked = ["stability", str(run), "--last", "2", "--plot", str(run / "s.svg")]
    ran = CliRunner().invoke(cli, asked, catch_exceptions=False)
    assert ran.exit_code == 0 and (run / "s.svg").read_text().startswith("<?xml")
    (line,) = (line for line in ran.stdout.splitlines() if line.startswith("RewardBench Math"))
    assert line.split()[2:] == ["2", "65.0", "7.07", "60.0", "to", "70.0"]


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not the folder of a run"):
        read_courses(tmp_path)
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 1.0}\n')
    with pytest.raises(UserError, match="no evaluation in it"):
        read_courses(tmp_path)
