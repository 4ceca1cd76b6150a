"""A small module under names as a decoder has them, its tensors, and files of them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from flame_rank.model.layers import Linear, RMSNorm
from flame_rank.model.weight_files import WHOLE


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
