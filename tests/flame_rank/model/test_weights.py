"""How the tensors of a checkpoint get into a module, and what is said of those that do not fit."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import SingleDeviceSharding
from small_module import bag, by_name, empty, entry, put, same, tensors

from flame_rank.model import weights
from flame_rank.model.weight_files import WHOLE, WeightFiles, save
from flame_rank.model.weights import canonical, fill

DTYPES = [np.dtype(np.float32), np.dtype(np.float16), np.dtype(jnp.bfloat16)]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_fill_keeps_bits_and_casts(tmp_path: Path, dtype: Any) -> None:
    whole = tensors(dtype)
    save(tmp_path / "m", {}, whole, max_shard_bytes=50)
    params = empty()
    assert fill(params, WeightFiles.open(tmp_path / "m"), dtype=dtype) is params
    for name, array in by_name(params).items():
        same(array, whole[name])
    for name, array in by_name(fill(empty(), WeightFiles.open(tmp_path / "m"), dtype=jnp.bfloat16)).items():
        same(array, whole[name].astype(jnp.bfloat16))


@pytest.mark.parametrize(
    ("stored", "ours"),
    [
        ("model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.weight"),
        ("language_model.model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.weight"),
        ("model.language_model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.weight"),
        ("language_model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.weight"),
        ("layers.0.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.weight"),
        ("model.language_model.embed_tokens.weight", "model.embed_tokens.weight"),
        ("embed_tokens.weight", "model.embed_tokens.weight"),
        ("norm.weight", "model.norm.weight"),
        ("language_model.lm_head.weight", "lm_head.weight"),
        ("lm_head.weight", "lm_head.weight"),
        ("shared.weight", "shared.weight"),
        ("encoder.embed_tokens.weight", "encoder.embed_tokens.weight"),
        ("encoder.block.0.layer.0.layer_norm.weight", "encoder.block.0.layer.0.layer_norm.weight"),
        ("model.encoder.layers.0.fc1.weight", "model.encoder.layers.0.fc1.weight"),
        ("normaliser.weight", "normaliser.weight"),
    ],
)
def test_canonical_names(stored: str, ours: str) -> None:
    assert canonical([stored]) == {ours: stored}
    assert canonical([ours]) == {ours: ours}  # what is saved under our names keeps them


def test_canonical_leaves_vision_out_and_refuses_two_of_a_name() -> None:
    vision = ["vision_tower.layers.0.weight", "model.vision_tower.norm.weight", "multi_modal_projector.w"]
    assert canonical([*vision, "model.norm.weight"]) == {"model.norm.weight": "model.norm.weight"}
    with pytest.raises(
        ValueError, match=r"model\.norm\.weight and language_model\.model\.norm\.weight have the same name"
    ):
        canonical(["model.norm.weight", "language_model.model.norm.weight"])


@pytest.mark.parametrize("prefix", ["", "language_model.model.", "model.language_model."])
def test_fill_reads_other_prefixes(tmp_path: Path, prefix: str) -> None:
    whole = tensors()
    renamed = {prefix + name.removeprefix("model."): array for name, array in whole.items()}
    save(tmp_path / "m", {}, renamed | {"vision_tower.w": np.zeros(3, np.float16)})
    for name, array in by_name(fill(empty(), WeightFiles.open(tmp_path / "m"))).items():
        same(array, whole[name])


def refused(folder: Path, match: str, **how: Any) -> None:
    """`fill` says this in one line and has read nothing."""
    params = empty()
    with pytest.raises(ValueError, match=match) as caught:
        fill(params, WeightFiles.open(folder), **how)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in by_name(params).values())


def test_fill_says_what_does_not_fit(tmp_path: Path) -> None:
    whole = tensors()
    bias, weight = "model.layers.1.bias", "model.layers.0.weight"
    lacking = {name: array for name, array in whole.items() if name != bias}
    save(tmp_path / "lacking", {}, lacking)
    refused(tmp_path / "lacking", r"no tensor model\.layers\.1\.bias, which config\.json asks for$")
    save(tmp_path / "other", {}, lacking | {weight: whole[weight].T})
    refused(tmp_path / "other", r"layers\.1\.bias, which config\.json asks for \(and 1 more that do not fit\)$")
    save(tmp_path / "shape", {}, whole | {weight: whole[weight].T})
    refused(tmp_path / "shape", r"layers\.0\.weight has shape \(5, 3\), config\.json asks for \(3, 5\)$")


def test_an_unknown_tensor_is_refused_unless_it_is_to_be_ignored(tmp_path: Path) -> None:
    more = {"model.layers.0.rotary_emb.inv_freq": np.ones(2, np.float32), "lm_head.weight": np.ones(2, np.float32)}
    save(tmp_path / "m", {}, tensors() | more)
    ignore = ["*.rotary_emb.inv_freq", "lm_head.weight"]
    fill(empty(), WeightFiles.open(tmp_path / "m"), ignore=ignore)
    refused(tmp_path / "m", r"lm_head\.weight is unknown to the model", ignore=ignore[:1])
    refused(tmp_path / "m", r"inv_freq is unknown to the model of config\.json \(and 1 more", ignore=[])
    fill(empty(), WeightFiles.open(tmp_path / "m"), ignore=["*"])  # what the model has is never ignored


@pytest.mark.parametrize("dtype", ["I8", "F8_E4M3", "I32", "F64", "U8", "BOOL", "F3"])
def test_a_dtype_that_is_not_read_is_named(tmp_path: Path, dtype: str) -> None:
    put(tmp_path / "m", {"model.norm.weight": entry([3], 0, 3, dtype), "other": entry([1], 3, 7)}, bytes(7))
    refused(tmp_path / "m", rf"model\.norm\.weight is {dtype}; only F32, F16 and BF16 .*\(and \d more")
    files = WeightFiles.open(tmp_path / "m")
    assert files["model.norm.weight"].dtype == dtype  # listed all the same
    with pytest.raises(ValueError, match=f"{re.escape(str(tmp_path / 'm' / WHOLE))}: model.norm.weight is {dtype}"):
        files.read("model.norm.weight")
    # An ignored mask may be of any dtype.
    params = bag({"other": np.zeros(1)})
    assert by_name(fill(params, files, ignore=["*.norm.weight"]))["other"].shape == (1,)


class Counting(WeightFiles):
    """Notes what is read."""

    def __init__(self, folder: Path, tensors: Mapping[str, weights.Stored]):
        super().__init__(folder, tensors)
        self.read_parts: list[tuple[str, Any]] = []

    def read(self, name: str, index: Any = None) -> Any:
        self.read_parts.append((name, str(index)))
        return super().read(name, index)


def test_every_tensor_is_read_once(tmp_path: Path) -> None:
    save(tmp_path / "m", {}, tensors(), max_shard_bytes=64)
    files = Counting.open(tmp_path / "m")
    place = SingleDeviceSharding(jax.devices()[0])
    places = jax.tree.map(lambda leaf: place, empty())
    filled = by_name(fill(empty(), files, shardings=places))
    assert sorted(name for name, _ in files.read_parts) == sorted(filled)
    assert all(array.sharding == place for array in filled.values())
