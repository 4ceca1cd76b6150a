"""The command `flame-train`."""

from pathlib import Path

import click

from flame_rank.cli.exit import run
from flame_rank.errors import UserError
from trainer.cli.collection import NEEDED_DATA, show, tasks
from trainer.cli.evaluate import evaluate
from trainer.cli.fetch import data as data_command
from trainer.cli.mixture import export, mixture
from trainer.cli.run import run as run_command
from trainer.cli.tail_patch import tail_patch


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="flame-rank", message="%(prog)s %(version)s")
def cli() -> None:
    """Build and measure the judge."""


for command in (data_command, tasks, show, mixture, export, run_command, tail_patch, evaluate):
    cli.add_command(command)


@cli.command()
@NEEDED_DATA
@click.option(
    "--model",
    metavar="FILE.gguf|DIR|hf:ORG/NAME",
    help="The language model that reads; without it, the one that the default judge has.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where the judge goes.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of which problems are read.")
@click.option(
    "--without-reverse",
    is_flag=True,
    help="Do not try how likely the prompt is behind each candidate: it takes longer than all other reading.",
)
def default(data: Path, model: str | None, out: Path, seed: int, without_reverse: bool) -> None:
    """Learn the judge that ships, for a language model: how much agreement, likelihood and form count.

    Prints what each kind of evidence adds on sources that the weights were not learned on. A run that was interrupted
    goes on where it was when it is started again.
    """
    try:
        from trainer.default_judge.learning import build
    except ImportError as error:
        raise UserError(f"{error}; install the training extra: pip install 'flame-rank[train]'") from error
    from flame_rank.io.writing import claimed
    from flame_rank.judges import checkpoint

    stated, path = checkpoint.named(model)
    without = ("reverse",) if without_reverse else ()
    with claimed(out):
        build(data, stated, path, out, seed=seed, without=without, say=lambda line: click.echo(line, err=True))


def main(arguments: list[str] | None = None) -> None:
    """Runs `flame-train`."""
    run(cli, "flame-train", arguments)
