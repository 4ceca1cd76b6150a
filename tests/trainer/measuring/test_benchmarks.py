"""The paper's benchmarks: their tasks are the collection's, and its own arithmetic comes out."""

import pytest

from trainer.collection.tasks import TASKS
from trainer.measuring.benchmarks import BENCHMARKS, REWARDBENCH, TABLE_1, TABLE_2, tasks_of, wins


def test_the_benchmarks_are_the_evaluation_tasks() -> None:
    names = [name for figure in BENCHMARKS.values() for name in tasks_of(figure)]
    assert sorted(names) == sorted(task.name for task in TASKS if task.split == "eval") and len(names) == 53


@pytest.mark.parametrize("row", TABLE_2)
def test_the_average_is_the_plain_mean_of_the_sections(row: str) -> None:
    average, *sections = TABLE_2[row]
    assert len(sections) == len(REWARDBENCH.parts)
    assert abs(sum(sections) / 4 - average) < 0.1  # the sections are rounded, too


def test_the_headline() -> None:
    best = {name: max(TABLE_1[row][k] for row in ("FLAMe-24B", "FLAMe-RM-24B")) for k, name in enumerate(BENCHMARKS)}
    assert wins(best) == 6
    assert all(len(row) == len(BENCHMARKS) for row in TABLE_1.values())
