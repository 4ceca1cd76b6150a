"""Compares Bradley-Terry scores with evalica's: counts comparisons into a matrix and fits it without a prior.

    python examples/benchmark_aggregate.py [--players N] [--comparisons M] [--repeats R]

The comparisons are drawn from the Bradley-Terry model with standard normal scores. Each library gets them in its own
input form: arrays for this one, lists and a ready index of the players for evalica. The repeats are interleaved, so
that other work on the machine affects both alike; the times are medians.
"""

import statistics
import time

import click
import evalica
import numpy as np
import pandas as pd
from scipy.special import expit

from strategies.aggregate import bradley_terry, count_wins
from strategies.base import FloatArray, IntArray

TOLERANCE = 1e-12  # evalica's, of the norm of a step; its own default is 1e-6


def draw(players: int, comparisons: int, seed: int = 0) -> tuple[IntArray, FloatArray]:
    """Draws comparisons [M, 2] of random players, and their outcomes [M], 1 = the first won, 0 = the second."""
    rng = np.random.default_rng(seed)
    quality = rng.standard_normal(players)
    first = rng.integers(players, size=comparisons)
    second = (first + rng.integers(1, players, size=comparisons)) % players
    won = rng.random(comparisons) < expit(quality[first] - quality[second])
    return np.stack([first, second], axis=1), won.astype(np.float64)


@click.command(help=__doc__)
@click.option("--players", default=1000, show_default=True)
@click.option("--comparisons", default=100_000, show_default=True)
@click.option("--repeats", default=9, show_default=True)
def main(players: int, comparisons: int, repeats: int) -> None:
    asked, outcomes = draw(players, comparisons)
    xs, ys = asked.T.tolist()
    winners = [evalica.Winner.X if won else evalica.Winner.Y for won in outcomes]
    index = pd.Index(range(players))
    seconds: dict[str, list[float]] = {"count": [], "ours": [], "index": [], "evalica": []}
    for repeat in range(repeats + 1):
        clock = [time.perf_counter()]
        wins = count_wins(asked, outcomes, players)
        clock.append(time.perf_counter())
        scores = bradley_terry(wins, prior=0)
        clock.append(time.perf_counter())
        evalica.indexing(xs, ys, index)  # evalica.bradley_terry does this too; timed to show its share
        clock.append(time.perf_counter())
        result = evalica.bradley_terry(xs, ys, winners, index=index, tolerance=TOLERANCE, limit=10_000)
        clock.append(time.perf_counter())
        if repeat:  # the first one warms up
            for name, start, end in zip(seconds, (0, 0, 2, 3), (1, 2, 3, 4), strict=True):
                seconds[name].append(clock[end] - clock[start])
    strengths = np.log(result.scores.sort_index().to_numpy())
    counting, ours, indexing, theirs = (1000 * statistics.median(times) for times in seconds.values())
    click.echo(f"{players} players, {comparisons} comparisons, {repeats} repeats, evalica {evalica.__version__}")
    click.echo(f"flame_rank  {ours:7.1f} ms, of which counting {counting:.1f} ms")
    click.echo(f"evalica     {theirs:7.1f} ms, of which looking up the players {indexing:.1f} ms")
    click.echo(f"ratio       {ours / theirs:7.2f}")
    click.echo(f"largest difference of two scores: {np.abs(scores - (strengths - strengths.mean())).max():.1e} nats")


if __name__ == "__main__":
    main()
