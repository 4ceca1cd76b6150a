"""Options that several commands of `flame-train` share."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from flame_rank.cli.compiled_programs import keep_programs
from flame_rank.cli.fields import options
from flame_rank.cli.options import together
from flame_rank.errors import UserError
from trainer.collection.mixture_options import MixtureOptions

FOLDER: Any = click.Path(exists=True, file_okay=False, path_type=Path)
NEW_FOLDER: Any = click.Path(file_okay=False, path_type=Path)
FILE: Any = click.Path(dir_okay=False, path_type=Path)

_DATA: dict[str, Any] = {
    "type": FOLDER,
    "metavar": "DIR",
    "help": "The folder of the data sets: one folder for each, with the files as their authors release them.",
}
DATA = click.option("--data", **_DATA)
NEEDED_DATA = click.option("--data", required=True, **_DATA)
MAX_BAD = click.option(
    "--max-bad",
    type=click.FloatRange(0, 1),
    default=0.001,
    show_default=True,
    metavar="SHARE",
    help="Stop if more than this share of a task's records is not in the form in which the data set was released.",
)
MIXTURE = together(  # for commands that weigh a mixture of the paper's
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


def say(line: str) -> None:
    """Prints a line of information to standard error, after the program's name."""
    click.echo(f"flame-train: {line}", err=True)


def report(line: str) -> None:
    """Prints a line of progress to standard error."""
    click.echo(line, err=True)


@contextmanager
def training_extra() -> Iterator[None]:
    """Keeps the programs that jax compiles, and turns a failed import in the block into an error that names the extra
    to install.

    Raises:
      UserError: a package is missing.
    """
    keep_programs()
    try:
        yield
    except ImportError as error:
        raise UserError(f"{error}; install the training extra: pip install 'flame-rank[train]'") from error
