"""Pairs that people judged, as problems."""

import json
from pathlib import Path

import pytest
from releases import make

from trainer.collection.tasks import by_name
from trainer.measuring.human_pairs import BENCHMARKS, read_pairs


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("releases"))


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


def test_nothing_to_measure_is_an_error(tmp_path: Path) -> None:
    from trainer.cli.group import main

    with pytest.raises(SystemExit) as ended:
        main(["evaluate", "--data", str(tmp_path)])
    assert ended.value.code == 2
