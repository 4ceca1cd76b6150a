"""`flame-train evaluate`: how often a judge agrees with people."""

import json
from pathlib import Path

import click

from flame_rank.cli.options import JUDGE, load_judge
from flame_rank.judges.options import JudgeOptions
from trainer.cli.options import FILE, NEEDED_DATA


@click.command()
@JUDGE
@NEEDED_DATA
@click.option("--json", "record", type=FILE, metavar="FILE", help="Also write the figures to FILE, as JSON.")
def evaluate(judge: str, judge_options: JudgeOptions, data: Path, record: Path | None) -> None:
    """Measure a judge on pairs that people judged: HHH, Expert LFQA, RankGen, contrastive search, CoPoem and LLMBar.

    The judge is asked about both orders of every pair. The table has, in %, the share of pairs on which the judge
    prefers what people preferred, with its 95 % bootstrap interval, then the same share for a judge that prefers the
    longer answer, and FLAMe-RM's from the paper's Table 1. Chance is 50. Benchmarks that are not under --data are left
    out.
    """
    from tqdm import tqdm

    from flame_rank.cli.tables import print_table
    from flame_rank.io.writing import write_whole
    from trainer.measuring.human_pairs import FLAME_RM, measure, read_benchmarks

    benchmarks = read_benchmarks(data)
    loaded = load_judge(judge, judge_options)
    with tqdm(total=sum(map(len, benchmarks.values())), unit="pair", mininterval=1) as bar:
        agreements = {name: measure(loaded, problems, bar.update) for name, problems in benchmarks.items()}
    rows = []
    for name, agreement in agreements.items():
        right, low, high = agreement.right_percent()
        paper = f"{FLAME_RM[name]:.1f}" if name in FLAME_RM else "-"
        share = f"{right:.1f} [{low:4.1f}, {high:4.1f}]"
        rows.append((name, len(agreement.right), share, f"{agreement.longer_percent():.1f}", paper, agreement.invalid))
    print_table(("benchmark", "n", judge[-20:], "longer", "FLAMe-RM", "invalid"), rows, texts=1)
    if record:
        figures = {name: agreement.record() for name, agreement in agreements.items()}
        write_whole(record, json.dumps(figures, indent=1) + "\n")
