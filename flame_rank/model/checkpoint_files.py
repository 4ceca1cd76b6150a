"""Reads the configuration, the weights and the identity of a checkpoint in any format: a Hugging Face directory, a GGUF
file, or a low-rank adapter on one of these.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from flame_rank.io import json_file
from flame_rank.model import hub, weights
from flame_rank.model.adapter import AdaptedWeights
from flame_rank.model.adapter_config import CONFIG, AdapterConfig, is_adapter
from flame_rank.model.gguf import config as gguf_config
from flame_rank.model.gguf.file import is_gguf
from flame_rank.model.gguf.weights import GgufWeights
from flame_rank.model.weight_files import WeightFiles

_PIECES, _PIECE = 16, 4096  # of each tensor: how many pieces its identity is taken from, and their bytes


def read_config(checkpoint: Path) -> dict[str, Any]:
    """Returns the parsed `config.json` of a checkpoint directory, or the equivalent from a GGUF file's metadata; for an
    adapter, that of its base.

    Raises:
      OSError: a file is missing or unreadable.
      ValueError: the file is not a JSON object, or not a supported GGUF file.
    """
    if is_adapter(checkpoint):
        return read_config(base_of(checkpoint))
    if is_gguf(checkpoint):
        return gguf_config.read(checkpoint)
    for file in checkpoint.iterdir() if checkpoint.is_dir() else ():
        if file.exists() and not (file.is_file() or file.is_dir()):  # a pipe: a reader would wait for its end
            raise ValueError(f"{file}: not a regular file; a model is read from files")
    stated = json_file.read(checkpoint / weights.CONFIG)
    if not isinstance(stated, dict):
        raise ValueError(f"{checkpoint / weights.CONFIG}: not a JSON object")
    return stated


def open_weights(checkpoint: Path) -> weights.Weights:
    """Returns the tensors of a checkpoint directory, of a GGUF file, or of an adapter on its base; no weight is read.

    Raises:
      OSError: a file is unreadable.
      ValueError: a file is missing or incomplete, or an adapter does not fit its base.
    """
    if is_adapter(checkpoint):
        return AdaptedWeights.open(checkpoint, open_weights(base_of(checkpoint)))
    return GgufWeights.open(checkpoint) if is_gguf(checkpoint) else WeightFiles.open(checkpoint)


def base_of(adapter: Path) -> Path:
    """Finds the base model of an adapter: a path relative to the adapter's folder or the current one, or a model in the
    Hugging Face cache or on the hub.

    Raises:
      OSError, ValueError: the base cannot be found, or the adapter's configuration cannot be read.
    """
    config, file = AdapterConfig.read(adapter), adapter / CONFIG
    name = config.base_model_name_or_path
    why = "there is no such file or folder"
    for path in (adapter / name, Path(name)):
        if path.exists() and is_adapter(path):
            raise ValueError(f"{file}: its base {path} is an adapter itself; merge it into its own base first")
        if path.exists():
            return path
    if hub.MODEL.fullmatch(name):
        folder, why = hub.fetch(f"{name}@{config.revision}" if config.revision else name)
        if folder:
            return folder
    raise ValueError(
        f"{file}: base_model_name_or_path is {name!r}, but {why}; set it to the path of the base, "
        "a checkpoint directory or a GGUF file"
    )


def identity(checkpoint: Path, stated: object = None) -> str:
    """Returns twelve hexadecimal digits that identify a checkpoint together with the other settings on which its
    answers depend.

    The hash covers the names, dtypes and shapes of all tensors, and sixteen pieces of 4 KiB of each. That is enough,
    because training changes every part of a matrix, and reading all of a large model would take minutes.

    Args:
      stated: the other settings, as JSON.

    Raises:
      OSError, ValueError: the checkpoint cannot be read.
    """
    digest = hashlib.sha256()

    def add(*parts: str | bytes) -> None:
        for part in parts:
            data = part.encode() if isinstance(part, str) else part
            digest.update(len(data).to_bytes(8, "little") + data)

    add(json.dumps(stated))
    files = open_weights(checkpoint)
    for name, content in files.described():
        add(name, content)
    for name in weights.text_tensors(files):
        tensor = files.raw(name)
        add(name, files[name].dtype, str(files[name].shape))
        for i in range(_PIECES):
            start = i * max(0, tensor.size - _PIECE) // (_PIECES - 1)
            add(tensor[start : start + _PIECE].tobytes())
    return digest.hexdigest()[:12]
