"""`flame-rank plan`: estimates what a run would cost with each strategy."""

import json
import sys
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Literal, cast

import click

import strategies
from flame_rank.cli.fields import options
from flame_rank.cli.options import INPUT_FILE, JUDGE, InputOptions, bad_lines, load_judge
from flame_rank.cli.tables import print_table
from flame_rank.errors import UserError
from flame_rank.fields import given
from flame_rank.judges.options import JudgeOptions
from flame_rank.ranking.options import RankingOptions

if TYPE_CHECKING:
    from flame_rank.plan.plans import Plan, Plans
    from strategies.base import Counted

_RANKING = ("order", "budget", "confidence", "dedupe", "top")  # of the ranking's options, those that this command has


@click.command()
@click.argument("file", default="-", type=INPUT_FILE)
@JUDGE
@click.option(
    "--strategy",
    "names",
    multiple=True,
    type=click.Choice(strategies.NAMES),
    help="Plan for this strategy; repeat the option for more.  [default: all strategies]",
)
@options(
    RankingOptions,
    "ranking_options",
    without=tuple(name for name in RankingOptions.__dataclass_fields__ if name not in _RANKING),
)
@options(InputOptions, "input_options", without=("on_bad_line",))
@click.option(
    "--on-bad-line",
    type=click.Choice(["fail", "skip"]),
    default="fail",
    show_default=True,
    help="Stop at a line that cannot be read (fail), or leave it out (skip).",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each strategy.")
def plan(
    file: str,
    judge: str,
    judge_options: JudgeOptions,
    names: tuple[str, ...],
    ranking_options: RankingOptions,
    input_options: InputOptions,
    on_bad_line: Literal["fail", "skip"],
    as_json: bool,
) -> None:
    """Estimate what it takes to rank FILE with each strategy: comparisons, tokens, programs, seconds.

    FILE and JUDGE are the same as for rerank. The number of comparisons is exact, or "at most" if a strategy may end
    early. Tokens are counted once if several comparisons share them. Programs are the shapes for which the model is
    compiled. For a directory of weights, tokens and programs are counted; if the pairs depend on the judge's answers,
    they are estimated from up to 2,048 of the problems and marked "about". Seconds are estimated from a few comparisons
    that are judged now: up to 256 with a directory of weights, 9 with a function or a server. For a server, tokens are
    estimated from these comparisons, too, and so is their cost if the server has a price
    (openai:MODEL@URL#price=IN/OUT).
    """
    from tqdm import tqdm

    from flame_rank.plan.plans import plan as make_plans
    from strategies.base import TooMany

    chosen = _strategies(names, ranking_options)
    problems = input_options.read(file, bad_lines(on_bad_line, file))
    loaded = load_judge(judge, judge_options)
    if loaded.pointwise and not names:  # it is asked the same by all strategies
        chosen = chosen[:1]
    hidden = None if sys.stderr else True  # None: hidden unless standard error is a terminal
    with tqdm(problems, unit=" problems", disable=hidden, file=sys.stderr) as shown:
        try:
            plans = make_plans(shown, loaded, chosen, dedupe=ranking_options.dedupe)
        except TooMany as error:
            place = "stdin" if file == "-" else file
            raise UserError(f"{place}: {error}, or plan for other strategies (--strategy)") from error
    if loaded.pointwise and not names:
        plans = replace(plans, plans=tuple(replace(plan, strategy="any") for plan in plans.plans))
    _say_basis(plans)
    if as_json:
        click.echo("\n".join(map(json.dumps, _records(plans))))
    else:
        _print(plans)


def _strategies(names: tuple[str, ...], ranking: RankingOptions) -> "list[Counted]":
    """Makes the strategies with these names; all strategies if there are no names."""
    own = given(ranking)
    own.pop("dedupe", None)
    confidence = own.pop("confidence", None)
    if confidence is not None and names and "active" not in names:
        raise UserError(f"--confidence is for the strategy active, not {names[0]}; leave one of the two out")
    chosen: Any = []
    try:
        for name in dict.fromkeys(names or strategies.NAMES):
            stop = {"confidence": confidence} if name == "active" and confidence is not None else {}
            chosen.append(strategies.by_name(name, **own, **stop))
    except ValueError as error:
        raise UserError(str(error)) from error
    return cast("list[Counted]", chosen)


def _say_basis(plans: "Plans") -> None:
    """Prints on standard error what the estimates are based on."""
    probe = plans.probe
    facts = [
        f"{plans.problems:,} problems, {plans.candidates:,} candidates, {plans.distinct:,} without repetitions",
        f"{probe.comparisons:,} comparisons probed",
    ]
    if plans.pointwise:
        facts.append("the judge is pointwise: n - 1 comparisons of n candidates, whatever the strategy")
    if sampled := max(plan.sampled or 0 for plan in plans.plans):
        facts.append(f"what depends on answers is estimated from {sampled:,} of the problems")
    if plans.long:
        then = {"cut": "and are cut", "skip": "and are left out", "fail": "and end a run"}[plans.on_long or "cut"]
        facts.append(f"{plans.long:,} of all comparisons are longer than {plans.max_length:,} tokens {then}")
    click.echo("; ".join(facts), err=True)
    if probe.problem:
        click.echo(f"flame-rank: warning: no seconds: {probe.problem}", err=True)


def _records(plans: "Plans") -> list[dict[str, Any]]:
    """Makes one object for each strategy."""
    shared = asdict(plans)
    probe, own = shared.pop("probe"), shared.pop("plans")
    return [plan | shared | {"probed": probe["comparisons"]} for plan in own]


def _print(plans: "Plans") -> None:
    """Prints a row for each strategy, with tokens and programs only if they are known."""
    rows = [_row(plan) for plan in plans.plans]
    known = [k for k, column in enumerate(zip(*rows, strict=True)) if any(column)]
    heads = ("strategy", "comparisons", "tokens", "programs", "seconds", "cost")
    print_table([heads[k] for k in known], [[row[k] for k in known] for row in rows], texts=1)


def _row(plan: "Plan") -> tuple[str, ...]:
    about = "about " if plan.estimated else ""
    seconds = plan.seconds
    return (
        plan.strategy,
        f"{'at most ' if plan.least < plan.most else ''}{plan.most:,}",
        "" if plan.tokens is None else f"{about}{plan.tokens:,}",
        "" if plan.programs is None else f"{about}{plan.programs:,}",
        "" if seconds is None else f"about {seconds:,.0f}" if seconds >= 10 else f"about {seconds:.2g}",
        "" if plan.cost is None else f"about {plan.cost:,.2f}" if plan.cost >= 1 else f"about {plan.cost:.2g}",
    )
