"""The weights of a Hugging Face directory, read and written tensor by tensor.

A safetensors file is eight bytes (the header's length, little-endian), a JSON header, and the tensors one after another
without gaps. The header is read here rather than by the library, so that bfloat16 stays bfloat16, a slice is read
without the rest, and every fault is one line that names the file.
"""

import json
import math
import re
import shutil
from abc import abstractmethod
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Self

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import numpy.typing as npt
from flax import nnx
from jax.sharding import Sharding, SingleDeviceSharding

from flame_rank.model import sharding

Array = npt.NDArray[Any]
Params = Any  # nnx.State, whose type parameters change from release to release
Index = tuple[slice, ...]
WHOLE, INDEX, CONFIG = "model.safetensors", "model.safetensors.index.json", "config.json"
DTYPES = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype(jnp.bfloat16)}
WORDS = {dtype: word for word, dtype in DTYPES.items()}
READABLE = "only F32, F16 and BF16 weights are read, not quantised ones"
HEADER_LIMIT = 100_000_000  # bytes; the format's own
TEXT = re.compile(r"^(language_model\.(model\.)?|model\.(language_model\.)?)?(?=(layers|embed_tokens|norm)\.)")
LAYER = re.compile(r"^(?:model\.layers|encoder\.block)\.(\d{1,6})\.")
SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
HEAD = re.compile(r"^language_model\.(?=lm_head\.)")
OTHER_SENSES = re.compile(r"(model\.)?(vision_tower|multi_modal_projector)\.")


@dataclass(frozen=True, kw_only=True)
class Stored:
    """One tensor on disk, as its file's header describes it.

    Attributes:
      dtype: in the format's own words ("BF16"); not all of them can be read.
      begin: its first byte, counted from the start of the file.
      end: the byte after its last.
    """

    file: Path
    shape: tuple[int, ...]
    dtype: str
    begin: int
    end: int


class _Entry(msgspec.Struct):
    dtype: str
    shape: list[Annotated[int, msgspec.Meta(ge=0)]]
    data_offsets: tuple[Annotated[int, msgspec.Meta(ge=0)], int]


class _Index(msgspec.Struct):
    weight_map: dict[str, str]


def header(file: Path) -> dict[str, Stored]:
    """Lists the tensors of one safetensors file; no weight is read.

    Raises:
      OSError: the file is missing or unreadable.
      ValueError: it is not whole; the message names it.
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
    found: dict[str, Stored] = {}
    for name, entry in described.items():
        begin, stop = (start + offset for offset in entry.data_offsets)
        found[name] = Stored(file=file, shape=tuple(entry.shape), dtype=entry.dtype, begin=begin, end=stop)
    return found


class Weights(Mapping[str, Stored]):
    """The tensors of a checkpoint by name.

    Attributes:
      folder: the checkpoint, for messages: a directory or a file.
      readable: the dtypes that `read` takes.
      described_by: what gives the model its shape, for messages.
    """

    readable: Container[str]
    described_by: str

    def __init__(self, folder: Path, tensors: Mapping[str, Stored]):
        self.folder, self._tensors = folder, tensors

    def __getitem__(self, name: str) -> Stored:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    @abstractmethod
    def read(self, name: str, index: Index | None = None) -> Array:
        """A tensor, or the part at `index`: a read-only view of the file or an array of the caller's own."""

    @abstractmethod
    def described(self) -> Iterator[tuple[str, bytes]]:
        """All that shapes the model's answers beside its weights, for its identity."""

    def raw(self, name: str) -> npt.NDArray[np.uint8]:
        """The bytes of a tensor: a read-only view of the file, of which only what is used is read.

        Raises:
          OSError: the file is unreadable.
          ValueError: it has become shorter.
        """
        stored = self[name]
        data = np.memmap(stored.file, np.uint8, "r")
        if data.size < stored.end:
            raise ValueError(f"{stored.file}: has become shorter since it was opened")
        return data[stored.begin : stored.end].view(np.ndarray)


class WeightFiles(Weights):
    """The tensors of a checkpoint directory by the names they have on disk."""

    readable = DTYPES
    described_by = CONFIG

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Lists the tensors of `model.safetensors`, or else of the shards that `model.safetensors.index.json` names.

        Raises:
          OSError: the folder or a file is unreadable.
          ValueError: there are no weights, a shard is missing or not whole, or index and shards disagree.
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
        """A tensor, or the part at `index`: a read-only view of the file, of which only what is used is read.

        Raises:
          OSError: the file is unreadable.
          ValueError: it is of another dtype than F32, F16 or BF16, or the file has become shorter.
        """
        stored = self[name]
        if stored.dtype not in DTYPES:
            raise ValueError(f"{stored.file}: {name} is {stored.dtype}; {READABLE}")
        tensor: Array = self.raw(name).view(DTYPES[stored.dtype]).reshape(stored.shape)
        where: Any = (*(index or ()), ...)  # the dots: a scalar stays an array
        return np.asarray(tensor[where])

    def described(self) -> Iterator[tuple[str, bytes]]:
        for pattern in ("*.json", "*.model"):
            for file in sorted(self.folder.glob(pattern)):
                yield file.name, file.read_bytes()


