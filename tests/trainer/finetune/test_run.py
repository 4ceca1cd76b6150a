"""The door for a notebook: `trainer.finetune.train` with its options as objects."""

from pathlib import Path
from typing import Any

import pytest

import flame_rank
from flame_rank.errors import UserError
from trainer import finetune


def test_a_notebook_trains_a_judge(folder: Path, made_tasks: Path, tmp_path: Path) -> None:
    mixture = tmp_path / "m.csv"
    mixture.write_text("task,weight\nmnli,1\n")
    said: list[str] = []
    last = finetune.train(
        folder,
        data=made_tasks,
        out=tmp_path / "out",
        mixture=mixture,
        recipe=finetune.Recipe(steps=2, batch=2, max_input=512, max_target=16),
        checkpoints=finetune.CheckpointPolicy(last=1),
        say=said.append,
    )
    assert last == tmp_path / "out" / "step-0000002" and any("step 2/2  loss " in line for line in said)
    assert [path.name for path in (tmp_path / "out").glob("step-*")] == [last.name]
    judge = flame_rank.load_judge(last)
    assert flame_rank.rerank("p", ["a", "b"], judge=judge).order in ([0, 1], [1, 0])


def test_what_is_wrong_is_told_before_a_model_is_read(made_tasks: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="flame-rm weighs tasks by the ratings of tail patches"):
        finetune.train(tmp_path / "nowhere", data=made_tasks, out=tmp_path / "out", mixture="flame-rm")
    with pytest.raises(ValueError, match="go together"):
        finetune.Devices(coordinator="localhost:1")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"base": None}, "base is None; it must be of type str or Path"),
        ({"mixture": 4}, "mixture is 4; it must be of type str or Path or MixtureOptions"),
        ({"recipe": {"steps": 3}}, r"recipe is {'steps': 3}; it must be of type Recipe"),
        ({"checkpoints": finetune.CheckpointPolicy(every="x")}, "every is 'x'; it must be a whole number or None"),  # type: ignore[arg-type]
        ({"evaluation": finetune.EvaluationOptions(tasks="hhh")}, "tasks is 'hhh'; it must be a list of values"),  # type: ignore[arg-type]
    ],
)
def test_values_of_another_type_are_named(arguments: dict[str, Any], words: str, tmp_path: Path) -> None:
    every: dict[str, Any] = {"base": "b", "data": "d", "out": tmp_path / "out"} | arguments
    with pytest.raises(UserError, match=words):
        finetune.train(**every)
    assert not (tmp_path / "out").exists()
