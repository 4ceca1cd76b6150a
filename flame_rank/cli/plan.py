"""`flame-rank plan`: what a run will take with each strategy, before anything is spent."""

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

import strategies
from flame_rank.cli.options import ASKED, JUDGE, READ, Prompts, bad_lines, read_criteria
from flame_rank.errors import UserError

if TYPE_CHECKING:
    from flame_rank.plan.plans import Plan, Plans
    from flame_rank.plan.rounds import Counted


@click.command()
@click.argument("file", default="-", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@JUDGE
@click.option(
    "--strategy",
    "names",
    multiple=True,
    type=click.Choice(strategies.NAMES),
    help="Plan for this one; may be given several times. Without it, for all.",
)
@ASKED
@click.option("--top", type=click.IntRange(min=1), metavar="K", help="How many of the best are wanted.")
@READ
@click.option(
    "--on-bad-line",
    type=click.Choice(["fail", "skip"]),
    default="fail",
    show_default=True,
    help="Stop or leave it out.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each strategy.")
def plan(
    file: str,
    judge: str,
    names: tuple[str, ...],
    order: str | None,
    budget: int | None,
    confidence: float | None,
    top: int | None,
    dedupe: Any,
    group_by: str,
    problems: Path | None,
    on_bad_line: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Say what ranking FILE takes with each strategy: comparisons, tokens, programs, seconds.

    FILE and JUDGE are those of rerank. Comparisons are exact, or "at most" where a strategy may end early. Tokens (of a
    directory of weights only) are those that are encoded, with all that comparisons share, and programs are what is
    compiled; "about" where the pairs that will be asked depend on the answers, which is estimated on up to 2,048 of the
    problems. Seconds are estimated from a few comparisons that are judged now: up to 256 of a directory of weights, 9
    of a function.
    """
    from tqdm import tqdm

    from flame_rank import judges
    from flame_rank.io.jsonl import read_problems
    from flame_rank.plan.plans import plan as make
    from strategies.base import TooMany

    chosen = _strategies(names, confidence, {"order": order, "budget": budget, "top": top})
    reading = read_problems(
        file,
        group_by=group_by,
        prompts=Prompts(problems),
        on_bad_line=bad_lines(on_bad_line, file),
    )
    options["criteria"] = read_criteria(options["criteria"])
    loaded = judges.load(judge, **options)
    if loaded.pointwise and not names:  # all strategies ask it the same
        chosen = chosen[:1]
    disable = None if sys.stderr else True  # None = where it is no terminal
    with tqdm(reading, unit=" problems", disable=disable, file=sys.stderr) as shown:
        try:
            found = make(shown, loaded, chosen, dedupe=dedupe)
        except TooMany as error:
            where = "stdin" if file == "-" else file
            raise UserError(f"{where}: {error}, or plan for other strategies (--strategy)") from error
    if loaded.pointwise and not names:
        found = replace(found, plans=tuple(replace(one, strategy="any") for one in found.plans))
    _say(found)
    click.echo("\n".join(json.dumps(one) for one in _records(found)) if as_json else _table(found))


def _strategies(names: tuple[str, ...], confidence: float | None, options: dict[str, Any]) -> "list[Counted]":
    """The strategies of these names, or all."""
    given = {name: value for name, value in options.items() if value is not None}
    if confidence is not None and names and "active" not in names:
        raise UserError(f"--confidence is for the strategy active, not {names[0]}; leave one of the two out")
    chosen: Any = []
    try:
        for name in dict.fromkeys(names or strategies.NAMES):
            own = {"confidence": confidence} if name == "active" and confidence is not None else {}
            chosen.append(strategies.by_name(name, **given, **own))
    except ValueError as error:
        raise UserError(str(error)) from error
    return cast("list[Counted]", chosen)


def _say(found: "Plans") -> None:
    """What the numbers hold for, on standard error."""
    probe = found.probe
    said = [
        f"{found.problems:,} problems, {found.candidates:,} candidates, {found.distinct:,} without repetitions",
        f"{probe.comparisons:,} comparisons probed",
    ]
    if found.pointwise:
        said.append("the judge is pointwise: n - 1 comparisons of n candidates, whatever the strategy")
    if sampled := max(one.sampled or 0 for one in found.plans):
        said.append(f"what depends on answers is estimated from {sampled:,} of the problems")
    if found.long:
        then = {"cut": "and are cut", "skip": "and are left out", "fail": "and end a run"}[found.on_long or "cut"]
        said.append(f"{found.long:,} of all comparisons are longer than {found.max_length:,} tokens {then}")
    click.echo("; ".join(said), err=True)
    if probe.problem:
        click.echo(f"flame-rank: warning: no seconds: {probe.problem}", err=True)


def _records(found: "Plans") -> list[dict[str, Any]]:
    """One object for each strategy."""
    whole = asdict(found)
    probe, plans = whole.pop("probe"), whole.pop("plans")
    return [one | whole | {"probed": probe["comparisons"]} for one in plans]


def _table(found: "Plans") -> str:
    """A row for each strategy; tokens and programs only where they are known."""
    rows = [("strategy", "comparisons", "tokens", "programs", "seconds"), *map(_row, found.plans)]
    columns = [column for column in zip(*rows, strict=True) if any(column[1:])]
    widths = [max(map(len, column)) for column in columns]
    lines = []
    for row in zip(*columns, strict=True):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _row(one: "Plan") -> tuple[str, str, str, str, str]:
    about = "about " if one.estimated else ""
    return (
        one.strategy,
        f"{'at most ' if one.least < one.most else ''}{one.most:,}",
        "" if one.tokens is None else f"{about}{one.tokens:,}",
        "" if one.programs is None else f"{about}{one.programs:,}",
        "" if one.seconds is None else f"about {one.seconds:,.0f}" if one.seconds >= 10 else f"about {one.seconds:.2g}",
    )
