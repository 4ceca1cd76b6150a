"""A run goes on exactly where it was killed, and what is trained learns."""

import json
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from small_training import MESH, SMALL, TASK, checkpoint, write_words

from flame_rank.errors import UserError
from trainer.collection.examples import examples
from trainer.finetune import base_model
from trainer.finetune.evaluation import accuracy
from trainer.finetune.loop import train_loop
from trainer.finetune.recipe import DROPOUT, Recipe
from trainer.finetune.run_options import CheckpointPolicy
from trainer.finetune.tokenized_rows import MixtureRows, TokenizedRows, build
from trainer.finetune.training import Training


@pytest.mark.parametrize("rank", [0, pytest.param(4, marks=pytest.mark.full)])
def test_a_run_goes_on_to_the_last_bit(
    rank: int, folder: Path, base: base_model.Base, rows: TokenizedRows, tmp_path: Path
) -> None:
    recipe, program = replace(SMALL, lora=rank), None
    mixture = MixtureRows(tasks=[rows], weights={"words": 1.0})
    for name, stops in (("whole", [6]), ("parts", [2, 3, 6])):
        for stop in stops:
            training = Training(base_model.load(folder, MESH), replace(recipe, steps=stop), MESH)
            program = training.program = program or training.program  # compiled once
            train_loop(
                training,
                mixture,
                tmp_path / name,
                CheckpointPolicy(every=2, last=1, log=1),
                say=lambda _: None,
            )
    one, other = (load_file(tmp_path / name / "step-0000006" / "model.safetensors") for name in ("whole", "parts"))
    assert all(np.array_equal(one[name], other[name]) for name in one)
    lines = [json.loads(line) for line in (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert (tmp_path / "parts" / "step-0000006" / "adapter" / "adapter_config.json").exists() == bool(rank)
    whole = [json.loads(line)["loss"] for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in lines] == whole
    assert [path.name for path in sorted((tmp_path / "parts").glob("step-*"))] == ["step-0000006"]
    with pytest.raises(UserError, match="begun with another rate"):
        train_loop(
            Training(base_model.load(folder, MESH), replace(recipe, rate=0.5), MESH), mixture,
            tmp_path / "parts", CheckpointPolicy(),
        )  # fmt: skip


def test_ctrl_c_completes_the_step_and_saves_it(folder: Path, rows: TokenizedRows, tmp_path: Path) -> None:
    mixture = MixtureRows(tasks=[rows], weights={"words": 1.0})
    training = Training(base_model.load(folder, MESH), replace(SMALL, steps=3), MESH)
    program = training.program
    said: list[str] = []

    def pressed(*arguments: Any) -> Any:
        if training.done == 1:
            signal.raise_signal(signal.SIGINT)
        return program(*arguments)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored where the tests run
    try:
        for name, training.program in (("stopped", pressed), ("stopped", program), ("whole", program)):
            try:
                train_loop(training, mixture, tmp_path / name, CheckpointPolicy(every=3, log=1), say=said.append)
            except KeyboardInterrupt:
                assert said[-1] == f"interrupted: {tmp_path / 'stopped' / 'step-0000002'} is saved"
            else:
                assert training.done == 3
            training.restart()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert "taken up at step 2" in said
    one, other = (load_file(tmp_path / name / "step-0000003" / "model.safetensors") for name in ("whole", "stopped"))
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_an_evaluation_that_ctrl_c_ended_is_made_again(folder: Path, rows: TokenizedRows, tmp_path: Path) -> None:
    mixture = MixtureRows(tasks=[rows], weights={"words": 1.0})
    training = Training(base_model.load(folder, MESH), replace(SMALL, steps=3), MESH)
    measured: list[int] = []

    def evaluate(training: Training) -> dict[str, float]:
        measured.append(training.done)
        if measured in ([2], [2, 2, 3]):
            raise KeyboardInterrupt
        return {"words": 0.5 + training.done / 10}

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train_loop(
                training, mixture, tmp_path, CheckpointPolicy(every=3), evaluate=evaluate, evaluate_every=2,
                say=lambda _: None,
            )  # fmt: skip
        training.restart()
    train_loop(
        training, mixture, tmp_path, CheckpointPolicy(every=3), evaluate=evaluate, evaluate_every=2, say=lambda _: None
    )
    assert measured == [2, 2, 3, 3]  # after the last step, too
    lines = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert [line["step"] for line in lines if "eval" in line] == [2, 3]
    assert json.loads((tmp_path / "best" / "eval.json").read_text()) == {"step": 3, "mean": 0.8}


@pytest.mark.full
def test_it_learns(tmp_path: Path) -> None:
    # Which of two lines has an A in it; the base is random. Measured on other lines.
    wide = {"num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 128, "rope_scaling": None}
    base = base_model.load(checkpoint(tmp_path / "base", "llama3", **wide), MESH)
    task = replace(TASK, description="Choose.")
    found = []
    for name, count, seed in (("train", 2000, 0), ("test", 100, 1)):
        data = write_words(tmp_path / name, count, seed)
        kept = data / "rows"
        found.append(build(base.form, name, task, partial(examples, task, data), kept, max_input=256, max_target=4))
    recipe = Recipe(
        steps=250,
        batch=16,
        rate=2e-3,
        dropout=DROPOUT,
        schedule="cosine",
        warmup=20,
        max_input=256,
        max_target=4,
        clip=1.0,
    )
    training = Training(base, recipe, MESH)
    assert accuracy(training, found[1]) < 0.75
    mixture = MixtureRows(tasks=found[:1], weights={"words": 1.0})
    train_loop(training, mixture, tmp_path / "out", CheckpointPolicy(every=1000), say=lambda _: None)
    assert accuracy(training, found[1]) >= 0.95
