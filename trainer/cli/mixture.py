"""`flame-train mixture`: prints how often each task is drawn."""

from dataclasses import replace
from pathlib import Path

import click

from trainer.cli.options import FILE, MIXTURE, report, say
from trainer.collection.mixture_options import MixtureOptions


@click.command()
@MIXTURE
@click.option(
    "--plot",
    type=FILE,
    metavar="FILE",
    help="Draw the shares by kind and capability into FILE, SVG or PNG by its ending.",
)
def mixture(data: Path, name: str, choice: MixtureOptions, max_bad: float, plot: Path | None) -> None:
    """Print the share of every task in a mixture of the tasks that are under --data.

    The share is how often the task is drawn, by its weight. --plot draws the shares of the examples by kind and by
    capability, as the paper's Figures 2 and 3 do, and below them the shares of the weights; it needs matplotlib.

    The command also names the evaluation tasks whose overlap with training examples cannot be checked, because neither
    their data is under --data nor their hashes are part of this package.
    """
    from flame_rank.cli.tables import print_table
    from trainer.collection.decontamination import unchecked, unchecked_line
    from trainer.collection.mixture import weigh_available
    from trainer.collection.mixture_figure import draw, shares
    from trainer.collection.tasks import TASKS

    weighed = weigh_available(replace(choice, mixture=name), data, max_bad=max_bad, say=say)
    counts, weights = weighed.counts, weighed.weights
    total = sum(weights.values())
    rows = [
        (task, counts[task], f"{weight:.0f}", f"{weight / total:.2%}")
        for task, weight in sorted(weights.items(), key=lambda item: -item[1])
    ]
    print_table(("task", "examples", "weight", "share"), rows, texts=1)
    parts = {"examples": shares(weighed.tasks, counts), "weights": shares(weighed.tasks, weights)}
    for what, by in parts.items():
        for grouping, sizes in by.items():
            click.echo(f"{what} by {grouping}: " + ", ".join(f"{part} {size:.1%}" for part, size in sizes.items()))
    report(f"{len(weights)} tasks; {len(weighed.tasks) - len(weights)} of the mixture's are not under {data}")
    if missing := unchecked(TASKS, data):
        report(unchecked_line(missing, sum(task.split == "eval" for task in TASKS), data))
    if plot:
        draw(parts, plot)
