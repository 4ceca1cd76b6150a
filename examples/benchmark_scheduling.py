"""Measures the library's own cost per comparison: the judge answers at once, from a table.

    python examples/benchmark_scheduling.py [--problems P] [--n N] [--strategy NAME] [--ledger FILE]

Prints the comparisons, microseconds per comparison, and the peak memory of the process. With `--ledger` every judgement
is recorded in that file.
"""

import resource
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import numpy as np

import strategies
from flame_rank import Problem, Reranker
from strategies.base import FloatArray, IntArray
from strategies.simulate import STRONG, SimulatedProblem


class Table:
    """A judge that looks up its answers in a table, the same for all problems of a run."""

    name = "table"
    pool_aware = pointwise = False

    def __init__(self, n: int):
        self._table = SimulatedProblem.draw(n, STRONG, 0).table

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        return [self._table[pairs[:, 0], pairs[:, 1]] for _, pairs in asked]


def problems(count: int, n: int) -> Iterator[Problem]:
    """Yields problems one by one, so that only the library keeps any of them in memory."""
    rng = np.random.default_rng(0)
    for k in range(count):
        yield Problem(prompt=f"problem {k}", candidates=[f"{word:x}" for word in rng.integers(1 << 62, size=n)])


@click.command(help=__doc__)
@click.option("--problems", "count", default=10_000, show_default=True)
@click.option("--n", default=16, show_default=True, help="Candidates of a problem.")
@click.option("--strategy", type=click.Choice(strategies.NAMES), default="round-robin", show_default=True)
@click.option("--ledger", type=click.Path(path_type=Path))
def main(count: int, n: int, strategy: str, ledger: Path | None) -> None:
    reranker = Reranker(Table(n), strategy, ledger=ledger)
    start = time.perf_counter()
    comparisons = sum(ranking.comparisons for ranking in reranker.rank_many(problems(count, n)))
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # kB on Linux
    click.echo(
        f"{strategy}: {count} problems of {n}, {comparisons} comparisons in {seconds:.1f} s, "
        f"{1e6 * seconds / comparisons:.2f} us a comparison, {peak:.0f} MiB at most"
    )


if __name__ == "__main__":
    main()
