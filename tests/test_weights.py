"""Weights read and written as a Hugging Face directory, and what is said of a directory that is not whole."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import SingleDeviceSharding

from flame_rank.model import weights
from flame_rank.model.layers import Linear, RMSNorm
from flame_rank.model.weights import CONFIG, INDEX, WHOLE, WeightFiles, canonical, fill, save

DTYPES = [np.dtype(np.float32), np.dtype(np.float16), np.dtype(jnp.bfloat16)]


class Small(nnx.Module):
    """Two layers under names as a decoder has them."""

    def __init__(self) -> None:
        self.layers = nnx.List([Linear(3, 5, nnx.Rngs(0)), Linear(2, 3, nnx.Rngs(1))])
        self.norm = RMSNorm(3, 1e-12)


class Causal(nnx.Module):
    def __init__(self) -> None:
        self.model = Small()


def empty() -> Any:
    """Shapes only."""
    return nnx.split(nnx.eval_shape(Causal))[1]


def by_name(params: Any) -> dict[str, Any]:
    return {".".join(map(str, path)): leaf.get_value() for path, leaf in nnx.to_flat_state(params)}


def tensors(dtype: Any = np.float32) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(leaf.shape).astype(dtype) for name, leaf in by_name(empty()).items()}


def bag(arrays: Mapping[str, np.ndarray]) -> Any:
    """The state of a module whose parameters have these names and shapes."""
    module = nnx.Module()
    for name, array in arrays.items():
        setattr(module, name, nnx.Param(jax.ShapeDtypeStruct(array.shape, np.float32)))
    return nnx.split(module)[1]


def same(found: Any, expected: Any) -> None:
    """Bit for bit, so that -0 and NaN count too."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.tobytes() == expected.tobytes()


