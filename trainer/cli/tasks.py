"""`flame-train tasks`: lists the tasks of the collection."""

import json
from pathlib import Path

import click

from trainer.cli.options import DATA, MAX_BAD, report, say


@click.command()
@DATA
@MAX_BAD
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON list with an object for each task, instead of a table."
)
def tasks(data: Path | None, max_bad: float, as_json: bool) -> None:
    """List every task: its capability, kind, licence and source, and the number of its examples under --data.

    The column "found" has the number of examples under --data, and the column "full" has the number in the full
    release. Without --data no file is read, and "found" is left empty.
    """
    from flame_rank.cli.tables import print_table
    from trainer.collection.catalogue import list_tasks
    from trainer.collection.counting import count_examples
    from trainer.collection.tasks import TASKS

    counts = count_examples(TASKS, data, max_bad=max_bad, say=say) if data else None
    rows = list_tasks(TASKS, counts)
    if as_json:
        click.echo(json.dumps([row._asdict() for row in rows], indent=1))
        return
    heads = ("name", "split", "capability", "kind", "licence", "source", "found", "full")
    print_table(heads, [[getattr(row, head) for head in heads] for row in rows], texts=6)
    splits = [row.split for row in rows]
    report(f"{splits.count('train')} train, {splits.count('eval')} eval, {splits.count('extra')} extra")
