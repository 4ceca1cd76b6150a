"""How often a judge prefers the answer that people preferred, on pairwise evaluation tasks that are never trained on
(the paper's Table 1, and LLMBar)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flame_rank.errors import UserError
from flame_rank.judges.base import Judge
from flame_rank.records import Problem
from strategies.base import FloatArray
from trainer.collection.examples import examples, is_available
from trainer.collection.tasks import by_name
from trainer.measuring.intervals import Interval, mean_interval

BATCH = 32  # pairs that a judge is given at once
_ORDERS = np.array([[0, 1], [1, 0]])
_ADVERSARIAL = ("neighbor", "gptinst", "gptout", "manual")

BENCHMARKS: Mapping[str, Sequence[str]] = {
    "HHH": tuple(f"hhh-{part}" for part in ("helpful", "honest", "harmless", "other")),
    "Expert LFQA": ("expert-lfqa",),
    "RankGen": ("rankgen",),
    "Contrastive search": ("contrastive-search",),
    "CoPoem": ("copoem",),
    "LLMBar Natural": ("rewardbench-llmbar-natural",),
    "LLMBar Adversarial": tuple(f"rewardbench-llmbar-adver-{part}" for part in _ADVERSARIAL),
}
FLAME_RM = {  # in %, Table 1
    **{"HHH": 90.0, "Expert LFQA": 73.4, "RankGen": 61.7, "Contrastive search": 48.7, "CoPoem": 53.6},
}


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How a judge's answers to one benchmark agree with people's.

    Attributes:
      right: [n] for each pair 1 if the judge prefers what people preferred, 0 if not, 0.5 if it holds both to be
        equally good.
      longer: [n] the same for a judge that prefers the longer answer.
      invalid: the number of pairs without a valid judgement, which are left out of both arrays.
    """

    right: FloatArray
    longer: FloatArray
    invalid: int

    def right_percent(self) -> Interval:
        """Computes the share of pairs that are right, in %, with its 95 % bootstrap interval over pairs."""
        return Interval(*(100 * share for share in mean_interval(self.right)))

    def longer_percent(self) -> float:
        """Computes the share of pairs whose longer answer people preferred, in %."""
        return float(100 * self.longer.mean())

    def record(self) -> dict[str, Any]:
        """Gives the figures as JSON values."""
        return {"n": len(self.right), "right": self.right_percent(), "longer": self.longer_percent()}


def read_pairs(tasks: Iterable[str], data: Path) -> list[Problem]:
    """Reads the pairs of evaluation tasks as problems whose first candidate is the better one.

    Args:
      tasks: names of pairwise tasks.
      data: the folder of data sets.

    Raises:
      UserError: a data set is missing or does not have the released form.
    """
    problems = []
    for name in tasks:
        for example in examples(by_name(name), data):
            *context, first, second = example.values
            better = (first, second) if example.label == "A" else (second, first)
            problems.append(Problem(prompt="\n\n".join(filter(None, context)), candidates=list(better)))
    return problems


def read_benchmarks(data: Path) -> dict[str, list[Problem]]:
    """Reads all benchmarks whose tasks are under `data`: their pairs by the benchmark's name.

    Raises:
      UserError: there is not a complete benchmark, or a file cannot be read.
    """
    names = available_benchmarks(data)
    if not names:
        raise UserError(
            f"{data}: no benchmark of {', '.join(BENCHMARKS)} is complete there; get its tasks by `flame-train data "
            "fetch`"
        )
    return {name: read_pairs(BENCHMARKS[name], data) for name in names}


def available_benchmarks(data: Path) -> list[str]:
    """Names the benchmarks whose tasks are all under `data`."""
    return [name for name, tasks in BENCHMARKS.items() if all(is_available(by_name(task), data) for task in tasks)]


def measure(judge: Judge, problems: Sequence[Problem], say: Callable[[int], object] = lambda done: None) -> Agreement:
    """Asks a judge about both orders of every pair.

    Args:
      problems: of two candidates each, the better one first.
      say: receives the number of pairs of each batch that is done.
    """
    log_odds: list[float] = []  # that the better one is better, mean of both orders
    for start in range(0, len(problems), BATCH):
        batch = problems[start : start + BATCH]
        answers = judge.judge([(problem, _ORDERS) for problem in batch])
        log_odds += [float(answer[0] - answer[1]) / 2 for answer in answers]
        say(len(batch))
    preferences = np.array(log_odds)
    valid = np.isfinite(preferences)
    longer = np.array([len(better) - len(worse) for better, worse in (problem.texts for problem in problems)], float)
    return Agreement(
        right=_share_right(preferences[valid]), longer=_share_right(longer[valid]), invalid=int((~valid).sum())
    )


def _share_right(differences: FloatArray) -> FloatArray:
    """1 for a positive difference, 0 for a negative one, 0.5 for none."""
    return np.asarray((np.sign(differences) + 1) / 2, np.float64)