def _of_shards(folder: Path) -> dict[str, Stored]:
    """The tensors of shards without an index, where all that their names count are there.

    Raises:
      ValueError: there are none, or some are missing, or two hold the same tensor.
    """
    shards = sorted(file for file in folder.iterdir() if SHARD.fullmatch(file.name))
    if not shards:
        raise ValueError(_no_weights(folder))
    count = int(shards[0].stem.rpartition("-")[2])
    wanted = {f"model-{i:05d}-of-{count:05d}.safetensors" for i in range(1, count + 1)}
    if missing := wanted - {file.name for file in shards}:
        raise ValueError(f"{folder / min(missing)}: missing, of {count} shards; download it again")
    found: dict[str, Stored] = {}
    for file in shards:
        for name, stored in header(file).items():
            if name in found:
                raise ValueError(f"{file}: holds {name}, as {found[name].file.name} does; which one counts?")
            found[name] = stored
    return found


def layers(files: Weights) -> int:
    """How many layers the tensors of a decoder, or of a T5's encoder, are numbered for."""
    numbers = {int(found[1]) for name in canonical(files) if (found := LAYER.match(name))}
    return max(numbers, default=-1) + 1


def _no_weights(folder: Path) -> str:
    names = [file.name for file in sorted(folder.iterdir())]
    if "adapter_config.json" in names:
        return f"{folder}: an adapter, not a model; merge it into its base model (peft: merge_and_unload) and save that"
    if torch := [name for name in names if name.endswith((".bin", ".pt", ".pth"))]:
        remedy = "convert with transformers' save_pretrained(safe_serialization=True)"
        return f"{folder}: {torch[0]} is a PyTorch file and only safetensors are read; {remedy}"
    for ending, what in ((".gguf", "a GGUF file"), (".msgpack", "a Flax file"), (".h5", "a TensorFlow file")):
        if found := [name for name in names if name.endswith(ending)]:
            remedy = f"name it itself: {folder / found[0]}" if ending == ".gguf" else "convert it to safetensors"
            return f"{folder}: {found[0]} is {what}; {remedy}"
    return f"{folder}: no weights: neither {WHOLE} nor {INDEX}"


def canonical(names: Iterable[str]) -> dict[str, str]:
    """The names that the text model of a checkpoint has here: {name here: name on disk}.

    A decoder's tensors are `model.*` and `lm_head.weight` here. On disk they may stand under `language_model.` (Gemma 3
    with vision, whose other tensors are left out) or without `model.` (base models). All others keep their names.

    Raises:
      ValueError: two tensors on disk would have the same name here.
    """
    found: dict[str, str] = {}
    for name in names:
        if OTHER_SENSES.match(name):
            continue
        ours = TEXT.sub("model.", HEAD.sub("", name))
        if ours in found:
            raise ValueError(f"{found[ours]} and {name} are both {ours}: which one counts?")
        found[ours] = name
    return found


def own_head(files: Weights) -> bool:
    """Whether a checkpoint holds an output matrix that is not its embeddings.

    Raises:
      OSError, ValueError: they cannot be read.
    """
    names = canonical(files)
    head, embeddings = names.get("lm_head.weight"), names.get("model.embed_tokens.weight")
    if head is None or embeddings is None:
        return head is not None
    shape = files[head].shape
    if shape != files[embeddings].shape or len(shape) != 2:
        return True
    rows = [slice(i, i + 4096) for i in range(0, shape[0], 4096)]

    def same(some: slice) -> bool:
        one, other = (files.read(name, (some, slice(None))) for name in (head, embeddings))
        return bool(np.array_equal(one, other))

    return not all(map(same, rows))


