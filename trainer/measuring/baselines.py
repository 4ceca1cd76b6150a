"""Baselines without a judge: chance, the first position, the most frequent label, the longer response, the
annotators."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from trainer.collection.examples import Example
from trainer.collection.tasks.base import Task

Probabilities = tuple[float, ...]  # of a task's labels; of A and B for a pair; empty if there is no answer


def always_first(task: Task, examples: Sequence[Example]) -> list[Probabilities]:
    """Chooses response A of every pair."""
    return [(1.0, 0.0) if task.kind == "pairwise" else () for _ in examples]


def majority_label(task: Task, examples: Sequence[Example]) -> list[Probabilities]:
    """Chooses the most frequent label, for tasks without pairs."""
    if task.kind == "pairwise":
        return [() for _ in examples]
    ((label, _),) = Counter(example.label for example in examples).most_common(1)
    return [tuple(float(name == label) for name in task.labels) for _ in examples]


def longer(task: Task, examples: Sequence[Example]) -> list[Probabilities]:
    """Chooses the response with more characters; responses of equal length get half an answer each."""
    if task.kind != "pairwise":
        return [() for _ in examples]
    lengths = [(len(example.values[-2]), len(example.values[-1])) for example in examples]
    return [(float(a > b), float(b > a)) for a, b in lengths]


def best_possible(task: Task, examples: Sequence[Example]) -> list[Probabilities]:
    """Chooses what most annotators chose; on single judgements that is less than 100 %, because annotators disagree."""
    if task.kind != "pairwise":
        return [tuple(float(name == example.label) for name in task.labels) for example in examples]
    votes = [example.votes for example in examples]
    return [(float(a > b), float(b > a)) for a, b in votes]


BASELINES: Mapping[str, Callable[[Task, Sequence[Example]], list[Probabilities]]] = {
    "always first": always_first,
    "majority label": majority_label,
    "longer": longer,
    "best possible": best_possible,
}


def chance(task: Task) -> float:
    """Computes the expected result of random answers, which is the same for all four metrics."""
    return 0.5 if task.kind == "pairwise" else 1 / len(task.labels)
