"""Counts how often a judge picks an answer that a person finds obviously right.

    python examples/plain_problems.py PROBLEMS.jsonl [--judge JUDGE] [--show]

A line is {"kind", "prompt", "candidates", "right": [indices of the right candidates]}. Printed are the right picks of
each kind, what chance and the longest candidate come to, the mean P(best) of the picks, and whether the picks are the
same when the candidates come in reverse order.
"""

import json
from collections import defaultdict
from pathlib import Path

import click
import numpy as np

from flame_rank import Problem, Reranker, judges
from flame_rank.options import JUDGE, read_criteria


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@JUDGE
@click.option("--show", is_flag=True, help="Print the wrong picks.")
def main(file: Path, judge: str, criteria: str | None, show: bool, **options: object) -> None:
    records = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    reranker = Reranker(judges.load(judge, criteria=read_criteria(criteria), **options))
    given = [Problem(prompt=one["prompt"], candidates=one["candidates"]) for one in records]
    turned = [Problem(prompt=one["prompt"], candidates=one["candidates"][::-1]) for one in records]
    rankings = list(reranker.rank_many(given))
    same = sum(a[0] == b[0] for a, b in zip(rankings, reranker.rank_many(turned), strict=True))
    right: dict[str, list[bool]] = defaultdict(list)
    for one, ranking in zip(records, rankings, strict=True):
        right[one["kind"]].append(ranking.order[0] in one["right"])
        if show and not right[one["kind"]][-1]:
            picks = (one["candidates"][ranking.order[0]], one["candidates"][one["right"][0]])
            click.echo(
                f"{one['kind']}: {one['prompt'][-200:]!r}\n  picked {picks[0][:200]!r}\n  right  {picks[1][:200]!r}"
            )
    for kind, picks in sorted(right.items()):
        click.echo(f"{kind:<28}{sum(picks):>4} of {len(picks)}")
    n = len(records)
    chance = sum(len(one["right"]) / len(one["candidates"]) for one in records)
    longest = sum(int(np.argmax([len(text) for text in one["candidates"]])) in one["right"] for one in records)
    p_best = sum(float(ranking.p_best[ranking.order[0]]) for ranking in rankings)
    every = sum(sum(picks) for picks in right.values())
    unsure = sum(ranking.unsure for ranking in rankings)
    click.echo(f"right: {every} of {n}; chance {chance:.1f}, longest {longest}")
    click.echo(f"P(best) of the picks: {p_best / n:.2f} on average, right {every / n:.2f}; unsure: {unsure}")
    click.echo(f"the same pick in reverse order: {same} of {n}")


if __name__ == "__main__":
    main()
