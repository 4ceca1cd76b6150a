"""`flame-train data fetch`: the official releases, on a machine with a network."""

from pathlib import Path

import click


@click.group()
def data() -> None:
    """Get the data sets."""


@data.command()
@click.argument("names", nargs=-1, required=True, metavar="TASK...")
@click.option(
    "--data",
    "folder",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where the data sets go, a folder each.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be fetched.")
def fetch(names: tuple[str, ...], folder: Path, dry_run: bool) -> None:
    """Fetch the data sets of tasks as their authors release them; what is there already stays.

    An interrupted download goes on where it was. A data set that asks for an account takes the token of `hf auth
    login` or HF_TOKEN.
    """
    from flame_rank.errors import UserError
    from trainer.collection.fetch import downloads
    from trainer.collection.fetch import fetch as get
    from trainer.collection.tasks import by_name

    sets = {task.data.folder: task.data for task in map(by_name, names)}
    for name, found in sets.items():
        click.echo(f"{name}: {found.licence} ({found.origin})", err=True)
        if dry_run:
            if not found.downloads:
                click.echo(f"{name}: by hand from {found.origin} into {folder / name}")
            for address, file in found.downloads.items():
                click.echo(f"{address} -> {folder / name / file}")
            continue
        try:
            for download in downloads(found, folder / name):
                get(download)
                click.echo(str(download.to))
        except ImportError as error:
            raise UserError(f"{error}; pip install 'flame-rank[data]'") from error
