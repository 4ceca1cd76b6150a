"""Measures rankings on a local Ray cluster beside a plain run, with a judge that waits for each problem.

    python examples/benchmark_ray.py [--problems P] [--wait SECONDS] [--actors N]

Prints the seconds a problem takes while all judges are at work: in this process, with one actor, and with N. The start
of Ray, some ten seconds, is left out. On a machine that does other work, set RAY_worker_niceness=0: Ray's workers
otherwise give way to every other process.
"""

import json
import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

import flame_rank
from flame_rank.io.output import to_lines

BATCH = 64  # problems that an actor ranks together


def waits(prompt: str, pairs: list[tuple[str, str]], *, seconds: float, folder: str) -> list[float]:
    """A judge that takes its time, as a model or a service does, and notes when it was asked, process by process."""
    with Path(folder, str(os.getpid())).open("a") as file:
        file.write(f"{time.monotonic()}\n")  # the same clock for all processes of a machine
    time.sleep(seconds)
    return [float(len(first) - len(second)) for first, second in pairs]


def plain(source: Path, judge: Any) -> Iterator[bytes]:
    """Ranks in this process."""
    yield from map(to_lines, flame_rank.Reranker(judge).rank_many(flame_rank.read_problems(source)))


def on_ray(source: Path, judge: Any, actors: int) -> Iterator[bytes]:
    """Ranks on the cluster."""
    import ray.data

    import flame_rank.ray

    rows = ray.data.read_text(str(source))
    ranked = flame_rank.ray.rerank_dataset(rows, judge=judge, actors=actors, batch_size=BATCH)
    yield from (row["text"].encode() + b"\n" for row in ranked.iter_rows())


def seconds_each(folder: Path) -> float:
    """The seconds that a problem took while all judges were at work."""
    asked = [[*map(float, file.read_text().split())] for file in folder.iterdir()]
    start, end = max(times[0] for times in asked), min(times[-1] for times in asked)
    return (end - start) / (sum(start <= moment <= end for times in asked for moment in times) - len(asked))


@click.command(help=__doc__)
@click.option("--problems", "count", default=2_000, show_default=True)
@click.option("--wait", default=0.005, show_default=True, help="Seconds that the judge takes for a problem.")
@click.option("--actors", default=2, show_default=True)
def main(count: int, wait: float, actors: int) -> None:
    import ray

    ray.init(num_cpus=actors + 2, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    with TemporaryDirectory() as place:
        source = Path(place, "in.jsonl")
        problem = {"candidates": ["a", "bb", "ccc", "dddd"]}
        source.write_text("".join(json.dumps({"prompt": str(k), **problem}) + "\n" for k in range(count)))
        each, lines = [], []
        for judges in (0, 1, actors):
            folder = Path(place, f"of {judges}")
            folder.mkdir()
            judge = partial(waits, seconds=wait, folder=str(folder))
            lines.append(b"".join(on_ray(source, judge, judges) if judges else plain(source, judge)))
            each.append(seconds_each(folder))
    alone, one, several = each
    click.echo(f"{1e3 * alone:.2f} ms a problem in this process, {1e3 * one:.2f} ms with one actor")
    click.echo(f"{1e3 * several:.2f} ms with {actors} actors: {one / several:.2f} times as fast as with one")
    click.echo(f"the same bytes: {len({*lines}) == 1}")


if __name__ == "__main__":
    main()
