"""`flame-train evaluate`: how often a judge agrees with people."""

import json
from pathlib import Path
from typing import Any

import click

from flame_rank.cli.options import JUDGE, read_criteria
from trainer.cli.options import NEEDED_DATA


@click.command()
@JUDGE
@NEEDED_DATA
@click.option("--json", "record", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures there, too.")
def evaluate(judge: str, criteria: str | None, data: Path, record: Path | None, **options: Any) -> None:
    """Measure a judge on pairs that people judged: HHH, Expert LFQA, RankGen, contrastive search, CoPoem and LLMBar.

    Both orders of a pair are asked. Printed are the share of pairs on which the judge prefers what people preferred, in
    %, its 95 % bootstrap interval, and what preferring the longer answer comes to; 50 is chance.
    """
    from tqdm import tqdm

    from flame_rank import judges
    from flame_rank.errors import UserError
    from trainer.measuring.human_pairs import BENCHMARKS, FLAME_RM, here, measure, pairs

    names = here(data)
    if not names:
        raise UserError(f"no benchmark of {', '.join(BENCHMARKS)} is under {data}")
    loaded = judges.load(judge, criteria=read_criteria(criteria), **options)
    problems = {name: pairs(BENCHMARKS[name], data) for name in names}
    figures = {}
    with tqdm(total=sum(map(len, problems.values())), unit="pair", mininterval=1) as bar:
        for name, found in problems.items():
            figures[name] = measure(loaded, found, bar.update)
    click.echo(f"{'':<20}{'n':>5}{judge[-20:]:>22}{'longer':>8}{'FLAMe-RM':>10}")
    for name, one in figures.items():
        mean, low, high = one.row()
        paper = f"{FLAME_RM[name]:.1f}" if name in FLAME_RM else "-"
        cells = f"{mean:8.1f} [{low:4.1f}, {high:4.1f}]{100 * one.longer.mean():>8.1f}{paper:>10}"
        click.echo(f"{name:<20}{len(one.right):>5}{cells}" + (f"  {one.invalid} invalid" if one.invalid else ""))
    if record:
        written = {
            name: {"n": len(one.right), "right": one.row(), "longer": 100 * one.longer.mean()}
            for name, one in figures.items()
        }
        record.write_text(json.dumps(written, indent=1) + "\n")
