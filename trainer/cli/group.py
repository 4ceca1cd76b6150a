"""The command `flame-train`."""

import click

from flame_rank.cli.exit import run
from trainer.cli.bias import bias
from trainer.cli.default import default
from trainer.cli.evaluate import evaluate
from trainer.cli.export import export
from trainer.cli.fetch import data as data_command
from trainer.cli.health import health
from trainer.cli.mixture import mixture
from trainer.cli.run import run as run_command
from trainer.cli.show import show
from trainer.cli.stability import stability
from trainer.cli.tail_patch import tail_patch
from trainer.cli.tasks import tasks


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="flame-rank", message="%(prog)s %(version)s")
def cli() -> None:
    """Train a judge, learn the default judge, and measure how often a judge agrees with people."""


for command in (
    data_command,
    tasks,
    show,
    mixture,
    export,
    run_command,
    tail_patch,
    evaluate,
    bias,
    health,
    stability,
    default,
):
    cli.add_command(command)


def main(arguments: list[str] | None = None) -> None:
    """Runs `flame-train`."""
    run(cli, "flame-train", arguments)
