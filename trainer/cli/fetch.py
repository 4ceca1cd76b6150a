"""`flame-train data fetch`: downloads the official releases of data sets."""

from pathlib import Path

import click


@click.group()
def data() -> None:
    """Download the data sets."""


@data.command()
@click.argument("names", nargs=-1, required=True, metavar="TASK...")
@click.option(
    "--data",
    "folder",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="The folder for the data sets; each gets a folder of its own in it.",
)
@click.option("--dry-run", is_flag=True, help="Print the addresses and the files instead of downloading.")
def fetch(names: tuple[str, ...], folder: Path, dry_run: bool) -> None:
    """Download the data sets of each TASK as their authors release them. Files that exist are left as they are.

    An interrupted download continues where it stopped. For a data set that needs an account, the token of `hf auth
    login` or of HF_TOKEN is sent.
    """
    from flame_rank.errors import UserError
    from trainer.collection.fetch import downloads
    from trainer.collection.fetch import fetch as get
    from trainer.collection.tasks import by_name

    sets = {task.data.folder: task.data for task in map(by_name, names)}
    for name, data_set in sets.items():
        click.echo(f"{name}: {data_set.licence} ({data_set.origin})", err=True)
        if dry_run:
            if not data_set.downloads:
                click.echo(f"{name}: to be downloaded by hand from {data_set.origin} into {folder / name}")
            for address, file in data_set.downloads.items():
                click.echo(f"{address} -> {folder / name / file}")
            continue
        try:
            for download in downloads(data_set, folder / name):
                get(download)
                click.echo(str(download.to))
        except ImportError as error:
            raise UserError(f"{error}; pip install 'flame-rank[data]'") from error
