"""A step does not depend on how it is divided, and touches only what is trained."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from places import ROOT, SUPPORT
from small_training import MESH, SMALL, checkpoint, flat, fresh, some, write_words

from flame_rank.errors import UserError
from trainer.finetune import base_model
from trainer.finetune.step import collate
from trainer.finetune.tokenized_rows import Row, TokenizedRows
from trainer.finetune.training import Training


@pytest.mark.parametrize(("rank", "share"), [(0, 1), (0, 2), pytest.param(4, 1, marks=pytest.mark.full)])
def test_parts_of_a_batch_give_the_whole(rank: int, share: int, base: base_model.Base, rows: TokenizedRows) -> None:
    found = []
    for parts in (1, 4):
        recipe = replace(SMALL, accumulate=parts, lora=rank, share=share, dropout=0.1)
        training = Training(fresh(base), recipe, MESH)
        values = [float(training.step(some(rows, *range(k, k + 8))).loss) for k in range(3)]
        found.append((values, flat(training.params())))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-5)
    for name, value in found[0][1].items():
        np.testing.assert_allclose(value, found[1][1][name], atol=2e-4, err_msg=name)


@pytest.mark.full
def test_frozen_layers_stay_and_the_others_go_as_without(tmp_path: Path, rows: TokenizedRows) -> None:
    base = base_model.load(checkpoint(tmp_path / "base", num_hidden_layers=2), MESH)
    found = {}
    for freeze in (0, 1):
        training = Training(fresh(base), replace(SMALL, freeze=freeze), MESH)
        found[freeze] = float(training.step(some(rows, *range(8))).loss), flat(training.params())
    before = flat(base.params)
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    for name, value in found[1][1].items():
        if "embed_tokens" in name or ".layers.0." in name:
            np.testing.assert_array_equal(value, before[name], err_msg=name)
        else:
            assert not np.array_equal(value, before[name]), name
            np.testing.assert_allclose(value, found[0][1][name], atol=1e-4, err_msg=name)
    training.save(tmp_path / "saved")
    again = Training(fresh(base), training.recipe, MESH)
    again.restore(tmp_path / "saved")
    more = [float(one.step(some(rows, *range(8, 16))).loss) for one in (training, again)]
    assert more[0] == more[1] and again.done == training.done
    with pytest.raises(UserError, match=r"--freeze 2: .* this model has 2"):
        Training(base, replace(SMALL, freeze=2), MESH)


def test_no_gradient_is_computed_for_what_is_not_trained(tmp_path: Path, rows: TokenizedRows) -> None:
    # 1 part forward, 1 for the gradient of what goes into a matrix, 1 for that of the matrix itself.
    sizes: dict[str, Any] = {"num_hidden_layers": 4, "hidden_size": 64, "intermediate_size": 256}
    base = base_model.load(checkpoint(tmp_path / "base", **sizes), MESH)
    found = {}
    for name, lora_rank, freeze in (("all", 0, 0), ("upper", 0, 2), ("adapters", 1, 0), ("some", 1, 2)):
        training = Training(fresh(base), replace(SMALL, lora=lora_rank, freeze=freeze), MESH)
        batch = collate(some(rows, *range(8)), 1, joined=True)
        lowered = training.program.lower(training.state, training.frozen, batch, jax.random.key(0), 1e-3)
        found[name] = lowered.cost_analysis()["flops"]
    assert found["upper"] < 0.75 * found["all"] and found["adapters"] < 0.85 * found["all"]
    assert found["some"] < 0.85 * found["adapters"]


def test_runs_of_another_length_and_rate_use_the_same_programs(base: base_model.Base, rows: TokenizedRows) -> None:
    batch = collate(some(rows, *range(8)), 1, joined=True)

    def program(**options: Any) -> str:
        training = Training(fresh(base), replace(SMALL, schedule="linear", **options), MESH)
        text: str = training.program.lower(training.state, training.frozen, batch, jax.random.key(0), 1e-3).as_text()
        return text

    one = program(steps=10, rate=1e-3, warmup=2)
    assert one == program(steps=20, rate=1e-4, warmup=0) != program(steps=10, rate=1e-3, warmup=2, clip=1.0)


def test_the_first_step_of_adam_moves_every_weight_by_the_rate(base: base_model.Base, rows: TokenizedRows) -> None:
    training = Training(fresh(base), replace(SMALL, rate=1e-3, dropout=0.0), MESH)
    before = flat(base.params)
    training.step(some(rows, *range(8)))
    moved = {name: np.abs(value - before[name]) for name, value in flat(training.params()).items()}
    most = max(float(value.max()) for value in moved.values())
    assert most == pytest.approx(1e-3, rel=1e-2) and all(value.max() > 9e-4 for value in moved.values())


@pytest.mark.full
def test_t5_learns(tmp_path: Path) -> None:
    base = base_model.load(checkpoint(tmp_path / "t5", "t5"), MESH)
    ids = ([5, 6, 7], [8, 1]), ([9], [4, 3, 1])
    examples = [Row(np.array(of_input, np.int32), np.array(target, np.int32)) for of_input, target in ids]
    training = Training(base, replace(SMALL, batch=2), MESH)
    values = [float(training.step(examples).loss) for _ in range(30)]
    assert values[-1] < values[0] / 2


@pytest.mark.full
def test_layers_that_are_computed_again_give_the_same(base: base_model.Base, rows: TokenizedRows) -> None:
    found = []
    for recompute in (False, True):
        training = Training(fresh(base), replace(SMALL, recompute=recompute), MESH)
        found.append([float(training.step(some(rows, *range(k, k + 8))).loss) for k in range(3)])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


@pytest.mark.full
def test_every_program_lowers_for_every_platform(base: base_model.Base, rows: TokenizedRows, tmp_path: Path) -> None:
    for made, recipe in (
        (base, replace(SMALL, dtype="bfloat16", recompute=True, accumulate=2)),
        (base, replace(SMALL, lora=4)),
        (base_model.load(checkpoint(tmp_path / "t5", "t5"), MESH), SMALL),
    ):
        training = Training(fresh(made), recipe, MESH)
        batch = collate(some(rows, *range(8)), recipe.accumulate or 1, joined=made.joined)
        arguments = training.state, training.frozen, batch, jax.random.key(0), 1e-3
        exported = jax.export.export(training.program, platforms=["tpu", "cuda", "cpu"])(*arguments)
        assert exported.platforms == ("tpu", "cuda", "cpu")


PROGRAM = """
import json, sys
import jax
jax.config.update("jax_num_cpu_devices", 8)
from dataclasses import replace
from itertools import product
from pathlib import Path
from small_training import SMALL, TASK, some

from flame_rank.model import sharding
from trainer.collection.examples import examples
from trainer.finetune import base_model
from trainer.finetune.tokenized_rows import build
from trainer.finetune.training import Training

folder, data = map(Path, sys.argv[1:])
found = []
for share, (devices, model) in product((1, 2), ((1, 1), (8, 1), (8, 2))):
    mesh = sharding.mesh(model, jax.devices()[:devices])
    base = base_model.load(folder, mesh)
    rows = build(base.form, "i", TASK, lambda: examples(TASK, data), data / "rows", max_input=256, max_target=8)
    training = Training(base, replace(SMALL, dropout=0.1, rate=1e-3, share=share), mesh)
    found.append([float(training.step(some(rows, *range(k, k + 8))).loss) for k in range(20)])
print(json.dumps(found))
"""


@pytest.mark.full
def test_eight_devices_train_as_one_does(folder: Path, tmp_path: Path) -> None:
    data = write_words(tmp_path, 64)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SUPPORT), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), str(data)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    for one, *others in (found[:3], found[3:]):
        for other in others:
            np.testing.assert_allclose(other, one, rtol=1e-5)
