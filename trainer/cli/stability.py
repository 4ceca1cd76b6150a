"""`flame-train stability`: measures how much a run's accuracies vary."""

from pathlib import Path

import click

from trainer.cli.options import FILE, FOLDER


@click.command()
@click.argument("run", type=FOLDER)
@click.option(
    "--last", type=click.IntRange(min=1), metavar="K", help="Use the last K evaluations.  [default: all of them]"
)
@click.option(
    "--plot", type=FILE, metavar="FILE", help="Also draw the evaluations into this file, SVG or PNG by its ending."
)
def stability(run: Path, last: int | None, plot: Path | None) -> None:
    """Print mean and spread of the accuracies that a training run measured (the paper's Figure 4).

    RUN is the --out folder of `flame-train run --eval`.
    """
    from flame_rank.cli.tables import print_table
    from trainer.measuring.stability import draw, read_courses, rows

    courses = read_courses(run, last)
    print_table(("category", "evaluations", "mean", "deviation", "range"), rows(courses), texts=1)
    if plot:
        draw(courses, plot)
