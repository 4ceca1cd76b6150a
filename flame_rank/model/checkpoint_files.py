"""What a checkpoint consists of, whatever it is stored as: a Hugging Face directory, a GGUF file, or a low-rank adapter
on one of these. Its configuration, its weights, and its identity.
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
    """The parsed `config.json` of a checkpoint directory; for a GGUF file the same as its metadata state it; for an
    adapter that of its base.

    Raises:
      OSError: it is missing or unreadable.
      ValueError: it is not a JSON object, or not a GGUF file that can be read here.
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
    """The tensors of a checkpoint directory, of a GGUF file, or of an adapter on its base; no weight is read.

    Raises:
      OSError: a file is unreadable.
      ValueError: a file is missing or not whole, or an adapter does not fit its base.
    """
    if is_adapter(checkpoint):
        return AdaptedWeights.open(checkpoint, open_weights(base_of(checkpoint)))
    return GgufWeights.open(checkpoint) if is_gguf(checkpoint) else WeightFiles.open(checkpoint)


def base_of(adapter: Path) -> Path:
    """Where the model lies that an adapter was trained on: a path, from the adapter's folder or the current one, or a
    model in the Hugging Face cache or on the hub.

    Raises:
      OSError, ValueError: it cannot be found, or the adapter's configuration cannot be read.
    """
    config, file = AdapterConfig.read(adapter), adapter / CONFIG
    name = config.base_model_name_or_path
    why = "there is no such file or folder"
    for path in (adapter / name, Path(name)):
        if path.exists() and is_adapter(path):
            raise ValueError(f"{file}: its base {path} is an adapter; merge that one into its base first")
        if path.exists():
            return path
    if hub.MODEL.fullmatch(name):
        folder, why = hub.fetch(f"{name}@{config.revision}" if config.revision else name)
        if folder:
            return folder
    raise ValueError(
        f"{file}: base_model_name_or_path is {name!r}, and {why}; write there the path of the base, "
        "a checkpoint directory or a GGUF file"
    )


def identity(checkpoint: Path, stated: object = None) -> str:
    """Twelve hexadecimal digits that identify a checkpoint together with what else shapes an answer.

    The hash covers the names, dtypes and shapes of all tensors, and sixteen pieces of 4 KiB of each. Training moves
    every part of a matrix, and to read all of a large model would take minutes.

    Args:
      stated: what else shapes an answer, as JSON.

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
