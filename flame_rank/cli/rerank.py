"""The command `flame-rank`. Results go to standard output, everything else to standard error."""

import logging
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

import strategies
from flame_rank.cli.humaneval import humaneval
from flame_rank.cli.ledger import ledger as ledger_command
from flame_rank.cli.options import (
    ANSWER,
    ASKED,
    JUDGE,
    LEDGER,
    ON_BAD_LINE,
    READ,
    Prompts,
    Skip,
    bad_lines,
    read_criteria,
    read_pattern,
    say_failed_before,
)
from flame_rank.cli.plan import plan
from flame_rank.cli.replay import replay
from flame_rank.errors import UserError

if TYPE_CHECKING:
    from flame_rank.io.output import Quarantine
    from flame_rank.records import Ranking

RANKED, UNFINISHED, MISTAKE, INTERRUPTED, CUT_OFF = 0, 1, 2, 130, 141


class _Group(click.Group):
    """Commands whose reader may leave early, as `head` does: click would end them with status 1."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise click.exceptions.Exit(CUT_OFF) from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="flame-rank", message="%(prog)s %(version)s")
def cli() -> None:
    """Pick the best of N candidates with a pairwise judge."""
    logging.getLogger("flame_rank").addHandler(_WARNINGS)


class _Lines(logging.Handler):
    """Writes what the library warns of to standard error, above a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        if sys.stderr is not None:
            tqdm.write(self.format(record), file=sys.stderr)


_WARNINGS = _Lines()


cli.add_command(humaneval)
cli.add_command(ledger_command)
cli.add_command(plan)
cli.add_command(replay)


