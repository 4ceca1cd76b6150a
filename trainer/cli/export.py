"""`flame-train export`: writes a mixture as files."""

from dataclasses import replace
from pathlib import Path

import click

from trainer.cli.options import MIXTURE, report, say
from trainer.collection.mixture_options import MixtureOptions


@click.command()
@MIXTURE
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
    from trainer.collection.export import write
    from trainer.collection.mixture import weigh_available

    weighed = weigh_available(replace(choice, mixture=name), data, max_bad=max_bad, say=say)
    tasks = [task for task in weighed.tasks if task.name in weighed.weights]
    with claimed(out):
        write(tasks, weighed.weights, data, out, form=form, shard=shard, max_bad=max_bad, say=report)
