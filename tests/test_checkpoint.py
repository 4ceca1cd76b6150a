"""Weights on disk: what int8 costs, and what is said of a file that is not whole."""

from pathlib import Path

import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from flame_rank.model import checkpoint
from flame_rank.model.encoder import LayerNorm, Linear


class Small(nnx.Module):
    """A matrix, a bias, and the two vectors of a norm."""

    def __init__(self) -> None:
        self.dense = Linear(3, 5, nnx.Rngs(0))
        self.norm = LayerNorm(3, 1e-12)


def tensors() -> dict[str, np.ndarray]:
    return checkpoint.to_tensors(nnx.split(Small())[1])


@given(seed=st.integers(0, 2**32 - 1), spread=st.floats(0, 6))
@settings(deadline=None, max_examples=20)
def test_int8_is_off_by_half_a_step_at_most(tmp_path_factory: pytest.TempPathFactory, seed: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    sizes = 10 ** rng.uniform(-spread, spread, (7, 1))  # rows of very different sizes keep a scale each
    matrix = (sizes * rng.standard_normal((7, 11))).astype(np.float32)
    matrix[3] = 0
    path = tmp_path_factory.mktemp("int8") / "w.safetensors"
    stored = checkpoint.quantise({"w": matrix})
    checkpoint.save(stored, path)
    back = checkpoint.load(path)
    scale = stored["w" + checkpoint.SCALE]
    assert stored["w"].dtype == np.int8 and list(back) == ["w"] and back["w"].dtype == np.float32
    assert (np.abs(stored["w"]).max(1)[matrix.any(1)] == 127).all()
    assert (np.abs(back["w"] - matrix) <= scale[:, None] * (0.5 + 1e-4)).all()
    assert (back["w"][3] == 0).all()


def test_what_is_no_matrix_stays_whole(tmp_path: Path) -> None:
    checkpoint.save(checkpoint.quantise(tensors()), tmp_path / "w")
    stored, back = load_file(tmp_path / "w"), checkpoint.load(tmp_path / "w")
    assert sorted(stored) == ["dense.bias", "dense.weight", "dense.weight.scale", "norm.bias", "norm.weight"]
    assert back.keys() == tensors().keys()
    head = np.array([[0.1, 0.2, -0.3]], np.float32)  # the quality head: one row, and every quality hangs on it
    assert checkpoint.quantise({"head": head})["head"].dtype == np.float32


def test_a_transposed_array_is_saved_as_it_reads(tmp_path: Path) -> None:
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3).T
    assert not matrix.flags.c_contiguous
    checkpoint.save({"w": matrix, "every other": matrix[::2]}, tmp_path / "w")
    back = checkpoint.load(tmp_path / "w")
    np.testing.assert_array_equal(back["w"], matrix)
    np.testing.assert_array_equal(back["every other"], matrix[::2])


@pytest.mark.parametrize("length", [0, 4, 40, -1])
def test_a_file_that_is_not_whole_is_named(tmp_path: Path, length: int) -> None:
    path = tmp_path / "w.safetensors"
    checkpoint.save(tensors(), path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match="not a whole safetensors file") as caught:
        checkpoint.load(path)
    assert str(path) in str(caught.value)


def test_int8_without_its_scale_is_an_error(tmp_path: Path) -> None:
    save_file({"w": np.ones((2, 3), np.int8)}, tmp_path / "w")
    with pytest.raises(ValueError, match=r"w: w is int8 and has no w\.scale"):
        checkpoint.load(tmp_path / "w")


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="none"):
        checkpoint.load(tmp_path / "none")


def test_a_save_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.safetensors"
    checkpoint.save({"w": np.zeros(2, np.float32)}, path)
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]

    def cut_off(self: Path, target: Path) -> None:
        assert self.parent == path.parent and target == path  # beside it, so that renaming is possible
        raise OSError("no power")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="no power"):
        patch.setattr(Path, "replace", cut_off)
        checkpoint.save({"w": np.ones(2, np.float32)}, path)
    assert (checkpoint.load(path)["w"] == 0).all()
    checkpoint.save({"w": np.ones(2, np.float32)}, path)  # what was left behind is not in the way
    assert (checkpoint.load(path)["w"] == 1).all() and [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def test_fill_puts_every_tensor_in_its_place() -> None:
    params = nnx.split(Small())[1]
    new = {name: np.full_like(tensor, i) for i, (name, tensor) in enumerate(tensors().items(), 1)}
    checkpoint.fill(params, new | {"pooler.dense.weight": np.zeros((2, 2))})
    filled = checkpoint.to_tensors(params)
    assert filled.keys() == new.keys()
    for name, tensor in new.items():
        np.testing.assert_array_equal(filled[name], tensor)


def test_fill_says_what_does_not_fit() -> None:
    whole, params = tensors(), nnx.split(Small())[1]
    without = {name: tensor for name, tensor in whole.items() if name != "norm.bias"}
    with pytest.raises(ValueError, match=r"no tensor norm\.bias"):
        checkpoint.fill(params, without)
    checkpoint.fill(params, without, missing=frozenset({"norm.bias"}))
    with pytest.raises(ValueError, match=r"dense\.weight has shape \(5, 3\), the configuration asks for \(3, 5\)"):
        checkpoint.fill(params, whole | {"dense.weight": whole["dense.weight"].T})