@cli.command()
@click.argument("file", default="-", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("-o", "--output", metavar="FILE", help="Write here instead of to standard output.")
@click.option(
    "--format",
    "shape",
    type=click.Choice(["table", "jsonl"]),
    help="What is written; without it, a table on a terminal and JSONL elsewhere.",
)
@JUDGE
@click.option("--explain", is_flag=True, help="Add the judge's words about the best candidate.")
@click.option(
    "--strategy", type=click.Choice(strategies.NAMES), help="Which pairs to ask; without it, what suits the judge."
)
@ASKED
@ANSWER
@LEDGER
@click.option("--unordered", is_flag=True, help="Write problems as soon as they are done, not in input order.")
@click.option(
    "--top", type=click.IntRange(min=1), metavar="K", help="Give the best K candidates too; of flat input, only them."
)
@READ
@ON_BAD_LINE
@click.option("--seed", type=int, default=0, show_default=True, help="Of the strategy's coins.")
def rerank(
    file: str,
    output: str | None,
    shape: str | None,
    judge: str,
    ask: str | None,
    criteria: str | None,
    max_length: int | None,
    on_long: str | None,
    dtype: str | None,
    max_batch_tokens: int | None,
    template: str | None,
    explain: bool,
    strategy: str | None,
    order: str | None,
    budget: int | None,
    confidence: float | None,
    dedupe: str,
    answer: str | None,
    ledger: str | None,
    retry_invalid: bool,
    unordered: bool,
    top: int | None,
    group_by: str,
    problems: Path | None,
    on_bad_line: str,
    seed: int,
) -> int:
    """Rank the candidates of every problem in FILE, best first.

    FILE is JSONL: a line a problem with "prompt" and "candidates" (a list), or a line a sample with "task_id" and
    "completion". "-" or nothing is standard input. Every problem comes out with its ranking as soon as it is done: as
    JSONL, or on a terminal as a row of a table.

    JUDGE is the judge that ships, a directory or a GGUF file of weights, the directory of a LoRA adapter (PEFT), or a
    function. The options from --criteria to --explain are for a Hugging Face directory or a GGUF file.

    Exit status: 0 all ranked; 1 some problem was undecided or some line left out; 2 a mistake in what was given;
    130 interrupted.
    """
    from tqdm import tqdm

    from flame_rank import judges
    from flame_rank.cli.terminal import Rows
    from flame_rank.io.jsonl import read_problems
    from flame_rank.io.lines import BadLine
    from flame_rank.io.output import Output, to_lines
    from flame_rank.io.paths import parts, refuse_same, with_log
    from flame_rank.ranking.reranker import Reranker

    streams = output is None or output == "-"
    if shape == "table" and not streams:
        raise UserError("--format table is for people, on standard output; -o FILE keeps JSONL")
    table = streams and shape != "jsonl" and (shape == "table" or (sys.stdout is not None and sys.stdout.isatty()))
    if output and output != "-" and not Path(output).absolute().parent.is_dir():
        raise UserError(f"{output}: its folder does not exist; create {Path(output).absolute().parent}")
    bad = bad_lines(on_bad_line, file, output)
    refuse_same(
        {"the input": file, "the file of problems": problems},
        {**parts(output), "the file of bad lines": bad.path if bad else None, **with_log(ledger)},
    )
    reading = read_problems(
        file,
        group_by=group_by,
        prompts=Prompts(problems),
        on_bad_line=bad,
    )
    loaded = judges.load(
        judge,
        ask=ask,
        criteria=read_criteria(criteria),
        max_length=max_length,
        on_long=on_long,
        dtype=dtype,
        max_batch_tokens=max_batch_tokens,
        template=template,
    )
    if confidence is not None and strategy not in (None, "active"):
        raise UserError(f"--confidence is for the strategy active, not {strategy}; leave one of the two out")
    if loaded.pointwise:
        _say_useless(
            {"--strategy": strategy if strategy != "pointwise" else None, "--order": order, "--confidence": confidence}
        )
    reranker = Reranker(
        loaded,
        strategy,
        order=cast(Any, order),
        budget=budget,
        confidence=confidence,
        top=top,
        dedupe=cast(Any, dedupe),
        ledger=ledger,
        retry_invalid=retry_invalid,
        ordered=not unordered,
        seed=seed,
        explain=explain,
        extract=read_pattern(answer),
    )
    summary = _Summary()
    disable = None if sys.stderr else True  # None = where it is no terminal
    rankings: Iterator[Ranking] = tqdm(reranker.rank_many(reading), unit=" problems", disable=disable, file=sys.stderr)
    try:
        with Rows(top or 1) if table else Output(output) as out:
            for ranking in rankings:
                if isinstance(out, Rows):
                    out.write(ranking)
                else:
                    out.write(to_lines(ranking, top))
                summary.add(ranking)
    except BadLine as error:
        kept = f"; the {summary.problems} before it are in {output}.part" if output and output != "-" else ""
        raise UserError(f"{error}{kept}") from error
    summary.remembered = reranker.remembered
    summary.say(bad, group_by)
    say_failed_before(reranker.failed_before)
    if table and shape is None:
        click.echo("-o FILE keeps the rankings as JSONL, with all scores", err=True)
    return UNFINISHED if summary.undecided or (bad and bad.count) else RANKED


def _say_useless(options: dict[str, object]) -> None:
    """Names the options that were given and that a pointwise judge has no use for."""
    for name in (name for name, value in options.items() if value is not None):
        click.echo(
            f"flame-rank: {name} has no effect: this judge gives each candidate a quality, once, and all pairs follow",
            err=True,
        )


class _Summary:
    """What a run came to."""

    def __init__(self) -> None:
        self.problems = self.candidates = self.comparisons = 0
        self.undecided = self.tied = self.unsure = self.invalid = self.truncated = self.remembered = 0
        self.repeated = 0
        self.names: set[int] = set()  # hashes
        self.p_best: list[float] = []

    def add(self, ranking: "Ranking") -> None:
        self.problems += 1
        self.candidates += len(ranking)
        self.comparisons += ranking.comparisons
        name = hash(ranking.problem.name)
        self.repeated += name in self.names
        self.names.add(name)
        self.undecided += not ranking.decided
        self.tied += bool(ranking.tied)
        self.unsure += ranking.unsure
        self.invalid += ranking.invalid
        self.truncated += ranking.truncated
        if ranking.decided and len(ranking) > 1:
            self.p_best.append(float(ranking.p_best[ranking.order[0]]))

    def say(self, bad: "Skip | Quarantine | None", group_by: str) -> None:
        lines = bad.count if bad else 0
        where = f" (in {bad.path})" if bad and bad.path else ""
        wrong = [
            (self.remembered, "of them from the ledger"),
            (self.undecided, "problems undecided"),
            (lines, f"bad lines left out{where}"),
            (self.repeated, f"problems with the {group_by} of an earlier one, each ranked by itself"),
            (self.invalid, "judgements invalid"),
            (self.truncated, "candidates too long and cut"),
            (self.tied, "problems tied at the top"),
            (self.unsure, "problems whose best one is hardly likelier than the others (unsure)"),
        ]
        done = f"{self.problems} problems, {self.candidates} candidates, {self.comparisons} comparisons"
        done += f" ({self.comparisons / self.problems:.1f} a problem)" if self.problems > 1 else ""
        sure = [f"P(best) {sum(self.p_best) / len(self.p_best):.2f} on average"] if self.p_best else []
        click.echo("; ".join([done, *(f"{count} {what}" for count, what in wrong if count), *sure]), err=True)


def main(arguments: list[str] | None = None) -> None:
    """Runs `flame-rank`."""
    run(cli, "flame-rank", arguments)


def run(command: click.Group, name: str, arguments: list[str] | None = None) -> None:
    """Runs a command to its exit status; a mistake of the user's is one line and status 2, never a traceback."""
    try:
        status = command.main(arguments, prog_name=name, standalone_mode=False)
    except UserError as error:
        _end(f"Error: {error}", MISTAKE)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        _end("", MISTAKE)
    except click.ClickException as error:
        _end(f"Error: {error.format_message()}", MISTAKE)
    except (click.Abort, KeyboardInterrupt) as error:
        if isinstance(error.__cause__, EOFError):  # click takes it for the end of what a person types
            _end(f"Error: a file ends too early ({error.__cause__}); is it whole?", MISTAKE)
        _end("Interrupted", INTERRUPTED)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _end(f"Error: {where}{error.strerror or error}", MISTAKE)
    _end("", status if isinstance(status, int) else RANKED)


def _end(message: str, status: int) -> None:
    if message:
        click.echo(message, err=True)
    if sys.stdout is not None:  # None where the caller has closed it
        with suppress(OSError):  # what could not be written would be tried again at exit
            sys.stdout.flush()
        sys.stdout = None
    sys.exit(status)
