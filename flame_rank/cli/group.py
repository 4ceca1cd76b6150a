"""The command `flame-rank`, with an entry for each of its commands."""

import click

from flame_rank.cli.audit import audit
from flame_rank.cli.exit import Group, run
from flame_rank.cli.humaneval import humaneval
from flame_rank.cli.ledger import ledger
from flame_rank.cli.merge import merge
from flame_rank.cli.plan import plan
from flame_rank.cli.replay import replay
from flame_rank.cli.rerank import rerank


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="flame-rank", message="%(prog)s %(version)s")
def cli() -> None:
    """Pick the best of N candidates with a pairwise judge."""


for command in (rerank, audit, merge, plan, replay, ledger, humaneval):
    cli.add_command(command)


def main(arguments: list[str] | None = None) -> None:
    """Runs `flame-rank`."""
    run(cli, "flame-rank", arguments)
