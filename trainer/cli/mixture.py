"""`flame-train mixture` and `flame-train export`: how often each task is drawn, and the collection as files."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flame_rank.cli.options import together
from trainer.cli.collection import MAX_BAD, NEEDED_DATA, count

if TYPE_CHECKING:
    from trainer.collection.mixture import Ratings
    from trainer.collection.tasks.base import Task

_MIXTURE = together(  # what is mixed, and how
    NEEDED_DATA,
    click.option(
        "--mixture",
        "kind",
        type=click.Choice(["flame", "flame-rm"]),
        default="flame",
        show_default=True,
        help="The paper's two (section 3.4).",
    ),
    click.option(
        "--ratings",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="For flame-rm: what tail patches measured, CSV with task, category, rating and score.",
    ),
    click.option(
        "--licence",
        type=click.Choice(["any", "permissive"]),
        default="any",
        show_default=True,
        help="Of the data sets.",
    ),
    click.option("--extra", is_flag=True, help="The tasks that the paper does not have, too."),
    click.option("--cap", type=click.IntRange(min=1), help="Examples of a task that count; without it, 65536."),
    click.option(
        "--temperature",
        type=click.FloatRange(min=0, min_open=True),
        default=1.0,
        show_default=True,
        help="Of flame's weights; higher, and small tasks come more often.",
    ),
    MAX_BAD,
)


@click.command()
@_MIXTURE
@click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Shares by kind and capability."
)
def mixture(
    data: Path,
    kind: str,
    ratings: Path | None,
    licence: str,
    extra: bool,
    cap: int | None,
    temperature: float,
    max_bad: float,
    plot: Path | None,
) -> None:
    """Print the share of every task in a mixture of what is found under --data.

    --plot draws the paper's Figures 2 and 3, as SVG or PNG by the name's ending; it takes matplotlib.
    """
    from trainer.collection.mixture import trained_on
    from trainer.collection.tasks import TASKS

    tasks = trained_on(TASKS, permissive=licence == "permissive", extra=extra)
    rated = read_stated_ratings(kind, ratings, cap, temperature)
    found = count(tasks, data, max_bad)
    weights = weigh(found, rated, cap, temperature)
    total = sum(weights.values())
    width = max(map(len, weights), default=4)
    click.echo(f"{'task':{width}}  {'examples':>9}  {'weight':>9}  {'share':>7}")
    for name, weight in sorted(weights.items(), key=lambda item: -item[1]):
        click.echo(f"{name:{width}}  {found[name]:9d}  {weight:9.0f}  {weight / total:7.2%}")
    for what, shares in _shares(tasks, weights).items():
        click.echo(f"by {what}: " + ", ".join(f"{name} {share:.1%}" for name, share in shares.items()))
    missing = len(tasks) - len(weights)
    click.echo(f"{len(weights)} tasks; {missing} of the mixture's are not under {data}", err=True)
    if plot:
        _draw(_shares(tasks, weights), plot)


@click.command()
@_MIXTURE
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Where it goes; a new folder."
)
@click.option("--format", "form", type=click.Choice(["jsonl", "parquet"]), default="jsonl", show_default=True)
@click.option("--shard", default=50_000, show_default=True, type=click.IntRange(min=1), help="Examples of one file.")
def export(
    data: Path,
    kind: str,
    ratings: Path | None,
    licence: str,
    extra: bool,
    cap: int | None,
    temperature: float,
    max_bad: float,
    out: Path,
    form: str,
    shard: int,
) -> None:
    """Write a mixture as files: task, input, target, weight and licence of every example, and a data card.

    What shares thirteen words in a row with an evaluation task that is under --data, or with HumanEval, is left out
    and counted.
    """
    from flame_rank.io.writing import claimed
    from trainer.collection.export import write
    from trainer.collection.mixture import trained_on
    from trainer.collection.tasks import TASKS

    tasks = trained_on(TASKS, permissive=licence == "permissive", extra=extra)
    rated = read_stated_ratings(kind, ratings, cap, temperature)
    found = count(tasks, data, max_bad)
    weights = weigh(found, rated, cap, temperature)
    here = [task for task in tasks if task.name in weights]
    with claimed(out):
        write(here, weights, data, out, form=form, shard=shard, max_bad=max_bad, say=lambda s: click.echo(s, err=True))


def read_stated_ratings(
    kind: str, ratings: Path | None, cap: int | None = None, temperature: float = 1.0
) -> "Ratings | None":
    """The ratings that a mixture of this name needs, None where it needs none: read before anything that takes long.

    Raises:
      UserError: flame-rm has none, or they are not as said, or another mixture has some; or flame-rm has what is for
        the others.
    """
    from flame_rank.errors import UserError
    from trainer.collection.mixture import read_ratings

    if kind != "flame-rm":
        if ratings is not None:
            raise UserError("--ratings is for --mixture flame-rm")
        return None
    if ratings is None:
        raise UserError(
            "--ratings FILE: flame-rm weighs tasks by what tail patches measured; the paper publishes no ratings, and "
            "`flame-train tail-patch` makes them"
        )
    if cap is not None or temperature != 1.0:
        raise UserError("--cap and --temperature are for --mixture flame: flame-rm weighs tasks by their ratings alone")
    return read_ratings(ratings)


def weigh(
    found: Mapping[str, int], rated: "Ratings | None", cap: int | None = None, temperature: float = 1.0
) -> dict[str, float]:
    """The weights of flame-rm where there are ratings, otherwise of flame.

    Raises:
      UserError: nothing is found, or a task has no rating.
    """
    from flame_rank.errors import UserError
    from trainer.collection.mixture import CAP, flame, flame_rm

    if not any(found.values()):
        raise UserError("no task of the mixture is under --data; `flame-train data fetch` gets the data sets")
    return flame(found, cap=cap or CAP, temperature=temperature) if rated is None else flame_rm(found, rated)


def _shares(tasks: "Sequence[Task]", weights: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """The shares of each kind and of each capability, largest first."""
    shares: dict[str, dict[str, float]] = {"kind": defaultdict(float), "capability": defaultdict(float)}
    total = sum(weights.values())
    for task in tasks:
        if task.name in weights:
            shares["kind"][task.kind] += weights[task.name] / total
            shares["capability"][task.capability] += weights[task.name] / total
    return {what: dict(sorted(found.items(), key=lambda item: -item[1])) for what, found in shares.items()}


def _draw(shares: Mapping[str, Mapping[str, float]], file: Path) -> None:
    """The paper's Figures 2 and 3."""
    from flame_rank.errors import UserError

    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("--plot takes matplotlib; pip install 'flame-rank[plot]'") from error
    figure = Figure(figsize=(5 * len(shares), 4))
    for place, (what, found) in enumerate(shares.items(), 1):
        panel = figure.add_subplot(1, len(shares), place)
        panel.pie(list(found.values()), labels=list(found), autopct="%.1f%%", textprops={"fontsize": 8})
        panel.set_title(f"by {what}")
    figure.tight_layout()
    try:
        figure.savefig(file)
    except ValueError as error:
        raise UserError(f"{file}: {error}") from error
