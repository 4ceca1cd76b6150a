"""`flame-train tasks` and `flame-train show`: what is in the collection."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainer.cli.options import DATA, FOLDER, MAX_BAD, say

if TYPE_CHECKING:
    from trainer.collection.tasks.base import Task


@click.command()
@DATA
@MAX_BAD
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON list with an object for each task, instead of a table."
)
def tasks(data: Path | None, max_bad: float, as_json: bool) -> None:
    """List every task: its capability, kind, licence and source, and the number of its examples under --data.

    Without --data no file is read, and the numbers of examples are left empty.
    """
    from trainer.collection.counting import count_examples
    from trainer.collection.tasks import TASKS

    counts = count_examples(TASKS, data, max_bad=max_bad, say=say) if data else None
    rows = [_row(task, None if counts is None else counts.get(task.name, 0)) for task in TASKS]
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
@click.option("--n", default=3, show_default=True, type=click.IntRange(min=1), help="The number of examples to print.")
@DATA
@MAX_BAD
@click.option(
    "--tokenizer",
    type=FOLDER,
    metavar="DIR",
    help="Count tokens with the tokenizer of this checkpoint, instead of that of the default judge's language model.",
)
def show(name: str, n: int, data: Path | None, max_bad: float, tokenizer: Path | None) -> None:
    """Print examples of TASK as the model reads them, their lengths in tokens, and how often each label occurs."""
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


def _row(task: "Task", count: int | None) -> dict[str, Any]:
    return {
        "name": task.name,
        "split": task.split,
        "capability": task.capability,
        "kind": task.kind,
        "licence": task.data.licence,
        "permissive": task.data.permissive,
        "source": task.data.origin,
        "found": count,
        "full": task.full,
    }


def _cell(value: object) -> str:
    return "-" if value is None else str(value)


def _length(folder: Path | None) -> Callable[[str], int]:
    """Returns a function that counts the tokens of a text.

    It uses the tokenizer of the checkpoint in `folder`; without a folder, that of the default judge's language model if
    it is on this machine, and otherwise it counts words.
    """
    from flame_rank.errors import UserError
    from flame_rank.model.text import load

    named = folder is not None
    if folder is None:
        from flame_rank.judges import found_model

        model = found_model.shipped()
        folder, _ = found_model.find(model, download=False)
        if folder is None:
            missing = f"{model.name} is not on this machine"
            say(f"{missing}, so words are counted as tokens; name another by --tokenizer")
            return lambda text: len(text.split())
    try:
        tokenizer = load(folder)
    except (OSError, ValueError) as error:
        raise UserError(f"{'--tokenizer ' if named else ''}{folder}: {error}") from error
    return lambda text: tokenizer.count([text])[0]
