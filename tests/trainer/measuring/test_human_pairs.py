"""How often a judge agrees with people: counted in both orders, without what it could not judge."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from releases import make

from flame_rank.judges.function import FunctionJudge
from flame_rank.records import Problem
from trainer.collection.tasks import by_name
from trainer.measuring.human_pairs import BENCHMARKS, measure, read_pairs

Pairs = Sequence[tuple[str, str]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("releases"))


PROBLEMS = [Problem(prompt=f"p{i}", candidates=["x" * (2 + i % 2), "yy"]) for i in range(40)]  # longer, then as long


def longer(prompt: str, asked: Pairs) -> list[float]:
    return [float(len(first) - len(second)) for first, second in asked]


def test_the_first_candidate_is_the_better_one(data: Path) -> None:
    for tasks in BENCHMARKS.values():
        for name in tasks:
            assert by_name(name).split == "eval" and by_name(name).kind == "pairwise"
    found = read_pairs(["hhh-helpful"], data)
    assert found and all(len(problem.texts) == 2 for problem in found)
    released = json.loads((data / "hhh_alignment" / "helpful" / "task.json").read_text())["examples"]
    by_prompt = {one["input"].strip(): one["target_scores"] for one in released}
    for problem in found:
        scores = next(scores for prompt, scores in by_prompt.items() if prompt in problem.prompt)
        better = next(text for text, score in scores.items() if score)
        assert problem.texts[0].strip() == better.strip()


def test_a_preference_for_length_is_what_longer_says() -> None:
    found = measure(FunctionJudge(longer, name="longer"), PROBLEMS)
    assert found.right.tolist() == found.longer.tolist() == [0.5, 1.0] * 20
    mean, low, high = found.right_percent()
    assert mean == 75.0 and low < mean < high


def test_a_preference_for_a_position_is_worth_nothing() -> None:
    def first(prompt: str, asked: Pairs) -> list[float]:
        return [7.0] * len(asked)

    assert set(measure(FunctionJudge(first, name="first"), PROBLEMS).right) == {0.5}


def test_what_was_not_judged_is_left_out_and_counted() -> None:
    def some(prompt: str, asked: Pairs) -> list[float]:
        return [math.nan if prompt == "p1" else 1.0 if first > second else -1.0 for first, second in asked]

    done: list[int] = []
    found = measure(FunctionJudge(some, name="some"), PROBLEMS, done.append)
    assert found.invalid == 1 and len(found.right) == 39 and set(found.right) == {0.0}
    assert sum(done) == 40 and len(found.longer) == 39


def test_nothing_to_measure_is_an_error(tmp_path: Path) -> None:
    from trainer.cli.group import main

    with pytest.raises(SystemExit) as ended:
        main(["evaluate", "--data", str(tmp_path)])
    assert ended.value.code == 2
