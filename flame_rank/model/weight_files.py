"""Reads and writes the weights of a Hugging Face directory, in one safetensors file or in shards."""

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import jax
import msgspec
import numpy as np

from flame_rank.io.writing import part_of
from flame_rank.model.safetensors_file import DTYPES, WORDS, header, on_host, write
from flame_rank.model.weights import CONFIG, READABLE, Array, Index, Stored, Weights

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")


class _Index(msgspec.Struct):
    weight_map: dict[str, str]


class WeightFiles(Weights):
    """The tensors of a checkpoint directory by their names on disk."""

    readable = DTYPES
    described_by = CONFIG

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Lists the tensors of `model.safetensors`, or of the shards that `model.safetensors.index.json` names.

        Raises:
          OSError: the folder or a file is unreadable.
          ValueError: there are no weights, a shard is missing or incomplete, or index and shards disagree.
        """
        if (folder / WHOLE).exists():
            return cls(folder, header(folder / WHOLE))
        index = folder / INDEX
        if not index.exists():
            return cls(folder, _of_shards(folder))
        try:
            places = msgspec.json.decode(index.read_bytes(), type=_Index).weight_map
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{index}: not an index of shards ({error})") from error
        shards: dict[str, dict[str, Stored]] = {}
        for shard in sorted(set(places.values())):
            file = folder / shard
            if not shard or file.parent != folder:
                raise ValueError(f"{index}: the shard {shard!r} is not in this folder")
            if not file.exists():
                raise ValueError(f"{file}: missing, although {INDEX} names it; download it again")
            shards[shard] = header(file)
        for name, shard in places.items():
            if name not in shards[shard]:
                raise ValueError(f"{folder / shard}: lacks {name}, which {INDEX} places there")
        for shard, tensors in shards.items():
            if unlisted := tensors.keys() - places.keys():
                raise ValueError(f"{folder / shard}: holds {min(unlisted)}, which {INDEX} does not name")
        return cls(folder, {name: shards[shard][name] for name, shard in places.items()})

    def read(self, name: str, index: Index | None = None) -> Array:
        """Reads a tensor, or its part at `index`, as a read-only view of the file; only the parts that are used are
        read from the disk.

        Raises:
          OSError: the file is unreadable.
          ValueError: its dtype is not F32, F16 or BF16, or the file has become shorter.
        """
        stored = self[name]
        if stored.dtype not in DTYPES:
            raise ValueError(f"{stored.file}: {name} is {stored.dtype}; {READABLE}")
        tensor: Array = self.raw(name).view(DTYPES[stored.dtype]).reshape(stored.shape)
        where: Any = (*(index or ()), ...)  # the dots: a scalar stays an array
        return np.asarray(tensor[where])

    def described(self) -> Iterator[tuple[str, bytes]]:
        for pattern in ("*.json", "*.model", "*.jinja"):
            for file in sorted(self.folder.glob(pattern)):
                yield file.name, file.read_bytes()


def _of_shards(folder: Path) -> dict[str, Stored]:
    """Lists the tensors of shards without an index, whose number is in their names.

    Raises:
      ValueError: there are no shards, some are missing, or two hold the same tensor.
    """
    shards = sorted(file for file in folder.iterdir() if SHARD.fullmatch(file.name))
    if not shards:
        raise ValueError(_no_weights(folder))
    count = int(shards[0].stem.rpartition("-")[2])
    wanted = {f"model-{i:05d}-of-{count:05d}.safetensors" for i in range(1, count + 1)}
    if missing := wanted - {file.name for file in shards}:
        raise ValueError(f"{folder / min(missing)}: missing, one of {count} shards; download it again")
    tensors: dict[str, Stored] = {}
    for file in shards:
        for name, stored in header(file).items():
            if name in tensors:
                raise ValueError(f"{file}: holds {name}, as {tensors[name].file.name} does; remove one of the two")
            tensors[name] = stored
    return tensors


def _no_weights(folder: Path) -> str:
    names = [file.name for file in sorted(folder.iterdir())]
    if torch := [name for name in names if name.endswith((".bin", ".pt", ".pth"))]:
        remedy = "convert with transformers' save_pretrained(safe_serialization=True)"
        return f"{folder}: {torch[0]} is a PyTorch file and only safetensors are read; {remedy}"
    for ending, what in ((".gguf", "a GGUF file"), (".msgpack", "a Flax file"), (".h5", "a TensorFlow file")):
        if others := [name for name in names if name.endswith(ending)]:
            remedy = f"name it itself: {folder / others[0]}" if ending == ".gguf" else "convert it to safetensors"
            return f"{folder}: {others[0]} is {what}; {remedy}"
    return f"{folder}: no weights: neither {WHOLE} nor {INDEX}"


def save(
    folder: Path,
    config: Mapping[str, Any],
    tensors: Mapping[str, jax.Array | Array],
    *,
    max_shard_bytes: int = 5_000_000_000,
    extra_files: Sequence[Path] = (),
) -> None:
    """Writes a directory that `WeightFiles`, transformers and vLLM read; the host holds one tensor at a time.

    Args:
      folder: the new directory; it is written as FOLDER.part and renamed. If there are several processes, all must call
        this, and the first one writes.
      config: becomes `config.json`. If it states `tie_word_embeddings`, `lm_head.weight` is left out.
      tensors: the tensors by name, [out, in], float32, float16 or bfloat16; sharded arrays are gathered one at a time.
      max_shard_bytes: if the weights have more bytes, they are split between files, with an index; a tensor is never
        split.
      extra_files: files that are copied unchanged (the tokenizer).

    Raises:
      OSError: a file cannot be written.
      ValueError: the folder exists already, or a tensor has another dtype.
    """
    if jax.process_index() == 0 and folder.exists():
        raise ValueError(f"{folder}: already there; remove it or choose another folder")
    tied = bool(config.get("tie_word_embeddings"))
    kept = {name: tensor for name, tensor in tensors.items() if not (tied and name == "lm_head.weight")}
    for name, tensor in kept.items():
        if np.dtype(tensor.dtype) not in WORDS:
            raise ValueError(f"{folder}: {name} is {tensor.dtype}; only float32, float16 and bfloat16 are written")
    shards: list[dict[str, jax.Array | Array]] = [{}]
    room = max_shard_bytes
    for name, tensor in kept.items():
        if tensor.nbytes > room and shards[-1]:
            shards.append({})
            room = max_shard_bytes
        shards[-1][name] = tensor
        room -= tensor.nbytes
    # Wide dtypes first, so that every tensor is aligned to its own width.
    shards = [dict(sorted(shard.items(), key=lambda item: -item[1].dtype.itemsize)) for shard in shards]
    if jax.process_index():
        for shard in shards:
            for tensor in shard.values():
                on_host(tensor)
        return
    part = part_of(folder)
    part.mkdir(parents=True, exist_ok=True)
    for left in part.iterdir():  # of an interrupted save; a stale model.safetensors would be read instead of shards
        left.unlink()
    for file in extra_files:
        shutil.copyfile(file, part / file.name)
    (part / CONFIG).write_text(json.dumps(dict(config), indent=2, sort_keys=True) + "\n", "utf-8")
    count = len(shards)
    files = [f"model-{i:05}-of-{count:05}.safetensors" for i in range(1, count + 1)] if count > 1 else [WHOLE]
    for file_name, shard in zip(files, shards, strict=True):
        write(part / file_name, shard)
    if count > 1:
        index = {
            "metadata": {"total_size": sum(tensor.nbytes for tensor in kept.values())},
            "weight_map": {name: file_name for file_name, shard in zip(files, shards, strict=True) for name in shard},
        }
        (part / INDEX).write_text(json.dumps(index, indent=2) + "\n", "utf-8")
    part.rename(folder)
