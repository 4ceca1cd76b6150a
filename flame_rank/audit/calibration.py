"""Measures a judge's accuracy by labels, and fits the temperature that makes its probabilities match that accuracy."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec
import numpy as np

from flame_rank.audit.asking import Asked
from flame_rank.audit.statistics import Figure, ratio
from flame_rank.errors import UserError
from flame_rank.io import json_file
from flame_rank.io.writing import write_whole
from flame_rank.judges.base import Judge
from flame_rank.judges.within import JudgeAround
from flame_rank.records import FlatRecord, GroupedRecord, Problem
from strategies.base import FloatArray, IntArray
from strategies.consistency import CYCLES, FLIPS

BINS = 10  # of the confidence, from 0.5 to 1
_SPREAD = 2.0  # of the logarithm of a temperature that labels have not narrowed yet


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a file that `flame-rank audit --calibration` writes.

    Attributes:
      judge: the name of the judge that was audited.
      temperature: the number by which its log-odds are divided.
      pairs: the number of labelled pairs that it was fitted on.
      problems: the number of problems that have these pairs.
      flips: the share of pairs whose verdict changes with their order.
      contradictions: the share of triples whose three verdicts contradict each other.
    """

    judge: str
    temperature: float
    pairs: int
    problems: int
    flips: float
    contradictions: float

    @property
    def warnings(self) -> list[str]:
        """The faults that the audit found in the judge."""
        shares = (
            (self.flips, FLIPS, "changes its verdict with the order of two candidates"),
            (self.contradictions, CYCLES, "contradicts itself among three candidates"),
        )
        return [
            f"by its audit this judge {what} in {100 * share:.0f} % of the cases"
            for share, most, what in shares
            if share > most
        ]

    def write(self, path: Path) -> None:
        """Writes the file."""
        write_whole(path, msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")

    @classmethod
    def read(cls, path: Path, judge: str) -> "Calibration":
        """Reads the file for a judge.

        Raises:
          UserError: the file is damaged, or for another judge.
        """
        calibration: Calibration = json_file.read(path, cls, remedy="write it with flame-rank audit --calibration")
        if calibration.judge != judge:
            raise UserError(
                f"--calibration {path}: it is for the judge {calibration.judge}, not {judge}; "
                "run flame-rank audit with this judge"
            )
        if not calibration.temperature > 0:
            raise UserError(f"--calibration {path}: the temperature is {calibration.temperature}; it must be above 0")
        return calibration


class CalibratedJudge(JudgeAround):
    """A judge whose log-odds are divided by the temperature of its audit.

    Attributes:
      audit: what the audit found.
    """

    def __init__(self, judge: Judge, audit: Calibration):
        super().__init__(judge, f"{judge.name} at temperature {audit.temperature:.4g}", same=("at_once", "options"))
        self.audit = audit

    def with_members(self, members: Sequence[Judge]) -> Self:
        [judge] = members
        return type(self)(judge, self.audit)

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        """Returns the log-odds [M] of each problem's pairs."""
        return [np.asarray(said, np.float64) / self.audit.temperature for said in self.within.judge(asked)]


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """The labelled pairs of all problems.

    Attributes:
      leads: for each problem and each of its pairs, the log-odds that the candidate with the higher label is better.
    """

    leads: list[FloatArray]

    @classmethod
    def of(cls, asked: Sequence[Asked], labels: Sequence[FloatArray | None]) -> "Labelled":
        """Selects the pairs whose labels differ.

        Args:
          labels: for each of `asked` the labels [n] of its candidates; a higher label is better, NaN or None is no
            label.
        """
        leads = []
        for a, label in zip(asked, labels, strict=True):
            if label is None:
                continue
            by_label = label[a.pairs[:, 0]] - label[a.pairs[:, 1]]
            known = (np.abs(by_label) > 0) & ~np.isnan(a.leads)
            leads.append(a.leads[known] * np.sign(by_label[known]))
        return cls(leads=leads)

    @property
    def all(self) -> FloatArray:
        """[M] the log-odds of all problems' pairs."""
        return np.concatenate(self.leads) if self.leads else np.empty(0)

    def figures(self, seed: int) -> list[Figure]:
        """Computes the accuracy on pairs, and how far the confidence is from it."""
        count = [len(lead) for lead in self.leads]
        right = [float((lead > 0).sum() + 0.5 * (lead == 0).sum()) for lead in self.leads]
        pairs, temperature = self.all, self.temperature()
        return [
            ratio("right on labelled pairs", "share", right, count, n=sum(count), seed=seed, null=0.5),
            Figure(name="calibration error (ECE)", unit="share", value=calibration_error(pairs), n=len(pairs)),
            Figure(name="temperature", unit="", value=temperature, n=len(pairs)),
            Figure(
                name="calibration error at this temperature",
                unit="share",
                value=None if temperature is None else calibration_error(pairs / temperature),
                n=len(pairs),
            ),
        ]

    def reliability(self) -> "list[Bin]":
        """How often the judge is right at each confidence, for a reliability plot; empty bins are left out."""
        return _bins(self.all)

    def temperature(self) -> float | None:
        """Returns the likeliest temperature; None without pairs.

        Before the labels its logarithm is around 0, with a deviation of `_SPREAD`: a few pairs in which the judge is
        always right would otherwise ask for certainty.
        """
        from scipy.optimize import minimize_scalar

        leads = self.all
        if not len(leads):
            return None

        def loss(log_temperature: float) -> float:
            before = (log_temperature / _SPREAD) ** 2 / 2
            return float(np.logaddexp(0.0, -leads / np.exp(log_temperature)).sum() + before)

        return float(np.exp(minimize_scalar(loss, bounds=(-6.0, 6.0), method="bounded").x))


@dataclass(frozen=True, kw_only=True)
class Bin:
    """The labelled pairs whose confidence lies in one range.

    Attributes:
      low, high: the range, in 0.5 to 1.
      n: the number of pairs.
      confidence: the mean confidence in these pairs.
      right: the share of pairs in which the judge is right.
    """

    low: float
    high: float
    n: int
    confidence: float
    right: float


def _bins(leads: FloatArray) -> list[Bin]:
    """Returns the bins of BINS equal ranges that hold pairs.

    Args:
      leads: [M], log-odds that the one that is right is the better one.
    """
    confidence = 1 / (1 + np.exp(-np.abs(np.clip(leads, -50, 50))))
    place = np.minimum(((confidence - 0.5) * 2 * BINS).astype(int), BINS - 1)
    right = np.where(leads == 0, 0.5, leads > 0)
    edges = np.linspace(0.5, 1, BINS + 1).tolist()
    return [
        Bin(
            low=edges[k],
            high=edges[k + 1],
            n=int(inside.sum()),
            confidence=float(confidence[inside].mean()),
            right=float(right[inside].mean()),
        )
        for k in range(BINS)
        if (inside := place == k).any()
    ]


def calibration_error(leads: FloatArray) -> float | None:
    """Returns the mean distance of confidence from accuracy over BINS bins of the confidence (ECE, Guo et al., 2017).

    Args:
      leads: [M] the log-odds that the candidate with the higher label is better.
    """
    if not len(leads):
        return None
    return sum(b.n * abs(b.right - b.confidence) for b in _bins(leads)) / len(leads)


def read_labels(problem: Problem, name: str) -> FloatArray | None:
    """Reads the labels of a problem's candidates, [n]; None if it has none.

    Args:
      name: a field of the problem (a list in the order of the candidates) or of each candidate. Labels are numbers (a
        higher one is better), true or false, or null for none.

    Raises:
      UserError: the field holds something else.
    """
    record = problem.record
    if isinstance(record, GroupedRecord) and name in record.fields:
        values = msgspec.json.decode(record.fields[name])
    elif isinstance(record, FlatRecord):
        values = [msgspec.json.decode(line).get(name) for line in record.lines]
    else:
        values = [None if isinstance(c, str) else c.fields.get(name) for c in problem.candidates]
    if not isinstance(values, list) or len(values) != len(problem):
        raise UserError(f"{problem.name}: {name!r} is not a list with a label for each of {len(problem)} candidates")
    given = [value for value in values if value is not None]
    if not given:
        return None
    if not all(isinstance(value, int | float) and abs(value) <= sys.float_info.max for value in given):
        raise UserError(f"{problem.name}: {name!r} holds a label that is not a finite number, true, false or null")
    return np.array([np.nan if value is None else float(value) for value in values])


def differ(labels: FloatArray) -> bool:
    """Tells whether two of the labels [n] differ; NaN is no label."""
    return len(np.unique(labels[~np.isnan(labels)])) > 1