def put(folder: Path, header: Any, data: bytes = b"", name: str = WHOLE) -> Path:
    """Writes a file with a header as given."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(len(raw).to_bytes(8, "little") + raw + data)
    return folder / name


def entry(shape: list[int], begin: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@st.composite
def arrays(draw: st.DrawFn) -> dict[str, np.ndarray]:
    found = {}
    for i in range(draw(st.integers(1, 6))):
        shape = draw(st.lists(st.integers(0, 5), max_size=3))
        dtype = draw(st.sampled_from(DTYPES))
        bits = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).bytes(int(np.prod(shape)) * dtype.itemsize)
        found[f"w{i}"] = np.frombuffer(bits, dtype).reshape(shape)  # any bits: subnormal, infinite, NaN
    return found


@given(arrays=arrays(), limit=st.sampled_from([1, 40, 200, 10**9]))
@settings(deadline=None, max_examples=60)
def test_what_is_saved_is_read(
    tmp_path_factory: pytest.TempPathFactory, arrays: dict[str, np.ndarray], limit: int
) -> None:
    folder = tmp_path_factory.mktemp("weights") / "saved"
    save(folder, {"model_type": "none"}, arrays, max_shard_bytes=limit)
    files = WeightFiles.open(folder)
    assert files.keys() == arrays.keys()
    for name, array in arrays.items():
        assert files[name].shape == array.shape and files[name].end - files[name].begin == array.nbytes
        assert files[name].begin % array.dtype.itemsize == 0
        same(files.read(name), array)
    shards = list(folder.glob("*.safetensors"))
    assert (folder / INDEX).exists() == (len(shards) > 1) != (folder / WHOLE).exists()
    for shard in shards:
        held = [a.nbytes for name, a in arrays.items() if files[name].file == shard]
        assert sum(held) <= limit or len([n for n in held if n]) == 1
    with np.errstate(all="ignore"):  # NaN and infinity go through casts here
        filled = by_name(fill(bag(arrays), files, dtype=np.float32))
        for name, array in arrays.items():
            np.testing.assert_array_equal(filled[name], array.astype(np.float32))
            assert isinstance(filled[name], jax.Array)


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


def test_what_was_filled_outlives_the_file(tmp_path: Path) -> None:
    whole = tensors()
    save(tmp_path / "m", {}, whole)
    filled = by_name(fill(empty(), WeightFiles.open(tmp_path / "m")))
    size = (tmp_path / "m" / WHOLE).stat().st_size
    with (tmp_path / "m" / WHOLE).open("r+b") as stream:
        stream.write(b"\xff" * size)  # in place, under any view
    for name, array in filled.items():
        same(array, whole[name])


def test_open_reads_no_weight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "m", {}, tensors())

    def fail(*args: object) -> None:
        raise AssertionError("a weight was read")

    monkeypatch.setattr(np, "memmap", fail)
    files = WeightFiles.open(tmp_path / "m")
    with pytest.raises(ValueError, match="no tensor"):
        fill(bag({"w": np.zeros(2)}), files, ignore=["*"])


def test_a_transposed_array_is_saved_as_it_reads(tmp_path: Path) -> None:
    matrix = np.arange(12, dtype=jnp.bfloat16).reshape(3, 4).T
    assert not matrix.flags.c_contiguous
    save(tmp_path / "m", {}, {"w": matrix, "x": matrix[::2], "y": jnp.asarray(matrix)})
    files = WeightFiles.open(tmp_path / "m")
    same(files.read("w"), matrix)
    same(files.read("x"), matrix[::2])
    same(files.read("y"), matrix)
    same(files.read("w", (slice(1, 3), slice(None))), matrix[1:3])


def test_save_writes_a_directory(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    whole, config = tensors(), {"tie_word_embeddings": True, "model_type": "llama"}
    with_head = whole | {"lm_head.weight": np.ones((2, 2), np.float32)}
    save(tmp_path / "a" / "m", config, with_head, max_shard_bytes=64, extra_files=[tmp_path / "tokenizer.json"])
    folder = tmp_path / "a" / "m"
    names = sorted(file.name for file in folder.iterdir())
    index = json.loads((folder / INDEX).read_text())
    shards = sorted(set(index["weight_map"].values()))
    assert names == sorted([CONFIG, INDEX, "tokenizer.json", *shards])
    assert shards[0] == f"model-00001-of-{len(shards):05}.safetensors"
    assert index["weight_map"].keys() == whole.keys()
    assert index["metadata"]["total_size"] == sum(array.nbytes for array in whole.values())
    assert json.loads((folder / CONFIG).read_text()) == config
    assert [file.name for file in folder.parent.iterdir()] == ["m"]
    save(tmp_path / "untied", {"tie_word_embeddings": False}, with_head)
    assert "lm_head.weight" in WeightFiles.open(tmp_path / "untied")


def test_the_format_is_that_of_the_library(tmp_path: Path) -> None:
    from safetensors import safe_open

    whole = {name: array.astype(DTYPES[i % 2]) for i, (name, array) in enumerate(tensors().items())}
    save(tmp_path / "m", {}, whole)
    with safe_open(tmp_path / "m" / WHOLE, "numpy") as file:
        assert file.metadata() == {"format": "pt"} and set(file.keys()) == whole.keys()
        for name, array in whole.items():
            same(file.get_tensor(name), array)


def test_save_refuses_what_is_there_and_what_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    with pytest.raises(ValueError, match="m: already there"):
        save(tmp_path / "m", {}, tensors())
    with pytest.raises(ValueError, match="n: w is int8; only float32"):
        save(tmp_path / "n", {}, {"w": np.ones(2, np.int8)})
    assert [file.name for file in tmp_path.iterdir()] == ["m"]


def test_a_save_that_was_broken_off_is_not_in_the_way(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        save(tmp_path / "m", {}, tensors(), extra_files=[tmp_path / "nowhere"])
    assert not (tmp_path / "m").exists()
    (tmp_path / "m.part" / WHOLE).write_bytes(b"stale")  # would count before the shards
    save(tmp_path / "m", {}, tensors(), max_shard_bytes=10)
    assert not (tmp_path / "m" / WHOLE).exists() and not (tmp_path / "m.part").exists()
    assert WeightFiles.open(tmp_path / "m").keys() == tensors().keys()


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
    with pytest.raises(ValueError, match=r"model\.norm\.weight and language_model\.model\.norm\.weight are both"):
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
    filled = by_name(fill(empty(), WeightFiles.open(tmp_path / "lacking"), missing=frozenset({bias})))
    assert isinstance(filled[bias], jax.ShapeDtypeStruct) and isinstance(filled[weight], jax.Array)


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


@pytest.mark.parametrize(
    ("names", "match"),
    [
        ([], "no weights: neither model.safetensors nor model.safetensors.index.json"),
        (["pytorch_model.bin"], "only safetensors are read; convert with transformers' save_pretrained"),
        (["consolidated.00.pth"], "consolidated.00.pth is a PyTorch file"),
        (["adapter_config.json", "adapter_model.safetensors"], "an adapter, not a model; merge"),
    ],
)
def test_a_folder_without_weights(tmp_path: Path, names: list[str], match: str) -> None:
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=match) as caught:
        WeightFiles.open(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_a_missing_folder_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="none"):
        WeightFiles.open(tmp_path / "none")


def sharded(folder: Path) -> dict[str, str]:
    save(folder, {}, tensors(), max_shard_bytes=64)
    found: dict[str, str] = json.loads((folder / INDEX).read_text())["weight_map"]
    assert len(set(found.values())) > 2
    return found


def test_index_and_shards_must_agree(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    places = sharded(folder)
    name, shard = next(iter(places.items()))

    def opened(match: str, weight_map: Any, file: str) -> None:
        raw = weight_map if isinstance(weight_map, str) else json.dumps({"weight_map": weight_map})
        (folder / INDEX).write_text(raw)
        with pytest.raises(ValueError, match=match) as caught:
            WeightFiles.open(folder)
        assert str(folder / file) in str(caught.value) and "\n" not in str(caught.value)

    opened(f"lacks more, which {INDEX} places there", places | {"more": shard}, shard)
    unlisted = {n: s for n, s in places.items() if n != "model.norm.weight"}
    opened(f"holds model.norm.weight, which {INDEX} does not name", unlisted, places["model.norm.weight"])
    opened("is not in this folder", places | {name: "../elsewhere.safetensors"}, INDEX)
    opened("is not in this folder", places | {name: str(tmp_path / "elsewhere.safetensors")}, INDEX)
    opened("is not in this folder", places | {name: ""}, INDEX)
    for raw in ("", "[]", "{}", '{"weight_map": {"a": 1}}', '{"weight_map": ', "[" * 100_000):
        opened("not an index of shards", raw, INDEX)
    (folder / INDEX).write_text(json.dumps({"weight_map": places}))
    WeightFiles.open(folder)
    (folder / shard).unlink()
    opened(f"missing, although {INDEX} names it", places, shard)


@pytest.mark.parametrize(
    ("header", "match"),
    [
        (b"not JSON", "the header is not that of a safetensors file"),
        (b"[]", "the header is not that of a safetensors file"),
        (b'{"a": 1}', "the header is not that of a safetensors file"),
        (b'{"a":' + b"[" * 100_000, "the header is not that of a safetensors file"),
        (b'{"a\xff": {}}', "the header is not that of a safetensors file"),
        ({"a": {"dtype": "F32", "shape": [2]}}, "the header is not that of a safetensors file"),
        ({"a": entry([-2], 0, 8)}, "the header is not that of a safetensors file"),
        ({"a": entry([2], -8, 0)}, "the header is not that of a safetensors file"),
        ({"a": entry([2], 8, 0)}, "a is at bytes 8 to 0"),
        ({"a": entry([2], 4, 12)}, "a is at bytes 4 to 12 of the weights, expected from 0 on"),
        ({"a": entry([2], 0, 8), "b": entry([2], 4, 12)}, "b is at bytes 4 to 12 of the weights, expected from 8 on"),
        ({"a": entry([3], 0, 8)}, r"a, F32 \[3\], does not fill its 8 bytes"),
        ({"a": entry([2], 0, 8), "b": entry([0], 8, 4)}, "b is at bytes 8 to 4"),
        ({"a": entry([2**70], 0, 2**72)}, "its header describes|is not that of a safetensors file"),
        ({"a": entry([1], 0, 4)}, "download it again"),
        ({"a": entry([4], 0, 16)}, "download it again"),
    ],
)
def test_a_header_that_does_not_fit_its_file(tmp_path: Path, header: Any, match: str) -> None:
    file = put(tmp_path, header, bytes(8))
    with pytest.raises(ValueError, match=match) as caught:
        WeightFiles.open(tmp_path)
    assert str(file) in str(caught.value) and len(str(caught.value)) < 400


def test_a_pointer_of_git_lfs_is_told_from_weights(tmp_path: Path) -> None:
    (tmp_path / WHOLE).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(ValueError, match="git lfs pull"):
        WeightFiles.open(tmp_path)


def test_a_file_cut_at_any_byte_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "m", {}, {"a": np.ones((3, 2), np.float32), "b": np.ones(3, jnp.bfloat16)})
    whole = (tmp_path / "m" / WHOLE).read_bytes()
    for data in (*(whole[:length] for length in range(len(whole))), whole + b"\0"):
        (tmp_path / "m" / WHOLE).write_bytes(data)
        with pytest.raises(ValueError) as caught:
            WeightFiles.open(tmp_path / "m")
        assert str(tmp_path / "m" / WHOLE) in str(caught.value)


def test_a_file_cut_after_it_was_opened_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "m", {}, tensors())
    files, file = WeightFiles.open(tmp_path / "m"), tmp_path / "m" / WHOLE
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(ValueError, match="has become shorter since it was opened"):
        fill(empty(), files)


def test_any_wrong_byte_in_the_header_is_refused_or_without_effect(tmp_path: Path) -> None:
    stored = {"alpha": np.arange(6, dtype=np.float32).reshape(3, 2), "beta": np.arange(3, dtype=jnp.bfloat16)}
    save(tmp_path / "m", {}, stored)
    file = tmp_path / "m" / WHOLE
    whole = file.read_bytes()
    length = 8 + int.from_bytes(whole[:8], "little")
    accepted = 0
    for at in range(length):
        for wrong in {whole[at] ^ (1 << bit) for bit in range(8)} | set(b'0129 ,:"[]{}\\FAx\0\xff'):
            if wrong == whole[at]:
                continue
            file.write_bytes(whole[:at] + bytes([wrong]) + whole[at + 1 :])
            try:
                filled = by_name(fill(bag(stored), WeightFiles.open(tmp_path / "m")))
            except (OSError, ValueError) as error:
                assert str(tmp_path / "m") in str(error)
                continue
            accepted += 1  # white space, or the metadata
            for name, array in stored.items():
                np.testing.assert_array_equal(filled[name], array.astype(np.float32))
    assert 0 < accepted < length * 10


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


LLAMA = {
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


@pytest.mark.full
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_transformers_reads_what_is_saved_and_writes_what_is_read(tmp_path: Path, tied: bool, dtype: str) -> None:
    torch = pytest.importorskip("torch", reason="the live comparison needs PyTorch")
    transformers = pytest.importorskip("transformers", reason="the live comparison needs transformers")
    config = transformers.LlamaConfig(**LLAMA, tie_word_embeddings=tied)
    model = transformers.LlamaForCausalLM(config).to(getattr(torch, dtype))
    model.save_pretrained(tmp_path / "theirs", max_shard_size="3KB")
    assert len(list((tmp_path / "theirs").glob("*.safetensors"))) > 2
    files = WeightFiles.open(tmp_path / "theirs")
    state = {name: tensor for name, tensor in model.state_dict().items() if not (tied and name == "lm_head.weight")}
    assert files.keys() == state.keys()
    for name, tensor in state.items():
        assert files.read(name).astype(np.float32).tobytes() == tensor.float().numpy().tobytes()
    ours = {name: jnp.asarray(files.read(name)) for name in files}
    if tied:
        ours["lm_head.weight"] = ours["model.embed_tokens.weight"]
    save(tmp_path / "ours", json.loads((tmp_path / "theirs" / CONFIG).read_text()), ours, max_shard_bytes=3000)
    back, info = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(info.values())
    found = back.state_dict()
    assert found.keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor)
