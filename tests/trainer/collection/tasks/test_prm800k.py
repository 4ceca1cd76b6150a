"""PRM800K: which solutions are paired."""

import json
from pathlib import Path
from typing import Any

import pytest

from trainer.collection.examples import examples
from trainer.collection.tasks import by_name

SOLUTIONS = by_name("prm800k-solutions")


def step(*proposals: tuple[str, int]) -> dict[str, Any]:
    completions = [{"text": text, "rating": rating, "flagged": None} for text, rating in proposals]
    return {"completions": completions, "human_completion": None, "chosen_completion": 0}


def test_a_wrong_answer_counts_only_at_the_last_step(tmp_path: Path) -> None:
    folder = tmp_path / SOLUTIONS.data.folder / "prm800k" / "data"
    folder.mkdir(parents=True)
    steps = [
        step(("We add.", 1), ("# Answer\n\n1", -1)),  # a beginning of the right one
        step(("# Answer\n\n3", 1), ("# Answer\n\n2", -1), ("So 3.\n\n# Answer\n\n 3", -1)),
    ]
    record = {
        "is_initial_screening_question": False,
        "question": {"problem": "1 + 2?"},
        "label": {"steps": steps, "finish_reason": "solution"},
    }
    for name in ("phase1_train.jsonl", "phase2_train.jsonl"):
        (folder / name).write_text(json.dumps(record) + "\n")
    (pair,) = examples(SOLUTIONS, tmp_path)
    assert set(pair.values[1:]) == {"We add.\n# Answer\n\n3", "We add.\n# Answer\n\n2"}


@pytest.mark.full
def test_length_does_not_give_the_label(shared_data: Path) -> None:
    longer = []
    for example in examples(SOLUTIONS, shared_data):
        first, second = map(len, example.values[-2:])
        if first != second:
            longer.append((first > second) == (example.label == "A"))
    assert len(longer) > 40 and 0.4 < sum(longer) / len(longer) < 0.6
