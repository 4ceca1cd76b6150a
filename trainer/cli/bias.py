"""`flame-train bias`: measures six biases of a judge."""

from pathlib import Path

import click

from flame_rank.cli.options import JUDGE, load_judge
from flame_rank.judges.options import JudgeOptions
from trainer.cli.options import FILE, NEEDED_DATA


@click.command()
@JUDGE
@NEEDED_DATA
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="Ask about N of the 5,250 pairs of responses, drawn at random.  [default: all pairs]",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the random choices.")
@click.option("--json", "record", type=FILE, metavar="FILE", help="Also write the figures to this file, as JSON.")
def bias(
    judge: str, judge_options: JudgeOptions, data: Path, limit: int | None, seed: int, record: Path | None
) -> None:
    """Measure six biases of a judge on CoBBLEr's pairs of responses (the paper's Table 3): order, compassion, length,
    egocentric, bandwagon and attention. Lower is better.

    The table has the judge's shares with 95 % intervals over instructions, the rows of the paper, and the results in
    CoBBLEr's own file for its judges. A judge that cannot write has no figure in the column "egocentric".
    """
    import random

    import msgspec
    from tqdm import tqdm

    from flame_rank.errors import UserError
    from flame_rank.io.writing import write_whole
    from trainer.measuring.bias import TESTS, average, measure
    from trainer.measuring.cobbler import read_comparisons, read_published
    from trainer.measuring.rendering import biases

    comparisons = read_comparisons(data)
    if limit is not None and limit < len(comparisons):
        comparisons = random.Random(seed).sample(comparisons, limit)
    loaded = load_judge(judge, judge_options)
    with tqdm(total=TESTS * len(comparisons), unit=" pairs", disable=None) as bar:
        columns = measure(loaded, comparisons, seed=seed, done=bar.update)
    if not any(column.valid for column in columns.values()):  # which would read as a judge without biases
        raise UserError(f"{loaded.name}: no valid answer; `flame-rank rerank --judge {judge}` shows why")
    click.echo(biases(loaded.name, len(comparisons), columns, average(columns), read_published(data)), nl=False)
    if record is not None:
        figures = {name: {"score": column.score, "valid": column.valid} for name, column in columns.items()}
        write_whole(record, msgspec.json.format(msgspec.json.encode(figures)) + b"\n")
