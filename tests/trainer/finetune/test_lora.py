"""Adapters begin as nothing, merge, and are saved as PEFT reads them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file
from small_training import MESH, SMALL, checkpoint, flat, fresh, some, sums_of

import flame_rank
from flame_rank.errors import UserError
from trainer.finetune import base_model, lora
from trainer.finetune.step import collate
from trainer.finetune.tokenized_rows import TokenizedRows
from trainer.finetune.training import Training


def test_adapters_change_nothing_at_first_and_merge(base: base_model.Base, rows: TokenizedRows, tmp_path: Path) -> None:
    training = Training(fresh(base), replace(SMALL, lora=4), MESH)
    before, after = flat(base.params), flat(training.params())
    assert all(np.array_equal(value, after[name]) for name, value in before.items())
    for k in range(3):
        training.step(some(rows, *range(k, k + 8)))
    frozen = flat(training.frozen)
    assert all(np.array_equal(value, frozen[name]) for name, value in before.items())
    training.base.save(training.params(), tmp_path / "merged")
    judge, other = flame_rank.load_judge(tmp_path / "merged"), base_model.load(tmp_path / "merged", MESH)
    assert judge.name.startswith("llama:")
    batch = jax.tree.map(lambda x: x[0], collate(some(rows, 0, 1, 2), 1, joined=True))

    def apart(x: jax.Array, weight: Any, own: dict[str, jax.Array]) -> jax.Array:
        return x @ jnp.asarray(weight).T + lora.ALPHA * (x @ own["A"].T) @ own["B"].T

    name = "model.layers.0.mlp.up_proj.weight"
    own, x = training.state.trained[name], jax.random.normal(jax.random.key(0), (3, 32))
    np.testing.assert_allclose(apart(x, frozen[name], own), x @ flat(other.params)[name].T, atol=1e-5)
    one, two = (float(sums_of(base.graph, p, batch).loss) for p in (training.params(), other.params))
    assert one == pytest.approx(two, rel=1e-5)
    lora.save_peft(training.state.trained, str(base.path), tmp_path / "adapter")
    said = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert said["r"] == 4 and said["lora_alpha"] == 8 and "up_proj" in said["target_modules"]
    stored = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    np.testing.assert_array_equal(stored["base_model.model.model.layers.0.mlp.up_proj.lora_A.weight"], own["A"])
    asked = [(flame_rank.Problem(prompt="first", candidates=["item A sum", "item B sum"]), np.array([[0, 1]]))]
    adapted, own_base = (flame_rank.load_judge(place).judge(asked)[0] for place in (tmp_path / "adapter", base.path))
    assert adapted == pytest.approx(judge.judge(asked)[0], abs=1e-5) and abs(adapted - own_base) > 1e-3
    with pytest.raises(UserError, match="it is an adapter; merge it into its base"):
        base_model.load(tmp_path / "adapter", MESH)


def test_adapters_of_upper_layers_say_which(tmp_path: Path) -> None:
    base = base_model.load(checkpoint(tmp_path / "base", num_hidden_layers=2), MESH)
    for freeze, layers in ((0, None), (1, [1])):
        adapters = lora.start(base.params, 2, 0, freeze=freeze)
        lora.save_peft(adapters, "base", tmp_path / str(freeze))
        said = json.loads((tmp_path / str(freeze) / "adapter_config.json").read_text())
        assert said["layers_to_transform"] == layers
        assert {int(name.split(".")[2]) for name in adapters} == {*range(freeze, 2)}
