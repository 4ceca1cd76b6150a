"""A GGUF file is trained as a directory is."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_training import MESH

import flame_rank
from trainer.collection.training_data import TrainingData
from trainer.finetune import base_model


def test_what_begins_with_a_gguf_file_is_a_directory(gguf_file: Path, tmp_path: Path) -> None:
    base = base_model.load(gguf_file, MESH)
    base.save(base.params, tmp_path / "saved")
    problem = flame_rank.Problem(prompt="Which is <|im_end|> 42?", candidates=["A naïve one", "return 1.5"])
    judges: list[Any] = [flame_rank.load_judge(path) for path in (gguf_file, tmp_path / "saved")]
    assert judges[0].tokens(problem, 0, 1) == judges[1].tokens(problem, 0, 1)
    assert judges[0].verdict_ids == judges[1].verdict_ids
    found = [judge.judge([(problem, np.array([[0, 1]]))])[0][0] for judge in judges]
    assert found[0] == pytest.approx(found[1], abs=1e-6) and abs(found[0]) > 1e-3
    said = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert said["architectures"] == ["LlamaForCausalLM"] and said["eos_token_id"] in base.form.eos


@pytest.mark.parametrize("kind", ["gguf", "folder"])
def test_a_template_that_is_not_used_is_not_saved(kind: str, gguf_file: Path, tmp_path: Path) -> None:
    path = gguf_file
    if kind == "folder":
        path, chat = tmp_path / "chat", base_model.load(gguf_file, MESH)
        chat.save(chat.params, path)
        (path / "chat_template.jinja").write_text(
            json.loads((path / "tokenizer_config.json").read_text())["chat_template"]
        )
    base = base_model.load(path, MESH, template="plain")
    base.save(base.params, tmp_path / "saved")
    problem = flame_rank.Problem(prompt="Which is 42?", candidates=["A naïve one", "return 1.5"])
    trained: Any = flame_rank.load_judge(tmp_path / "saved")
    asked: Any = flame_rank.load_judge(path, template="plain")
    other: Any = flame_rank.load_judge(path, template="chat")
    assert trained.tokens(problem, 0, 1) == asked.tokens(problem, 0, 1) != other.tokens(problem, 0, 1)


def test_what_it_was_trained_on_goes_along(folder: Path, tmp_path: Path) -> None:
    base = base_model.load(folder, MESH)
    base.training_data = TrainingData(tasks={"mnli": 3}, checked=("copoem", "rankgen"))
    base.save(base.params, tmp_path / "first")
    assert TrainingData.of_judge(str(tmp_path / "first")) == base.training_data
    (tmp_path / "first" / "eval.json").write_text('{"step": 9, "mean": 0.5}')  # of the run that made it
    second = base_model.load(tmp_path / "first", MESH)
    second.training_data = TrainingData(tasks={"mnli": 2, "cola": 1}, checked=("copoem",)).after(base.training_data)
    second.save(second.params, tmp_path / "second")
    assert not (tmp_path / "second" / "eval.json").exists()
    record = TrainingData.of_judge(str(tmp_path / "second"))
    assert record == TrainingData(tasks={"mnli": 5, "cola": 1}, checked=("copoem",))
