"""Measures the cost of the pipe itself: problems a second through `flame-rank rerank -` if the judge answers at once.

    python examples/benchmark_pipe.py [--problems P] [--judge transitive|noisy] [--ledger] [--profile]

Prints problems a second, by the clock and by processor time, and the peak memory. `--profile` prints where the
processor time goes instead.
"""

import os
import pstats
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import msgspec

CANDIDATES = 4
WORDS = ("the", "of", "and", "to", "in", "answer", "that", "it", "was", "for", "not", "number", "his", "twelve")


def transitive(prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
    """Prefers the longer text: as if each candidate had a quality."""
    return [0.1 * (len(first) - len(second)) for first, second in pairs]


def noisy(prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
    """Contradicts itself, so that P(best) takes an integral."""
    return [(31 * len(first) + 17 * len(second)) % 23 / 8 - 1.4 for first, second in pairs]


def lines(count: int) -> Iterator[bytes]:
    """Yields problems whose candidates have 100 to 400 characters."""
    rng = random.Random(0)

    def text(least: int, most: int) -> str:
        return " ".join(rng.choices(WORDS, k=rng.randint(least, most)))

    for k in range(count):
        candidates = [text(25, 90) for _ in range(CANDIDATES)]
        yield msgspec.json.encode({"task_id": f"q{k}", "prompt": text(10, 40), "candidates": candidates}) + b"\n"


@click.command(help=__doc__)
@click.option("--problems", "count", default=50_000, show_default=True)
@click.option("--judge", type=click.Choice(["transitive", "noisy"]), default="noisy", show_default=True)
@click.option("--ledger", is_flag=True, help="Keep every judgement, so that the run could be resumed.")
@click.option("--profile", is_flag=True)
def main(count: int, judge: str, ledger: bool, profile: bool) -> None:
    with TemporaryDirectory() as folder:
        source = Path(folder, "in.jsonl")
        with source.open("wb") as file:
            file.writelines(lines(count))
        profiled = ["-m", "cProfile", "-o", f"{folder}/profile"] if profile else []
        command = [sys.executable, *profiled, "-m", "flame_rank", "rerank", "-", "-q"]
        command += ["--judge", f"{Path(__file__).absolute()}:{judge}"]
        command += ["--ledger", f"{folder}/ledger.db"] if ledger else []
        before, start = os.times(), time.perf_counter()
        with source.open("rb") as file:
            subprocess.run(command, stdin=file, stdout=subprocess.DEVNULL, check=True)
        seconds, after = time.perf_counter() - start, os.times()
        if profile:
            pstats.Stats(f"{folder}/profile").sort_stats("tottime").print_stats(45)
            return
    processor = sum(after[2:4]) - sum(before[2:4])
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024  # kB on Linux
    click.echo(
        f"{judge}: {count} problems of {CANDIDATES} in {seconds:.1f} s, {count / seconds:,.0f} a second, "
        f"{count / processor:,.0f} a second of processor time, {peak:.0f} MiB at most"
    )


if __name__ == "__main__":
    main()
