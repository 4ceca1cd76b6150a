"""The header of a safetensors file: what is said of one that does not fit its file."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from small_module import bag, by_name, entry, put

from flame_rank.model.weight_files import WHOLE, WeightFiles, save
from flame_rank.model.weights import fill


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
