"""Measures rankings on a local Ray cluster beside a plain run, with a judge that waits for each problem.

    python examples/benchmark_ray.py [--problems P] [--wait SECONDS] [--actors N]

Prints the seconds a problem takes after the start: in this process, with one actor, and with N. The start of Ray, some
ten seconds, is left out: the time is that from the first batch of records to the last.
"""

import json
import time
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

import flame_rank
from flame_rank.io.output import to_lines

BATCH = 64  # problems that an actor ranks together


def waits(prompt: str, pairs: list[tuple[str, str]], *, seconds: float) -> list[float]:
    """A judge that takes its time, as a model or a service does."""
    time.sleep(seconds)
    return [float(len(first) - len(second)) for first, second in pairs]


def plain(source: Path, judge: Any) -> Iterator[int]:
    """Ranks in this process; yields the number of records each time BATCH of them are there."""
    rankings = flame_rank.Reranker(judge).rank_many(flame_rank.read_problems(source))
    while records := [to_lines(ranking) for ranking in islice(rankings, BATCH)]:
        yield len(records)


def on_ray(source: Path, judge: Any, actors: int) -> Iterator[int]:
    """Ranks on the cluster; yields the number of records of each batch."""
    import ray.data

    import flame_rank.ray

    rows = ray.data.read_text(str(source))
    ranked = flame_rank.ray.rerank_dataset(rows, judge=judge, actors=actors, batch_size=BATCH)
    for batch in ranked.iter_batches(batch_size=None, batch_format="pyarrow"):
        yield len(batch)


def seconds_each(batches: Iterator[int]) -> float:
    """The seconds that a record takes, from the first batch to the last."""
    next(batches)
    start = time.perf_counter()
    records = sum(batches)
    return (time.perf_counter() - start) / records


@click.command(help=__doc__)
@click.option("--problems", "count", default=2_000, show_default=True)
@click.option("--wait", default=0.005, show_default=True, help="Seconds that the judge takes for a problem.")
@click.option("--actors", default=2, show_default=True)
def main(count: int, wait: float, actors: int) -> None:
    import ray

    ray.init(num_cpus=actors + 2, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    judge = partial(waits, seconds=wait)
    with TemporaryDirectory() as folder:
        source = Path(folder, "in.jsonl")
        problem = {"candidates": ["a", "bb", "ccc", "dddd"]}
        source.write_text("".join(json.dumps({"prompt": str(k), **problem}) + "\n" for k in range(count)))
        alone = seconds_each(plain(source, judge))
        one, several = (seconds_each(on_ray(source, judge, n)) for n in (1, actors))
    click.echo(
        f"{1e3 * alone:.2f} ms a problem in this process, {1e3 * one:.2f} with one actor ({one / alone:.3f} times)"
    )
    click.echo(f"{1e3 * several:.2f} ms with {actors} actors: {one / several:.2f} times as fast as with one")


if __name__ == "__main__":
    main()
