"""`flame-train mixture` and `flame-train export`: how often each task is drawn, and the collection as files."""

from dataclasses import replace
from pathlib import Path

import click

from flame_rank.cli.fields import options
from flame_rank.cli.options import together
from trainer.cli.options import FILE, MAX_BAD, NEEDED_DATA, report, say
from trainer.collection.mixture_options import MixtureOptions

_MIXTURE = together(
    NEEDED_DATA,
    click.option(
        "--mixture",
        "name",
        type=click.Choice(["flame", "flame-rm"]),
        default="flame",
        show_default=True,
        help="The mixture of tasks: one of the paper's two (section 3.4).",
    ),
    options(MixtureOptions, "choice", without=("mixture",)),
    MAX_BAD,
)


@click.command()
@_MIXTURE
@click.option("--plot", type=FILE, metavar="FILE", help="Draw the shares by kind and capability into FILE, SVG or PNG.")
def mixture(data: Path, name: str, choice: MixtureOptions, max_bad: float, plot: Path | None) -> None:
    """Print the share of every task in a mixture of the tasks that are under --data.

    --plot draws the paper's Figures 2 and 3, as SVG or PNG by the file's ending; it needs matplotlib.
    """
    from trainer.collection.counting import count_examples
    from trainer.collection.mixture import read_needed_ratings, trained_on, weigh
    from trainer.collection.mixture_figure import draw, shares
    from trainer.collection.tasks import TASKS

    choice = replace(choice, mixture=name)
    tasks = trained_on(TASKS, permissive=choice.licence == "permissive", extra=choice.extra)
    ratings = read_needed_ratings(choice)
    counts = count_examples(tasks, data, max_bad=max_bad, say=say)
    weights = weigh(counts, ratings, choice.cap, choice.temperature)
    total = sum(weights.values())
    width = max(map(len, weights), default=4)
    click.echo(f"{'task':{width}}  {'examples':>9}  {'weight':>9}  {'share':>7}")
    for task, weight in sorted(weights.items(), key=lambda item: -item[1]):
        click.echo(f"{task:{width}}  {counts[task]:9d}  {weight:9.0f}  {weight / total:7.2%}")
    for what, parts in shares(tasks, weights).items():
        click.echo(f"by {what}: " + ", ".join(f"{part} {share:.1%}" for part, share in parts.items()))
    missing = len(tasks) - len(weights)
    report(f"{len(weights)} tasks; {missing} of the mixture's are not under {data}")
    if plot:
        draw(shares(tasks, weights), plot)


@click.command()
@_MIXTURE
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The folder to write; it must not exist yet.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "parquet"]),
    default="jsonl",
    show_default=True,
    help="The format of the files.",
)
@click.option(
    "--shard",
    default=50_000,
    show_default=True,
    type=click.IntRange(min=1),
    metavar="EXAMPLES",
    help="The largest number of examples in one file.",
)
def export(data: Path, name: str, choice: MixtureOptions, max_bad: float, out: Path, form: str, shard: int) -> None:
    """Write a mixture as files: task, input, target, weight and licence of every example, and a data card.

    An example that shares thirteen words in a row with an evaluation task that is under --data, or with HumanEval, is
    left out and counted.
    """
    from flame_rank.io.writing import claimed
    from trainer.collection.counting import count_examples
    from trainer.collection.export import write
    from trainer.collection.mixture import read_needed_ratings, trained_on, weigh
    from trainer.collection.tasks import TASKS

    choice = replace(choice, mixture=name)
    tasks = trained_on(TASKS, permissive=choice.licence == "permissive", extra=choice.extra)
    ratings = read_needed_ratings(choice)
    counts = count_examples(tasks, data, max_bad=max_bad, say=say)
    weights = weigh(counts, ratings, choice.cap, choice.temperature)
    here = [task for task in tasks if task.name in weights]
    with claimed(out):
        write(here, weights, data, out, form=form, shard=shard, max_bad=max_bad, say=report)
