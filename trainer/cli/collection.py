"""`flame-train tasks` and `flame-train show`: what is in the collection."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from trainer.collection.tasks.base import Task

_DATA: dict[str, Any] = {
    "type": click.Path(exists=True, file_okay=False, path_type=Path),
    "metavar": "DIR",
    "help": "The data sets, a folder each, as released.",
}
DATA = click.option("--data", **_DATA)
NEEDED_DATA = click.option("--data", required=True, **_DATA)
MAX_BAD = click.option(
    "--max-bad",
    type=click.FloatRange(0, 1),
    default=0.001,
    show_default=True,
    metavar="SHARE",
    help="Stop where more of a task's records are not as released.",
)


@click.command()
@DATA
@MAX_BAD
@click.option("--json", "as_json", is_flag=True, help="One list of objects.")
def tasks(data: Path | None, max_bad: float, as_json: bool) -> None:
    """List every task: its capability, kind, licence and source, and how many examples are found.

    Without --data nothing is read, and none are found.
    """
    from trainer.collection.tasks import TASKS

    found = count(TASKS, data, max_bad) if data else None
    rows = [_row(task, None if found is None else found.get(task.name, 0)) for task in TASKS]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    heads = ("name", "split", "capability", "kind", "licence", "source", "found", "full")
    cells = [heads, *(tuple(_cell(row[head]) for head in heads) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(heads))]
    for row in cells:
        texts = [cell.ljust(width) for cell, width in zip(row[:-2], widths[:-2], strict=True)]
        numbers = [cell.rjust(width) for cell, width in zip(row[-2:], widths[-2:], strict=True)]
        click.echo("  ".join([*texts, *numbers]).rstrip())
    splits = [row["split"] for row in rows]
    extra = splits.count("extra")
    click.echo(f"{splits.count('train')} train, {splits.count('eval')} eval, {extra} extra", err=True)


@click.command()
@click.argument("name", metavar="TASK")
@click.option("--n", default=3, show_default=True, type=click.IntRange(min=1), help="How many examples.")
@DATA
@MAX_BAD
@click.option(
    "--tokenizer",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Count tokens with this checkpoint's tokenizer, not with that of the default judge's model.",
)
def show(name: str, n: int, data: Path | None, max_bad: float, tokenizer: Path | None) -> None:
    """Print examples of TASK as the model sees them, their tokens, and how the labels are distributed."""
    from flame_rank.errors import UserError
    from flame_rank.prompts.format import VERDICTS
    from trainer.collection.examples import Counts, examples
    from trainer.collection.tasks import by_name

    task = by_name(name)
    if data is None:
        raise UserError(f"--data: say where the data set of {name} is ({task.data.origin})")
    length, counts = _length(tokenizer), Counts()
    longer = shorter = 0
    for k, example in enumerate(examples(task, data, counts, max_bad=max_bad)):
        if k < n:
            click.echo(f"{example.input}{example.target}\n")
            sizes = f"{length(example.input)} + {length(example.target)} tokens"
            click.echo(f"--- {task.name} {k + 1}: {sizes}\n")
        if task.kind == "pairwise" and example.label in VERDICTS:
            first, second = map(len, example.values[-2:])
            longer += (first > second) == (example.label == "A") and first != second
            shorter += (first < second) == (example.label == "A") and first != second
    shares = [f"{label} {times} ({times / counts.examples:.1%})" for label, times in sorted(counts.labels.items())]
    left = [(counts.unanswered, "records without an answer"), (counts.ties, "ties"), (counts.empty, "hollow examples")]
    out = "; ".join([f"{counts.examples} examples of {counts.records} records", *(f"{k} {w}" for k, w in left if k)])
    click.echo(f"{out}; {counts.bad} bad{f' ({counts.first_bad})' if counts.bad else ''}")
    if shares:
        click.echo(f"labels: {', '.join(shares)}")
    if longer + shorter:  # what a judge that looks at nothing else reaches
        click.echo(f"the longer response is the better one: {longer / (longer + shorter):.1%} of {longer + shorter}")


def count(tasks: "tuple[Task, ...] | list[Task]", data: Path, max_bad: float) -> dict[str, int]:
    """The number of examples of each task whose data set is there."""
    from tqdm import tqdm

    from trainer.collection.examples import Counts, examples, is_available

    found = {}
    here = [task for task in tasks if is_available(task, data)]
    for task in tqdm(here, unit=" tasks", disable=None, leave=False):
        counts = Counts()
        for _ in examples(task, data, counts, max_bad=max_bad):
            pass
        found[task.name] = counts.examples
        if counts.bad:
            click.echo(f"flame-train: {task.name}: {counts.bad} bad records; the first: {counts.first_bad}", err=True)
    return found


def _row(task: "Task", found: int | None) -> dict[str, Any]:
    return {
        "name": task.name,
        "split": task.split,
        "capability": task.capability,
        "kind": task.kind,
        "licence": task.data.licence,
        "permissive": task.data.permissive,
        "source": task.data.origin,
        "found": found,
        "full": task.full,
    }


def _cell(value: object) -> str:
    return "-" if value is None else str(value)


def _length(folder: Path | None) -> Callable[[str], int]:
    """The number of tokens of a text, by a checkpoint's tokenizer: without one, that of the default judge's language
    model if it is on this machine; else the number of words."""
    from flame_rank.errors import UserError
    from flame_rank.model.text import load

    named = folder is not None
    if folder is None:
        from flame_rank.judges import found_model

        model = found_model.shipped()
        folder, _ = found_model.find(model, download=False)
        if folder is None:
            missing = f"{model.name} is not on this machine"
            click.echo(f"flame-train: {missing}, so words are counted as tokens; name another by --tokenizer", err=True)
            return lambda text: len(text.split())
    try:
        tokenizer = load(folder)
    except (OSError, ValueError) as error:
        raise UserError(f"{'--tokenizer ' if named else ''}{folder}: {error}") from error
    return lambda text: tokenizer.count([text])[0]
