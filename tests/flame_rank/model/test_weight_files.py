"""Weights read and written as a Hugging Face directory, and what is said of a directory that is not whole."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_module import bag, by_name, empty, same, tensors

from flame_rank.model.weight_files import INDEX, WHOLE, WeightFiles, save
from flame_rank.model.weights import CONFIG, fill

DTYPES = [np.dtype(np.float32), np.dtype(np.float16), np.dtype(jnp.bfloat16)]


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
    ("names", "match"),
    [
        ([], "no weights: neither model.safetensors nor model.safetensors.index.json"),
        (["pytorch_model.bin"], "only safetensors are read; convert with transformers' save_pretrained"),
        (["consolidated.00.pth"], "consolidated.00.pth is a PyTorch file"),
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


def test_a_file_cut_after_it_was_opened_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "m", {}, tensors())
    files, file = WeightFiles.open(tmp_path / "m"), tmp_path / "m" / WHOLE
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(ValueError, match="has become shorter since it was opened"):
        fill(empty(), files)


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
