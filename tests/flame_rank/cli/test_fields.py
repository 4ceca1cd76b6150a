"""A command's options come from a dataclass's fields: names, limits, defaults, help."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click
import pytest
from click.testing import CliRunner

from flame_rank.cli.fields import options
from flame_rank.fields import described


@dataclass(frozen=True, kw_only=True)
class Numbers:
    steps: int | None = described(None, "Steps of it.", automatic="as many as fit", unit="STEPS", least=1)
    rate: float = described(0.5, "The rate.", above=0, below=1)
    kind: Literal["cut", "skip"] = described("cut", "What is done.", option="--on-long")
    size: float = described(1.0, "Size of it.", unit="SIZE", least=0)
    names: tuple[str, ...] = described((), "A name; repeat it.", option="--name", unit="NAME")
    file: Path | None = described(None, "A file.", unit="FILE")
    by_length: bool = described(False, "Sort by length.")
    hidden: int = 7

    def __post_init__(self) -> None:
        if self.steps == 13:
            raise ValueError("steps is 13")


made: list[tuple[str, Numbers]] = []


@click.command()
@click.argument("word")
@options(Numbers, "numbers", rate=0.25)
def command(word: str, numbers: Numbers) -> None:
    """Do it."""
    made.append((word, numbers))


def run(*arguments: str) -> Any:
    made.clear()
    return CliRunner().invoke(command, ["w", *arguments])


def test_what_is_given_is_in_the_dataclass_and_the_rest_is_default() -> None:
    assert run().exit_code == 0 and made == [("w", Numbers(rate=0.25))]
    given = ["--steps", "3", "--rate", "0.75", "--on-long", "skip", "--name", "a", "--name", "b", "--by-length"]
    assert run(*given, "--file", "x").exit_code == 0
    wanted = Numbers(steps=3, rate=0.75, kind="skip", names=("a", "b"), by_length=True, file=Path("x"))
    assert made == [("w", wanted)]


def test_help_has_units_and_defaults_in_the_fields_order() -> None:
    text = " ".join(run("--help").output.split())
    assert "--steps STEPS Steps of it. [default: (as many as fit); x>=1]" in text
    assert "[default: 0.25; 0<x<1]" in text and "--on-long [cut|skip]" in text and "--hidden" not in text
    assert text.index("--steps") < text.index("--rate") < text.index("--by-length")


@pytest.mark.parametrize(
    "wrong",
    [
        ["--steps", "0"],
        ["--rate", "1"],
        ["--rate", "nan"],
        ["--size", "nan"],
        ["--size", "inf"],
        ["--on-long", "fail"],
        ["--hidden", "1"],
    ],
    ids=str,
)
def test_what_is_outside_the_limits_is_a_usage_error(wrong: list[str]) -> None:
    assert run(*wrong).exit_code == 2 and not made


def test_what_the_dataclass_refuses_is_a_mistake_of_the_users() -> None:
    found = run("--steps", "13")
    assert found.exit_code == 2 and "steps is 13" in found.output


def test_a_dataclass_documents_its_fields() -> None:
    from trainer.finetune import Recipe

    text = " ".join((Recipe.__doc__ or "").split())
    assert "batch: The number of examples in one step. Default: 8." in text and "{options}" not in text
