"""What gives the better response away: lengths and words, counted by hand and on the real pairs."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from trainer.cli.group import cli
from trainer.collection.examples import Example, examples
from trainer.collection.tasks import by_name
from trainer.measuring.benchmarks import SECTIONS, TABLE_5
from trainer.measuring.health import health


def pair(better: str, worse: str, swap: bool) -> Example:
    values = ("p", worse, better) if swap else ("p", better, worse)
    label = "B" if swap else "A"
    return Example(task="t", pieces=(), values=values, target=f" {label}", label=label)


def test_counted_by_hand() -> None:
    given = [
        pair("I'm sorry, no.", "Sure: do it like this.", False),
        pair("Sorry. I'm not doing this.", "Sure!", True),
        pair("same", "size", False),
        pair("aaaa", "b", True),
    ]
    result = health([*given, Example(task="t", pieces=(), values=("p", "x", "yy"), target=" tie", label="tie")])
    assert (result.n, result.longer, result.shorter) == (4, 2, 1)
    assert result.by_length == pytest.approx(100 * 2.5 / 4)
    telling = dict(result.telling)
    assert telling["sorry"] == 50 and telling["i'm"] == 50 and telling["sure"] == -50 and telling["like"] == -25


def test_code_is_as_the_paper_counts(shared_data: Path) -> None:
    result = health(example for name in SECTIONS["Coding"] for example in examples(by_name(name), shared_data))
    assert (result.longer, result.n) == (351, 984) and round(100 * 351 / 984, 1) == TABLE_5["Coding"]
    ran = CliRunner().invoke(cli, ["health", "--data", str(shared_data)], catch_exceptions=False)
    assert "351 of 984 pairs, 35.7 %, paper 35.7 %" in ran.stdout and "Math: none of its tasks" in ran.stderr


def test_nothing_to_measure(tmp_path: Path) -> None:
    ran = CliRunner().invoke(cli, ["health", "--data", str(tmp_path)])
    assert ran.exit_code and "data fetch" in str(ran.exception)
