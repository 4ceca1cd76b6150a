"""`flame-train tail-patch`: mistakes in what is given."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from trainer.cli.group import cli


def invoke(*arguments: object, code: int) -> Any:
    done = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert done.exit_code == code, (done.output, done.exception)
    return done


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--category", "poetry=target"], "'poetry' is not one of flame-rm's categories (chat, chat-hard"),
        (["--category", "chat"], "'chat' is not NAME=TASK"),
        (["--category", "chat=target,"], "is not NAME=TASK"),
        (["--category", "chat=coin", "--category", "chat=target"], "chat is given twice"),
        (["--shard", "3/2"], "'3/2' is not K/N"),
        (["--shard", "0/2"], "'0/2' is not K/N"),
        (["--threshold", "poetry=50"], "'poetry' is not a category of flame-rm; these are chat, chat-hard"),
        (["--threshold", "chat=high"], "'chat=high' is not CATEGORY=PERCENT"),
        (["--threshold", "chat=101"], "a percentage is between 0 and 100"),
        ([], "--base DIR and --data DIR are missing"),
    ],
)
def test_wrong_options_are_told(more: list[str], message: str, tmp_path: Path) -> None:
    assert message in invoke("tail-patch", "--out", tmp_path, *more, code=2).output


def test_a_folder_without_curves_is_told(tmp_path: Path) -> None:
    assert "no curves in it" in str(invoke("tail-patch", "--report", "--out", tmp_path, code=1).exception)
