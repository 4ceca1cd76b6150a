"""`flame-train health`: measures how well length and words predict a benchmark's better responses."""

from pathlib import Path

import click

from trainer.cli.options import NEEDED_DATA


@click.command()
@NEEDED_DATA
@click.option(
    "--task",
    "names",
    multiple=True,
    metavar="TASK",
    help="Measure this pairwise task instead of RewardBench; repeat the option for more.",
)
def health(data: Path, names: tuple[str, ...]) -> None:
    """Print how well length and single words predict the better response in RewardBench's sections (the paper's
    Table 5 and appendix B).

    Lengths are in characters, and a response is longer only if it is strictly longer. A telling word occurs in only one
    response of a pair. The number after it is the % of all pairs in which the response with the word is the better one,
    minus the % in which it is the worse one.
    """
    from flame_rank.errors import UserError
    from trainer.collection.examples import examples, is_available
    from trainer.collection.tasks import by_name
    from trainer.measuring.benchmarks import SECTIONS, TABLE_5
    from trainer.measuring.health import health as measured

    sections = {name: (name,) for name in names} or SECTIONS
    printed = False
    for section, tasks in sections.items():
        here = [by_name(task) for task in tasks if is_available(by_name(task), data)]
        if any(task.kind != "pairwise" for task in here):
            raise UserError(f"--task {section}: not a pairwise task")
        if not here:
            click.echo(f"{section}: none of its tasks is under {data}", err=True)
            continue
        printed = True
        result = measured(example for task in here for example in examples(task, data))
        paper = f", paper {TABLE_5[section]:.1f} %" if section in TABLE_5 else ""
        share = f"{result.longer} of {result.n} pairs, {100 * result.longer / result.n:.1f} %{paper}"
        click.echo(
            f"{section} ({len(here)} of {len(tasks)} tasks): the longer response is the better one in {share}; "
            f"by length alone {result.by_length:.1f} % are right"
        )
        click.echo("  telling words: " + ", ".join(f"{word} {share:+.0f}" for word, share in result.telling))
    if not printed:
        raise UserError(f"no pairs under {data}; `flame-train data fetch` gets the data sets")
