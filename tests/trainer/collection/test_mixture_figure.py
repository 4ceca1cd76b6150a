"""Shares of a mixture, and their charts."""

from pathlib import Path

import pytest

from flame_rank.errors import UserError
from trainer.collection.mixture import flame
from trainer.collection.mixture_figure import draw, shares
from trainer.collection.tasks import by_name

TASKS = [by_name("mnli"), by_name("hh-harmless"), by_name("pandalm")]  # classification, and two pairwise ones
COUNTS = {"mnli": 300_000, "hh-harmless": 65_536, "pandalm": 34_464}


def test_examples_and_weights_have_shares_of_their_own() -> None:
    by_examples, by_weights = shares(TASKS, COUNTS), shares(TASKS, flame(COUNTS))
    assert by_examples["kind"] == pytest.approx({"classification": 0.75, "pairwise": 0.25})
    assert list(by_examples["kind"]) == ["classification", "pairwise"]  # largest first
    assert by_weights["kind"] == pytest.approx({"pairwise": 100_000 / 165_536, "classification": 65_536 / 165_536})
    assert list(by_weights["kind"]) == ["pairwise", "classification"]
    assert by_examples["capability"].keys() == {"attribution", "safety", "general text quality"}


def test_the_figure_has_the_shares_of_the_examples_and_beside_them_those_of_the_weights(tmp_path: Path) -> None:
    draw({"examples": shares(TASKS, COUNTS), "weights": shares(TASKS, flame(COUNTS))}, tmp_path / "m.svg")
    figure = (tmp_path / "m.svg").read_text()  # has every text as a comment beside its outline
    for what in ("examples", "weights"):
        assert f"<!-- {what} by kind -->" in figure and f"<!-- {what} by capability -->" in figure
    assert "<!-- 75.0% -->" in figure and "<!-- 60.4% -->" in figure


def test_an_unknown_ending_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"m\.unheard: "):
        draw({"examples": shares(TASKS, COUNTS)}, tmp_path / "m.unheard")
