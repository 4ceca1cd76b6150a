"""Weights on disk: safetensors, whole or as int8 with one float32 scale for each output row."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from flax import nnx
from safetensors import SafetensorError
from safetensors.numpy import load_file
from safetensors.numpy import save as serialise

Array = npt.NDArray[Any]
Params = Any  # nnx.State, whose type parameters change from release to release
SCALE = ".scale"  # beside a quantised tensor's name


def load(path: Path) -> dict[str, Array]:
    """Reads a safetensors file; int8 tensors come back as float32.

    Raises:
      OSError: the file is missing or unreadable.
      ValueError: it is not whole; the message names it.
    """
    try:
        stored = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: not a whole safetensors file ({error})") from error
    tensors: dict[str, Array] = {}
    for name, tensor in stored.items():
        if name.endswith(SCALE):
            continue
        if tensor.dtype == np.int8:
            scale = stored.get(name + SCALE)
            if scale is None:
                raise ValueError(f"{path}: {name} is int8 and has no {name + SCALE}")
            tensor = tensor.astype(np.float32) * scale[:, None]
        tensors[name] = tensor
    return tensors


def quantise(tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Every matrix [out, in] as int8 with a scale [out] float32, so that its rows' largest entries are 127; the rest
    as float32."""
    stored: dict[str, Array] = {}
    for name, tensor in tensors.items():
        if tensor.ndim == 2 and tensor.shape[0] > 1:
            scale = np.maximum(np.abs(tensor).max(1) / 127, 1e-12).astype(np.float32)
            stored[name] = np.round(tensor / scale[:, None]).astype(np.int8)
            stored[name + SCALE] = scale
        else:
            stored[name] = tensor.astype(np.float32)
    return stored


def save(tensors: Mapping[str, Array], path: Path) -> None:
    """Writes a safetensors file beside `path` and renames it."""
    part = path.with_name(path.name + ".part")
    # safetensors writes the buffer as it lies in memory: a transposed array would be garbage.
    part.write_bytes(serialise({name: np.ascontiguousarray(t) for name, t in tensors.items()}, {"format": "pt"}))
    part.replace(path)


def to_tensors(params: Params) -> dict[str, Array]:
    """A module's parameters by the names of its paths."""
    return {".".join(map(str, path)): np.asarray(leaf[...]) for path, leaf in nnx.to_flat_state(params)}


def fill(params: Params, tensors: Mapping[str, Array], *, missing: frozenset[str] = frozenset()) -> None:
    """Puts tensors in place of a module's parameters.

    Args:
      params: as `nnx.split` gave them; changed in place.
      tensors: by name, [out, in] as Hugging Face keeps them; names that the module lacks are left out.
      missing: names that may be absent and stay as they are (a new head).

    Raises:
      ValueError: a tensor is missing or has another shape.
    """
    for path, leaf in nnx.to_flat_state(params):
        name = ".".join(map(str, path))
        tensor = tensors.get(name)
        if tensor is None:
            if name in missing:
                continue
            raise ValueError(f"no tensor {name}")
        if tensor.shape != leaf.shape:
            raise ValueError(f"{name} has shape {tensor.shape}, the configuration asks for {leaf.shape}")
        leaf.set_value(jnp.asarray(tensor, jnp.float32))  # also where only the shape is there yet
