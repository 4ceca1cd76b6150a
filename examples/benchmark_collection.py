"""Measures how fast the tasks of the collection are read and formatted, on one core.

    python examples/benchmark_collection.py DATA

DATA contains the data sets, one folder each. Prints for every available task: examples, seconds, examples per second
and megabytes of text per second; at the end the median of the rates, the totals, and the peak memory of the process.
"""

import resource
import statistics
import time
from pathlib import Path

import click

from trainer.collection.examples import examples, is_available
from trainer.collection.tasks import TASKS


@click.command(help=__doc__)
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(data: Path) -> None:
    rates, total, whole = [], 0, time.perf_counter()
    for task in TASKS:
        if not is_available(task, data):
            continue
        count = size = 0
        start = time.perf_counter()
        for example in examples(task, data):
            count += 1
            size += len(example.input) + len(example.target)
        seconds = time.perf_counter() - start
        rates.append(count / seconds)
        total += count
        click.echo(f"{task.name:34}{count:8} {seconds:7.2f} s {rates[-1]:10.0f}/s {size / seconds / 1e6:8.1f} MB/s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # kB on Linux
    seconds = time.perf_counter() - whole
    click.echo(
        f"{len(rates)} tasks: median {statistics.median(rates):.0f} examples/s; {total} examples in {seconds:.1f} s, "
        f"{peak:.0f} MiB at most"
    )


if __name__ == "__main__":
    main()
