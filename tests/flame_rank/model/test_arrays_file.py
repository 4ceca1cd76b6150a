"""Arrays on disk, and what is said of a file that is not whole."""

from pathlib import Path

import numpy as np
import pytest

from flame_rank.model import arrays_file


def test_a_transposed_array_is_saved_as_it_reads(tmp_path: Path) -> None:
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3).T
    assert not matrix.flags.c_contiguous
    arrays_file.save({"w": matrix, "every other": matrix[::2]}, tmp_path / "w")
    back = arrays_file.load(tmp_path / "w")
    np.testing.assert_array_equal(back["w"], matrix)
    np.testing.assert_array_equal(back["every other"], matrix[::2])


@pytest.mark.parametrize("length", [0, 4, 40, -1])
def test_a_file_that_is_not_whole_is_named(tmp_path: Path, length: int) -> None:
    path = tmp_path / "w.safetensors"
    arrays_file.save({"w": np.ones((5, 3), np.float32), "step": np.array(7)}, path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match="not a whole safetensors file") as caught:
        arrays_file.load(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="none"):
        arrays_file.load(tmp_path / "none")


def test_a_save_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.safetensors"
    arrays_file.save({"w": np.zeros(2, np.float32)}, path)
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]

    def cut_off(self: Path, target: Path) -> None:
        assert self.parent == path.parent and target == path  # beside it, so that renaming is possible
        raise OSError("no power")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="no power"):
        patch.setattr(Path, "replace", cut_off)
        arrays_file.save({"w": np.ones(2, np.float32)}, path)
    assert (arrays_file.load(path)["w"] == 0).all()
    arrays_file.save({"w": np.ones(2, np.float32)}, path)  # what was left behind is not in the way
    assert (arrays_file.load(path)["w"] == 1).all() and [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]
