"""Reads the tensors of a checkpoint in any format into a model, by the names that the models here use."""

import re
from abc import abstractmethod
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from flax import nnx
from jax.sharding import Sharding, SingleDeviceSharding

Array = npt.NDArray[Any]
Params = Any  # nnx.State, whose type parameters change from release to release
Index = tuple[slice, ...]
CONFIG = "config.json"
READABLE = "only F32, F16 and BF16 weights are read, not quantised ones"
TEXT = re.compile(r"^(language_model\.(model\.)?|model\.(language_model\.)?)?(?=(layers|embed_tokens|norm)\.)")
LAYER = re.compile(r"^(?:model\.layers|encoder\.block)\.(\d{1,6})\.")
HEAD = re.compile(r"^language_model\.(?=lm_head\.)")
OTHER_SENSES = re.compile(r"(model\.)?(vision_tower|multi_modal_projector)\.")


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A tensor on disk, as the header of its file describes it.

    Attributes:
      dtype: the format's own name ("BF16"); not every dtype can be read.
      begin: the position of its first byte in the file.
      end: the position after its last byte.
    """

    file: Path
    shape: tuple[int, ...]
    dtype: str
    begin: int
    end: int


class Weights(Mapping[str, Stored]):
    """The tensors of a checkpoint by name.

    Attributes:
      folder: the checkpoint, for messages: a directory or a file.
      readable: the dtypes that `read` can read.
      described_by: the file that states the shape of the model, for messages.
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
        """Reads a tensor, or its part at `index`: a read-only view of the file, or a new array."""

    @abstractmethod
    def described(self) -> Iterator[tuple[str, bytes]]:
        """Yields the name and the content of every further file on which the model's answers depend; they are part of
        its identity.
        """

    def raw(self, name: str) -> npt.NDArray[np.uint8]:
        """Returns the bytes of a tensor as a read-only view of the file; only the parts that are used are read from the
        disk.

        Raises:
          OSError: the file is unreadable.
          ValueError: the file has become shorter.
        """
        stored = self[name]
        data = np.memmap(stored.file, np.uint8, "r")
        if data.size < stored.end:
            raise ValueError(f"{stored.file}: has become shorter since it was opened")
        return data[stored.begin : stored.end].view(np.ndarray)


def layers(files: Weights) -> int:
    """Counts the layers of a decoder, or of the encoder of a T5, by the numbers in the tensors' names."""
    numbers = {int(match[1]) for name in canonical(files) if (match := LAYER.match(name))}
    return max(numbers, default=-1) + 1


def canonical(names: Iterable[str]) -> dict[str, str]:
    """Returns the names that the text model of a checkpoint has here: {name here: name on disk}.

    A decoder's tensors are `model.*` and `lm_head.weight` here. On disk they may have the prefix `language_model.`
    (Gemma 3 with vision, whose other tensors are left out) or lack `model.` (base models). All others keep their names.

    Raises:
      ValueError: two tensors on disk would have the same name here.
    """
    on_disk: dict[str, str] = {}
    for name in names:
        if OTHER_SENSES.match(name):
            continue
        ours = TEXT.sub("model.", HEAD.sub("", name))
        if ours in on_disk:
            raise ValueError(f"{on_disk[ours]} and {name} have the same name here, {ours}; remove one of the two")
        on_disk[ours] = name
    return on_disk


def text_tensors(files: Weights) -> list[str]:
    """Returns the names of the tensors on disk that a text model may read, sorted, without tables of integers and
    without the tensors for images."""
    return sorted(name for name in canonical(files).values() if files[name].dtype in files.readable)


def own_head(files: Weights) -> bool:
    """Tells whether a checkpoint has an output matrix that differs from its embeddings.

    Raises:
      OSError, ValueError: the tensors cannot be read.
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
        a, b = (files.read(name, (some, slice(None))) for name in (head, embeddings))
        return bool(np.array_equal(a, b))

    return not all(map(same, rows))


def fill(
    params: Params,
    files: Weights,
    *,
    dtype: npt.DTypeLike = jnp.float32,
    shardings: Params | None = None,
    ignore: Sequence[str] = (),
) -> Params:
    """Reads the parameters of a module, each directly onto its devices: the host holds one tensor at a time.

    Args:
      params: the parameters from `nnx.split`; shapes are enough (`nnx.eval_shape`). They are changed in place and
        returned.
      files: the checkpoint; its names are translated by `canonical`.
      dtype: the dtype to which the stored numbers are cast.
      shardings: the shardings in the same tree (`sharding.shardings`); None puts all on the first device.
      ignore: patterns (`*.rotary_emb.inv_freq`) of tensors that the module may lack; any other tensor that it lacks is
        an error.

    Raises:
      OSError: a file is unreadable.
      ValueError: a tensor is missing or unknown, or has another shape or an unsupported dtype; then none is read.
    """
    leaves = _by_name(params)
    try:
        stored_names = canonical(files)
    except ValueError as error:
        raise ValueError(f"{files.folder}: {error}") from None
    names = {n: s for n, s in stored_names.items() if n in leaves or not any(fnmatchcase(n, p) for p in ignore)}
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
    absent = [name for name in leaves if name not in names]
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
            tensor = files.read(name, index)
            # A copy, never a view of the file: jax may keep the buffer, and the file may change meanwhile.
            read[key] = np.array(tensor, dtype, copy=None if tensor.flags.writeable else True)
        return read[key]

    # Wait for the transfer: otherwise the host would hold many tensors at once.
    array = jax.make_array_from_callback(shape, place, part, dtype=dtype)
    jax.block_until_ready(array)
    return array
