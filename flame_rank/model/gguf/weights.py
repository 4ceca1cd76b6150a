"""Reads the weights of a GGUF file with Hugging Face's names and in Hugging Face's order.

Agrees with llama.cpp (convert_hf_to_gguf.py). The library `gguf` turns blocks of quantised numbers into float32.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from flame_rank.model.gguf import file as gguf_file
from flame_rank.model.gguf.config import ROPE_FACTORS, family, number
from flame_rank.model.gguf.file import Header
from flame_rank.model.weights import Array, Index, Stored, Weights

READABLE = frozenset(
    {
        *("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"),
        *("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"),
    }
)
_WHOLE_MODEL = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_PLAIN = _LAYER | {"ffn_norm": "post_attention_layernorm"}
_SANDWICH = _LAYER | {
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
_BLOCK = re.compile(r"blk\.(0|[1-9]\d*)\.(\w+)\.(weight|bias)")
_AT_ONCE = 2**17  # numbers that are dequantised together: more do not fit into the processor's cache


class GgufWeights(Weights):
    """The tensors of a GGUF file by Hugging Face's names."""

    readable = READABLE
    described_by = "its metadata"

    def __init__(self, header: Header, tensors: dict[str, Stored], names: dict[str, str]):
        super().__init__(header.path, tensors)
        self._header, self._names = header, names
        self._family = family(header)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Lists the tensors of a file.

        Raises:
          OSError: the file is unreadable.
          ValueError: the file is incomplete, or has a tensor of an unknown name or type; the message names it.
        """
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

        header = gguf_file.read(path)
        of_layer = _SANDWICH if family(header) in ("gemma2", "gemma3") else _PLAIN
        size = path.stat().st_size
        tensors: dict[str, Stored] = {}
        names: dict[str, str] = {}
        for name, tensor in header.tensors.items():
            if name == ROPE_FACTORS:  # it is part of the configuration
                continue
            ours = _name(name, of_layer)
            if ours is None:
                raise ValueError(f"{path}: {name} is not a known tensor of the architecture {family(header)}")
            try:
                kind = GGMLQuantizationType(tensor.kind)
            except ValueError:
                raise ValueError(f"{path}: {name} is of the unknown type {tensor.kind}") from None
            if kind.name not in READABLE:
                raise ValueError(f"{path}: {name} is {kind.name}; only {', '.join(sorted(READABLE))} are read")
            block, block_bytes = GGML_QUANT_SIZES[kind]
            if not tensor.shape or tensor.shape[-1] % block:
                raise ValueError(
                    f"{path}: {name}, {kind.name} {tensor.shape}, is not a whole number of blocks of {block}"
                )
            end = tensor.begin + math.prod(tensor.shape) // block * block_bytes
            if end > size:
                raise ValueError(f"{path}: {size} bytes, but {name} ends at {end}; download it again")
            tensors[ours] = Stored(file=path, shape=tensor.shape, dtype=kind.name, begin=tensor.begin, end=end)
            names[ours] = name
        return cls(header, tensors, names)

    def read(self, name: str, index: Index | None = None) -> Array:
        """Reads a tensor, or its part at `index`, in float32: dequantised, and with the changes of llama.cpp undone.

        Raises:
          OSError: the file is unreadable.
          ValueError: the file has become shorter.
        """
        tensor = _dequantised(self.raw(name), self[name].dtype).reshape(self[name].shape)
        if self._family.startswith("gemma") and name.endswith("norm.weight"):
            tensor -= 1  # the file has the whole factor, the model what is added to 1
        if self._family == "llama" and re.search(r"\.[qk]_proj\.", name):
            tensor = _halves(tensor, self._heads(name))
        where: Any = (*(index or ()), ...)
        return np.asarray(tensor[where])

    def _heads(self, name: str) -> int:
        arch = self._family
        heads = number(self._header, f"{arch}.attention.head_count")
        count = heads if ".q_proj." in name else number(self._header, f"{arch}.attention.head_count_kv", heads)
        if not isinstance(count, int) or count < 1 or self[name].shape[0] % (2 * count):
            raise ValueError(
                f"{self.folder}: {self._names[name]} {self[name].shape} cannot be divided into {count} heads"
            )
        return count

    def described(self) -> Iterator[tuple[str, bytes]]:
        yield "metadata", self._header.raw


def _name(name: str, of_layer: dict[str, str]) -> str | None:
    if block := _BLOCK.fullmatch(name):
        layer, part, kind = block.groups()
        return f"model.layers.{int(layer)}.{of_layer[part]}.{kind}" if part in of_layer else None
    part, _, kind = name.rpartition(".")
    return f"{_WHOLE_MODEL[part]}.weight" if part in _WHOLE_MODEL and kind == "weight" else None


def _dequantised(raw: npt.NDArray[np.uint8], word: str) -> npt.NDArray[np.float32]:
    """Converts the bytes [B] of a type to numbers [N]. Blocks are independent, so rows do not matter."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, dequantize

    kind = GGMLQuantizationType[word]
    block, block_bytes = GGML_QUANT_SIZES[kind]
    numbers = np.empty(raw.size // block_bytes * block, np.float32)
    step = _AT_ONCE // block
    for first in range(0, raw.size // block_bytes, step):
        part = raw[first * block_bytes : (first + step) * block_bytes]
        numbers[first * block : (first + step) * block] = dequantize(part[None], kind)[0]
    return numbers


def _halves(tensor: Array, heads: int) -> Array:
    """Orders the rows of each head as the two halves that rotary embedding pairs; llama.cpp has pairs side by side."""
    pairs = tensor.reshape(heads, tensor.shape[0] // heads // 2, 2, -1)
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(tensor.shape)
