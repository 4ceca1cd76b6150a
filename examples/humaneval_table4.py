"""Reproduces the CodeGen-16B column of the paper's Table 4 (section 5.2): best of ten on HumanEval.

    python examples/humaneval_table4.py SAMPLES.jsonl [--slices K] [--judge JUDGE]

SAMPLES.jsonl is the file that the paper used, of CodeT:
HumanEval_codegen16B_temp0.8_topp0.95_num100_max300_code_solution.jsonl.

It also prints plain consensus (trainer/default_judge/consensus.py), and the paired difference from it.
"""

from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from flame_rank.cli.options import JUDGE, load_judge
from flame_rank.errors import UserError
from flame_rank.humaneval import problems, samples, table
from flame_rank.judges.options import JudgeOptions
from flame_rank.ranking.reranker import Reranker
from flame_rank.records import Problem
from strategies.base import FloatArray
from trainer.default_judge.consensus import consensus

PAPER = {"None": 21.2, "FLAMe": 31.7, "FLAMe-RM": 32.9, "Oracle": 46.9}  # pass@1 in %


def by_consensus(pools: Sequence[samples.Pool], measured: table.Measurement) -> FloatArray:
    """Computes [K, P], the share of right samples among those that plain consensus ranks first."""
    slices, count, size = measured.passed.shape
    shares = np.zeros((slices, count))
    for p, pool in enumerate(pools):
        texts = Problem(prompt=pool.prompt, candidates=pool.samples).texts
        for k in range(slices):
            score = consensus(texts[k * size : (k + 1) * size])
            shares[k, p] = measured.passed[k, p][score == score.max()].mean()
    return shares


@click.command()
@click.argument("samples_file", metavar="SAMPLES", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--slices", type=click.IntRange(min=1), default=1, show_default=True, help="Tens of samples to measure.")
@JUDGE
@click.option("--seed", default=0, show_default=True)
def main(samples_file: Path, slices: int, judge: str, judge_options: JudgeOptions, seed: int) -> None:
    loaded = load_judge(judge, judge_options)
    reranker = Reranker(judge=loaded, strategy="round-robin", seed=seed)
    pools = samples.read(samples_file, problems.load())
    measured = table.measure(pools, reranker.rank_many, slices=slices, generator="CodeGen-16B")
    click.echo(table.render(measured, seed=seed))

    plain, rows = by_consensus(pools, measured), measured.rows[:, 1]
    for label, some in {"first 10": slice(1), f"mean of {slices}": slice(slices)}.items():
        low, high = np.quantile(table.bootstrap((rows[some] - plain[some]).mean(0), seed), [0.025, 0.975])
        gain = f"{100 * (rows[some] - plain[some]).mean():+.2f} [{100 * low:+.1f}, {100 * high:+.1f}]"
        click.echo(f"consensus, {label}: {100 * plain[some].mean():.2f}; judge - consensus: {gain}")

    none, ours, oracle = 100 * measured.rows[0].mean(axis=1)  # the paper ranks ten samples: the first slice
    click.echo(f"\nfirst 10        {'paper':>6} {'here':>6}")
    for name, here in {"None": none, "FLAMe": None, "FLAMe-RM": None, judge: ours, "Oracle": oracle}.items():
        cells = [f"{PAPER[name]:6.1f}" if name in PAPER else " " * 6, f"{here:6.2f}" if here is not None else ""]
        click.echo(f"{name:<15} {' '.join(cells)}".rstrip())


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        click.echo(f"Error: {error}", err=True)
        raise SystemExit(2) from error
