"""Finds the tensors in a safetensors file, and writes such files.

A file is eight bytes (the header's length, little-endian), a JSON header, and the tensors without gaps between them.
The library `safetensors` is not used, so that bfloat16 stays bfloat16, a slice is read without the rest, and every
fault is one line that names the file.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import msgspec
import numpy as np

from flame_rank.model import sharding
from flame_rank.model.weights import Array, Stored

DTYPES = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype(jnp.bfloat16)}
WORDS = {dtype: word for word, dtype in DTYPES.items()}
HEADER_LIMIT = 100_000_000  # bytes; the format's own


class _Entry(msgspec.Struct):
    dtype: str
    shape: list[Annotated[int, msgspec.Meta(ge=0)]]
    data_offsets: tuple[Annotated[int, msgspec.Meta(ge=0)], int]


def header(file: Path) -> dict[str, Stored]:
    """Lists the tensors of a safetensors file; no weight is read.

    Raises:
      OSError: the file is missing or unreadable.
      ValueError: the file is incomplete; the message names it.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        first = stream.read(8)
        length = int.from_bytes(first, "little")
        if first == b"version ":
            raise ValueError(f"{file}: a Git LFS pointer, not the weights; fetch them with `git lfs pull`")
        if len(first) < 8 or length > min(size - 8, HEADER_LIMIT):
            raise ValueError(f"{file}: not a whole safetensors file (cut off in its header, or another format)")
        raw = stream.read(length)
    try:
        entries = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        entries.pop("__metadata__", None)
        described = {name: msgspec.json.decode(entry, type=_Entry) for name, entry in entries.items()}
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file}: the header is not that of a safetensors file ({error})") from error
    end = 0
    for name, entry in sorted(described.items(), key=lambda item: item[1].data_offsets):
        begin, stop = entry.data_offsets
        if begin != end or stop < begin:
            raise ValueError(f"{file}: {name} is at bytes {begin} to {stop} of the weights, expected from {end} on")
        if entry.dtype in DTYPES and math.prod(entry.shape) * DTYPES[entry.dtype].itemsize != stop - begin:
            raise ValueError(f"{file}: {name}, {entry.dtype} {entry.shape}, does not fill its {stop - begin} bytes")
        end = stop
    start = 8 + length  # of the weights
    if start + end != size:
        raise ValueError(f"{file}: {size} bytes, but its header describes {start + end}; download it again")
    tensors: dict[str, Stored] = {}
    for name, entry in described.items():
        begin, stop = (start + offset for offset in entry.data_offsets)
        tensors[name] = Stored(file=file, shape=tuple(entry.shape), dtype=entry.dtype, begin=begin, end=stop)
    return tensors


def write(file: Path, tensors: Mapping[str, jax.Array | Array]) -> None:
    """Writes a file of float32, float16 and bfloat16 tensors; the host holds one of them at a time."""
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}  # transformers asks for it
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + tensor.nbytes
        word = WORDS[np.dtype(tensor.dtype)]
        entries[name] = {"dtype": word, "shape": list(tensor.shape), "data_offsets": [begin, end]}
    raw = json.dumps(entries).encode()
    raw += b" " * (-len(raw) % 8)
    with file.open("wb") as stream:
        stream.write(len(raw).to_bytes(8, "little") + raw)
        for tensor in tensors.values():
            np.ascontiguousarray(on_host(tensor)).tofile(stream)


def on_host(tensor: jax.Array | Array) -> Array:
    """Gathers a tensor from its devices to the host; every process must call this."""
    return sharding.to_host(tensor) if isinstance(tensor, jax.Array) else tensor
