"""The weights of a model with a low-rank adapter merged into them: W [out, in] + scale B [out, rank] A [rank, in].

Agrees with the library PEFT (its `merge_and_unload`) in float32, whatever W, A and B are stored as.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Self

import msgspec
import numpy as np

from flame_rank.model.adapter_config import CONFIG, PREFIX, WEIGHTS, AdapterConfig
from flame_rank.model.safetensors_file import header
from flame_rank.model.weight_files import WeightFiles
from flame_rank.model.weights import READABLE, Array, Index, Weights, canonical

_SIDES = ("A", "B")
_MATRIX = re.compile(re.escape(PREFIX) + r"(.+)\.lora_[AB]\.weight")
_TOKENIZER = ("*token*.json", "*.model", "*.jinja")  # files of a tokenizer and its template beside the adapter


def tensor_name(module: str, side: str) -> str:
    """Returns the name on disk of the A or the B of a module."""
    return f"{PREFIX}{module}.lora_{side}.weight"


class _Update(NamedTuple):
    """The update of a weight: the factor of B A, and the names of A and B."""

    scale: float
    a: str
    b: str


class AdaptedWeights(Weights):
    """The tensors of a base model by its names, with the updates of an adapter."""

    def __init__(self, base: Weights, adapter: WeightFiles, updates: Mapping[str, _Update]):
        super().__init__(base.folder, base)
        self._base, self._adapter, self._updates = base, adapter, updates
        self.readable, self.described_by = base.readable, base.described_by

    @classmethod
    def open(cls, folder: Path, base: Weights) -> Self:
        """Applies the adapter in a folder to the weights of its base; no weight is read.

        Raises:
          OSError: a file is unreadable.
          ValueError: the adapter needs a computation that is not supported, or does not fit the base.
        """
        config, file = AdapterConfig.read(folder), folder / WEIGHTS
        if not file.exists():
            torch = ", and adapter_model.bin is a PyTorch file" if (folder / "adapter_model.bin").exists() else ""
            raise ValueError(f"{file}: missing{torch}; save the adapter with peft's save_pretrained")
        adapter = WeightFiles(folder, header(file))
        theirs, ours = canonical(base), canonical(f"{module}.weight" for module in _modules(adapter, file))
        updates = {}
        for name, of_module in ours.items():
            module = of_module.removesuffix(".weight")
            a, b = (tensor_name(module, side) for side in _SIDES)
            if name not in theirs:
                raise ValueError(f"{file}: {a}, but the base {base.folder} has no {name}; name the right base")
            rank = config.rank(module)
            out, into = (*base[theirs[name]].shape, 0, 0)[:2]
            for tensor, shape in ((a, (rank, into)), (b, (out, rank))):
                if adapter[tensor].dtype not in adapter.readable:
                    raise ValueError(f"{file}: {tensor} is {adapter[tensor].dtype}; {READABLE}")
                if adapter[tensor].shape != shape:
                    raise ValueError(
                        f"{file}: {tensor} has shape {adapter[tensor].shape}, but its rank and the base {base.folder} "
                        f"require {shape}"
                    )
            updates[theirs[name]] = _Update(config.scale(module), a, b)
        for name in sorted(theirs.keys() - ours.keys()):
            module, matrix = name.removesuffix(".weight"), len(base[theirs[name]].shape) == 2
            if matrix and config.asks_for(module):
                raise ValueError(f"{file}: no adapter of {module}, although {CONFIG} names it; save it again")
        return cls(base, adapter, updates)

    def read(self, name: str, index: Index | None = None) -> Array:
        """Reads a tensor, or its part at `index`; in float32 if the adapter changes it.

        Raises:
          OSError: a file is unreadable.
          ValueError: a file has become shorter.
        """
        tensor = self._base.read(name, index)
        if name not in self._updates:
            return tensor
        scale, a, b = self._updates[name]
        rows, columns = index or (slice(None), slice(None))
        of_a = self._adapter.read(a, (slice(None), columns)).astype(np.float32)  # [rank, in]
        of_b = self._adapter.read(b, (rows, slice(None))).astype(np.float32)  # [out, rank]
        with np.errstate(over="ignore", invalid="ignore"):  # of values that were not trained
            return np.asarray(tensor.astype(np.float32) + np.float32(scale) * (of_b @ of_a))

    def described(self) -> Iterator[tuple[str, bytes]]:
        yield from self._base.described()
        folder = self._adapter.folder
        yield CONFIG, msgspec.json.encode(self._updates, order="deterministic")
        yield WEIGHTS, (folder / WEIGHTS).read_bytes()
        for pattern in _TOKENIZER:
            for file in sorted(folder.glob(pattern)):
                yield file.name, file.read_bytes()


def _modules(adapter: WeightFiles, file: Path) -> list[str]:
    """Returns the names of the modules that have an A and a B; ValueError if there is anything else in the file."""
    modules = sorted({match[1] for name in adapter if (match := _MATRIX.fullmatch(name))})
    wanted = {tensor_name(module, side) for module in modules for side in _SIDES}
    if left := adapter.keys() - wanted:
        raise ValueError(f"{file}: {min(left)} is not part of a LoRA; merge the adapter into its base with peft")
    if lacking := wanted - adapter.keys():
        raise ValueError(f"{file}: no tensor {min(lacking)}; save the adapter again")
    if not modules:
        raise ValueError(f"{file}: no tensor in it; save the adapter again")
    return modules
