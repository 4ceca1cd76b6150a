"""How often a judge prefers the answer that people preferred: pairwise evaluation tasks that no judge here learns from
(the paper's Table 1, and LLMBar)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

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
    """What a judge's answers to one benchmark came to.

    Attributes:
      right: [n] of each pair 1, 0, or 0.5 where the judge holds both to be equally good.
      longer: [n] the same for a judge that prefers the longer answer.
      invalid: pairs without a valid judgement, which are left out.
    """

    right: FloatArray
    longer: FloatArray
    invalid: int

    def row(self) -> Interval:
        """The share that is right, in %, with its 95 % bootstrap interval over pairs."""
        return Interval(*(100 * share for share in mean_interval(self.right)))


def pairs(tasks: Sequence[str], data: Path) -> list[Problem]:
    """The pairs of evaluation tasks as problems whose first candidate is the better one."""
    found = []
    for name in tasks:
        for example in examples(by_name(name), data):
            *context, first, second = example.values
            better = (first, second) if example.label == "A" else (second, first)
            found.append(Problem(prompt="\n\n".join(filter(None, context)), candidates=list(better)))
    return found


def here(data: Path) -> list[str]:
    """The benchmarks of which all tasks are under `data`."""
    return [name for name, tasks in BENCHMARKS.items() if all(is_available(by_name(task), data) for task in tasks)]


def measure(judge: Judge, problems: Sequence[Problem], say: Callable[[int], None] = lambda done: None) -> Agreement:
    """Asks a judge about both orders of every pair.

    Args:
      problems: of two candidates, the better one first.
      say: told how many pairs are done.
    """
    nats: list[float] = []
    for start in range(0, len(problems), BATCH):
        some = problems[start : start + BATCH]
        answers = judge.judge([(problem, _ORDERS) for problem in some])
        nats += [float(answer[0] - answer[1]) / 2 for answer in answers]
        say(len(some))
    found = np.array(nats)
    valid = np.isfinite(found)
    longer = np.array([len(one.texts[0]) - len(one.texts[1]) for one in problems], np.float64)
    return Agreement(right=_half(found[valid]), longer=_half(longer[valid]), invalid=int((~valid).sum()))


def _half(difference: FloatArray) -> FloatArray:
    return np.asarray((np.sign(difference) + 1) / 2, np.float64)
