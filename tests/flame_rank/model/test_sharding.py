"""Where parameters live. Run as a script this file is the part that needs eight devices: jax must know their number
before it starts, so that part has a process of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AbstractMesh, AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from places import ROOT, SUPPORT

from flame_rank.model import sharding
from flame_rank.model.weight_files import WeightFiles, save
from flame_rank.model.weights import Stored, fill

HEAD = 4  # size of one attention head
LAYER = "model.layers.0."


class Weight(nnx.Module):
    def __init__(self, *shape: int) -> None:
        self.weight = nnx.Param(jnp.zeros(shape))


class Attention(nnx.Module):
    def __init__(self) -> None:
        self.q_proj, self.k_proj, self.o_proj = Weight(8 * HEAD, 6), Weight(2 * HEAD, 6), Weight(6, 8 * HEAD)


class Layer(nnx.Module):
    def __init__(self) -> None:
        self.self_attn, self.input_layernorm = Attention(), Weight(6)


class Model(nnx.Module):
    def __init__(self) -> None:
        self.embed_tokens, self.layers = Weight(10, 6), nnx.List([Layer()])


class Causal(nnx.Module):
    def __init__(self) -> None:
        self.model = Model()


class Counting(WeightFiles):
    """Counts how often each element is read."""

    def __init__(self, folder: Path, tensors: dict[str, Stored]) -> None:
        super().__init__(folder, tensors)
        self.times = {name: np.zeros(stored.shape, int) for name, stored in tensors.items()}

    def read(self, name: str, index: Any = None) -> Any:
        self.times[name][(*(index or ()), ...)] += 1
        return super().read(name, index)


def by_name(params: Any) -> dict[str, Any]:
    return {".".join(map(str, path)): leaf.get_value() for path, leaf in nnx.to_flat_state(params)}


def tensors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    params = nnx.split(nnx.eval_shape(Causal))[1]
    return {name: rng.standard_normal(leaf.shape).astype(np.float32) for name, leaf in by_name(params).items()}


def scores(params: Any, x: Any) -> Any:
    """[B, 6] -> [B, 10] through every tensor."""
    w = {name.removesuffix(".weight"): leaf for name, leaf in by_name(params).items()}
    attention = LAYER + "self_attn."
    x = x * w[LAYER + "input_layernorm"][None]
    q, k = x @ w[attention + "q_proj"].T, x @ w[attention + "k_proj"].T
    y = (q.reshape(-1, 4, 2 * HEAD) * k[:, None]).reshape(-1, 8 * HEAD)
    return jnp.tanh(y) @ w[attention + "o_proj"].T @ w["model.embed_tokens"].T


def mesh(data: int, model: int) -> Any:
    return AbstractMesh((data, model), ("data", "model"), axis_types=(AxisType.Auto,) * 2)


@pytest.mark.parametrize(
    ("name", "shape", "model", "expected"),
    [
        (LAYER + "self_attn.q_proj.weight", (32, 6), 8, ("model", None)),
        (LAYER + "self_attn.q_proj.bias", (32,), 8, ("model",)),
        (LAYER + "self_attn.q_proj.weight", (28, 6), 2, (None, None)),  # 7 heads
        (LAYER + "self_attn.k_proj.weight", (8, 6), 2, ("model", None)),
        (LAYER + "self_attn.k_proj.weight", (8, 6), 4, (None, None)),  # 2 heads: 8 rows, but not whole heads
        (LAYER + "self_attn.v_proj.bias", (8,), 4, (None,)),
        (LAYER + "self_attn.o_proj.weight", (6, 32), 8, (None, "model")),
        (LAYER + "self_attn.o_proj.weight", (6, 28), 2, (None, None)),  # as the queries
        (LAYER + "self_attn.q_norm.weight", (8,), 2, ()),
        (LAYER + "mlp.gate_proj.weight", (24, 6), 8, ("model", None)),
        (LAYER + "mlp.up_proj.weight", (24, 6), 8, ("model", None)),
        (LAYER + "mlp.up_proj.weight", (25, 6), 8, (None, None)),
        (LAYER + "mlp.down_proj.weight", (6, 24), 8, (None, "model")),
        (LAYER + "mlp.down_proj.weight", (8, 25), 8, (None, None)),
        (LAYER + "input_layernorm.weight", (8,), 8, ()),
        ("model.norm.weight", (8,), 8, ()),
        ("model.embed_tokens.weight", (64, 6), 8, ("model", None)),
        ("model.embed_tokens.weight", (63, 8), 8, (None, None)),
        ("lm_head.weight", (64, 6), 8, ("model", None)),
        ("shared.weight", (64, 6), 8, ("model", None)),
        ("encoder.embed_tokens.weight", (64, 6), 8, ("model", None)),
        ("encoder.block.0.layer.0.SelfAttention.q.weight", (32, 6), 8, ("model", None)),
        ("encoder.block.0.layer.0.SelfAttention.q.weight", (24, 6), 8, (None, None)),  # 6 heads
        ("decoder.block.0.layer.1.EncDecAttention.v.weight", (32, 6), 8, ("model", None)),
        ("decoder.block.0.layer.1.EncDecAttention.o.weight", (6, 32), 8, (None, "model")),
        ("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", (32, 8), 8, ()),
        ("encoder.block.0.layer.1.DenseReluDense.wi.weight", (24, 6), 8, ("model", None)),
        ("encoder.block.0.layer.1.DenseReluDense.wi_0.weight", (24, 6), 8, ("model", None)),
        ("encoder.block.0.layer.1.DenseReluDense.wi_1.weight", (24, 6), 8, ("model", None)),
        ("encoder.block.0.layer.1.DenseReluDense.wo.weight", (6, 24), 8, (None, "model")),
        ("encoder.block.0.layer.1.layer_norm.weight", (8,), 8, ()),
        ("anything.else", (64, 64), 8, ()),
    ],
)
def test_rules(name: str, shape: tuple[int, ...], model: int, expected: tuple[str | None, ...]) -> None:
    assert tuple(sharding.spec(name, shape, mesh(1, model), HEAD)) == expected
    assert "data" not in sharding.spec(name, shape, mesh(8, 1), HEAD)


def test_every_rule_is_needed() -> None:
    names = [case[0] for mark in test_rules.pytestmark for case in mark.args[1]]  # type: ignore[attr-defined]
    used = {next((i for i, (rule, _) in enumerate(sharding.RULES) if re.search(rule, n)), -1) for n in names}
    assert used == {-1, *range(len(sharding.RULES))}


def test_a_mesh_has_all_devices_or_says_why_not() -> None:
    one = sharding.mesh(devices=jax.devices()[:1])
    assert dict(one.shape) == {"data": 1, "model": 1} and set(one.axis_types) == {AxisType.Auto}
    for model in (0, 2, -1):
        with pytest.raises(ValueError, match=f"1 devices cannot be split into groups of {model}"):
            sharding.mesh(model, jax.devices()[:1])


def test_shardings_is_the_same_tree_and_leaves_the_shapes_alone() -> None:
    params = nnx.split(nnx.eval_shape(Causal))[1]
    places = sharding.shardings(params, sharding.mesh(devices=jax.devices()[:1]), HEAD)
    structure: Any = jax.tree.structure(params)
    assert jax.tree.structure(places) == structure
    assert all(isinstance(place, NamedSharding) for place in jax.tree.leaves(places))
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(params))


def test_eight_devices_give_what_one_gives(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", __file__, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(SUPPORT), str(ROOT)])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "2", "4", "8"]


def with_eight_devices(folder: Path) -> None:
    """Splits the model 1, 2, 4 and 8 ways and prints each that was as it should be."""
    jax.config.update("jax_num_cpu_devices", 8)
    assert len(jax.devices()) == 8
    stored = tensors()
    save(folder / "m", {}, stored, max_shard_bytes=500)
    x = np.random.default_rng(1).standard_normal((8, 6)).astype(np.float32)
    with jax.default_matmul_precision("highest"):
        alone = jax.jit(scores)(fill(nnx.split(nnx.eval_shape(Causal))[1], WeightFiles.open(folder / "m")), x)
        for ways in (1, 2, 4, 8):
            files = Counting.open(folder / "m")
            on = sharding.mesh(ways)
            assert dict(on.shape) == {"data": 8 // ways, "model": ways}
            params = nnx.split(nnx.eval_shape(Causal))[1]
            places = sharding.shardings(params, on, HEAD)
            filled = by_name(fill(params, files, shardings=places))
            attention = LAYER + "self_attn."
            keys = 2 // ways if ways <= 2 else 2  # heads on each device
            expected = {
                attention + "q_proj.weight": (8 // ways * HEAD, 6),
                attention + "k_proj.weight": (keys * HEAD, 6),
                attention + "o_proj.weight": (6, 8 // ways * HEAD),
                LAYER + "input_layernorm.weight": (6,),
                "model.embed_tokens.weight": (10 // ways if ways <= 2 else 10, 6),
            }
            assert filled.keys() == expected.keys()
            for name, array in filled.items():
                assert array.shape == stored[name].shape and len(array.addressable_shards) == 8
                for shard in array.addressable_shards:
                    assert shard.data.shape == expected[name], (name, shard.data.shape)
                    np.testing.assert_array_equal(shard.data, stored[name][shard.index])
                assert (files.times[name] == 1).all(), name  # however many devices hold it
            rows = jax.device_put(x, NamedSharding(on, P("data")))
            run = jax.jit(scores, in_shardings=(places, NamedSharding(on, P("data"))))
            np.testing.assert_allclose(run(params, rows), alone, rtol=0, atol=1e-5)
            save(folder / str(ways), {}, filled)
            back = WeightFiles.open(folder / str(ways))
            for name, array in filled.items():
                np.testing.assert_array_equal(back.read(name), stored[name])
                # jax keeps the host's copy of a split array: saving has left none.
                assert array._npy_value is None, name
            print(ways)


if __name__ == "__main__":
    with_eight_devices(Path(sys.argv[1]))
