"""`flame-rank rerank`: the problems of a file, ranked."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

import strategies
from flame_rank.cli.exit import DONE, UNFINISHED
from flame_rank.cli.options import (
    ANSWER,
    ASKED,
    JUDGE,
    LEDGER,
    ON_BAD_LINE,
    READ,
    Prompts,
    bad_lines,
    read_criteria,
    read_pattern,
    say_failed_before,
)
from flame_rank.cli.summary import Summary
from flame_rank.errors import UserError

if TYPE_CHECKING:
    from flame_rank.records import Ranking


@click.command()
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
    summary = Summary()
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
    return UNFINISHED if summary.undecided or (bad and bad.count) else DONE


def _say_useless(options: dict[str, object]) -> None:
    """Names the options that were given and that a pointwise judge has no use for."""
    for name in (name for name, value in options.items() if value is not None):
        click.echo(
            f"flame-rank: {name} has no effect: this judge gives each candidate a quality, once, and all pairs follow",
            err=True,
        )