def fill(
    params: Params,
    files: Weights,
    *,
    dtype: npt.DTypeLike = jnp.float32,
    shardings: Params | None = None,
    ignore: Sequence[str] = (),
    missing: frozenset[str] = frozenset(),
) -> Params:
    """Reads a module's parameters, each straight to its devices: the host holds one tensor at a time.

    Args:
      params: as `nnx.split` gave them; shapes are enough (`nnx.eval_shape`). Changed in place and returned.
      files: the checkpoint; its names go through `canonical`.
      dtype: of the parameters; what is stored is cast.
      shardings: the same tree of shardings (`sharding.shardings`); without it, all goes to the first device.
      ignore: patterns (`*.rotary_emb.inv_freq`) of the names here that the module may lack. Any other is an error.
      missing: names that the checkpoint may lack; they stay as they are.

    Raises:
      OSError: a file is unreadable.
      ValueError: a tensor is missing, unknown, of another shape or of a dtype that is not read; none was read then.
    """
    leaves = _by_name(params)
    try:
        found = canonical(files)
    except ValueError as error:
        raise ValueError(f"{files.folder}: {error}") from None
    names = {n: s for n, s in found.items() if n in leaves or not any(fnmatchcase(n, p) for p in ignore)}
    unread, unfit, unknown = [], [], []
    for name, on_disk in names.items():
        stored = files[on_disk]
        if stored.dtype not in files.readable:
            unread.append(f"{stored.file}: {on_disk} is {stored.dtype}; {READABLE}")
        elif name not in leaves:
            unknown.append(f"{stored.file}: {on_disk} is unknown to the model of {files.described_by}")
        elif stored.shape != leaves[name].shape:
            asked = leaves[name].shape
            unfit.append(f"{stored.file}: {on_disk} has shape {stored.shape}, {files.described_by} asks for {asked}")
    absent = [name for name in leaves if name not in names and name not in missing]
    lacking = [f"{files.folder}: no tensor {name}, which {files.described_by} asks for" for name in absent]
    if faults := unread + lacking + unfit + unknown:
        more = f" (and {len(faults) - 1} more that do not fit)" if len(faults) > 1 else ""
        raise ValueError(faults[0] + more)
    places = {} if shardings is None else {name: leaf.get_value() for name, leaf in _by_name(shardings).items()}
    for name, leaf in leaves.items():
        if name in names:
            place = places[name] if places else SingleDeviceSharding(jax.devices()[0])
            leaf.set_value(_put(files, names[name], np.dtype(dtype), place))
    return params


def _by_name(tree: Params) -> dict[str, Any]:
    return {".".join(map(str, path)): leaf for path, leaf in nnx.to_flat_state(tree)}


def _put(files: Weights, name: str, dtype: np.dtype[Any], place: Sharding) -> jax.Array:
    read: dict[tuple[tuple[int, ...], ...], Array] = {}
    shape = files[name].shape

    def part(index: Index | None) -> Array:
        assert index is not None
        key = tuple(s.indices(n) for s, n in zip(index, shape, strict=True))
        if key not in read:  # devices that hold the same part share one reading
            found = files.read(name, index)
            # A copy, never a view of the file: jax may keep the buffer as it is, and the file may change under it.
            read[key] = np.array(found, dtype, copy=None if found.flags.writeable else True)
        return read[key]

    # Waiting for the transfer: otherwise tensors on their way would pile up on the host.
    array = jax.make_array_from_callback(shape, place, part, dtype=dtype)
    jax.block_until_ready(array)  # type: ignore[no-untyped-call]
    return array


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
      folder: must not exist; written as FOLDER.part beside it and renamed. Of several processes all call this and the
        first one writes.
      config: becomes `config.json`. Where it says `tie_word_embeddings`, `lm_head.weight` is left out.
      tensors: by name, [out, in], float32, float16 or bfloat16; sharded arrays are gathered one at a time.
      max_shard_bytes: more than this and the weights are split, with an index; no tensor is.
      extra_files: copied as they are (tokenizer).

    Raises:
      OSError: something cannot be written.
      ValueError: the folder exists, or a tensor is of another dtype.
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
    # Wide dtypes first: then every tensor is aligned to its own width.
    shards = [dict(sorted(shard.items(), key=lambda item: -item[1].dtype.itemsize)) for shard in shards]
    if jax.process_index():
        for shard in shards:
            for tensor in shard.values():
                _on_host(tensor)
        return
    part = folder.with_name(folder.name + ".part")
    part.mkdir(parents=True, exist_ok=True)
    for left in part.iterdir():  # of a save that was broken off; a stale model.safetensors would count before shards
        left.unlink()
    for file in extra_files:
        shutil.copyfile(file, part / file.name)
    (part / CONFIG).write_text(json.dumps(dict(config), indent=2, sort_keys=True) + "\n", "utf-8")
    count = len(shards)
    files = [f"model-{i:05}-of-{count:05}.safetensors" for i in range(1, count + 1)] if count > 1 else [WHOLE]
    for file_name, shard in zip(files, shards, strict=True):
        _write(part / file_name, shard)
    if count > 1:
        index = {
            "metadata": {"total_size": sum(tensor.nbytes for tensor in kept.values())},
            "weight_map": {name: file_name for file_name, shard in zip(files, shards, strict=True) for name in shard},
        }
        (part / INDEX).write_text(json.dumps(index, indent=2) + "\n", "utf-8")
    part.rename(folder)


def _write(file: Path, tensors: Mapping[str, jax.Array | Array]) -> None:
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
            np.ascontiguousarray(_on_host(tensor)).tofile(stream)


def _on_host(tensor: jax.Array | Array) -> Array:
    return sharding.gathered(tensor) if isinstance(tensor, jax.Array) else tensor
