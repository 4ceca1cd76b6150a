"""Arrays in a safetensors file, which is written whole or not at all."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file
from safetensors.numpy import save as serialise

from flame_rank.io.writing import part_of

Array = npt.NDArray[Any]


def load(path: Path) -> dict[str, Array]:
    """Reads a safetensors file.

    Raises:
      OSError: the file is missing or unreadable.
      ValueError: the file is not complete; the message names it.
    """
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: not a whole safetensors file ({error})") from error


def save(tensors: Mapping[str, Array], path: Path) -> None:
    """Writes a safetensors file beside `path` and renames it."""
    part = part_of(path)
    # safetensors writes the buffer as it is in memory: a transposed array would be garbage.
    part.write_bytes(serialise({name: np.ascontiguousarray(t) for name, t in tensors.items()}, {"format": "pt"}))
    part.replace(path)
