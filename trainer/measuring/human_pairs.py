"""Turns pairs that people judged into problems. The pairs are from evaluation tasks, which are never trained on."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from flame_rank.records import Problem
from trainer.collection.examples import examples, is_available
from trainer.collection.tasks import by_name

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


def read_pairs(tasks: Iterable[str], data: Path) -> list[Problem]:
    """Reads the pairs of evaluation tasks as problems whose first candidate is the better one.

    Args:
      tasks: the names of pairwise tasks.
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


def available_benchmarks(data: Path) -> list[str]:
    """Names the benchmarks whose tasks are all under `data`."""
    return [name for name, tasks in BENCHMARKS.items() if all(is_available(by_name(task), data) for task in tasks)]
