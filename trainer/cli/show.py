"""`flame-train show`: prints examples of a task as the model reads them."""

from pathlib import Path

import click

from trainer.cli.options import DATA, FOLDER, MAX_BAD, say


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
    from trainer.collection.examples import Counts, examples
    from trainer.collection.inspection import LengthBias, describe, token_counter
    from trainer.collection.tasks import by_name

    task = by_name(name)
    if data is None:
        raise UserError(f"--data: give the folder of the data set of {name} ({task.data.origin})")
    length, counts, bias = token_counter(tokenizer, say), Counts(), LengthBias()
    for number, example in enumerate(examples(task, data, counts, max_bad=max_bad), 1):
        if number <= n:
            click.echo(f"{example.input}{example.target}\n")
            sizes = f"{length(example.input)} + {length(example.target)} tokens"
            click.echo(f"--- {task.name} {number}: {sizes}\n")
        if task.kind == "pairwise":
            bias.add(example)
    for line in describe(counts, bias):
        click.echo(line)
