"""Converts the metadata of a GGUF file to the config.json of a Hugging Face checkpoint. Must agree with llama.cpp
(convert_hf_to_gguf.py, src/llama-model.cpp)."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flame_rank.io.json_file import one_line
from flame_rank.model import config
from flame_rank.model.config import FULL, SLIDING
from flame_rank.model.gguf import file as gguf_file
from flame_rank.model.gguf.file import Header

# general.architecture: model_type
FAMILIES = {
    "llama": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "gemma": "gemma",
    "gemma2": "gemma2",
    "gemma3": "gemma3_text",
}
ROPE_FACTORS = "rope_freqs.weight"
_EMBEDDING, _OUTPUT = "token_embd.weight", "output.weight"


def family(header: Header) -> str:
    """Returns the model's architecture.

    Raises:
      ValueError: the architecture is not supported, or the file is not a model, or only one part of a model.
    """
    kind = header.get("general.type", str, "model")
    if kind != "model":
        raise ValueError(f"{header.path}: general.type = {kind!r}, not a model")
    if header.get("split.count", int, 1) > 1:
        parts = header.metadata["split.count"]
        raise ValueError(f"{header.path}: one of {parts} parts; join them with `llama-gguf-split --merge`")
    architecture = header.get("general.architecture", str)
    if architecture not in FAMILIES:
        raise ValueError(
            f"{header.path}: general.architecture {architecture!r} is not supported, only {', '.join(FAMILIES)}"
        )
    return str(architecture)


# Keys of the metadata under the name of the architecture, and the keys of config.json that mean the same.
_KEYS = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "attention.key_length": "head_dim",
    "rope.freq_base": "rope_theta",
}
_NEEDED = ("block_count", "context_length", "embedding_length", "feed_forward_length", "attention.head_count")
_GEMMA_KEYS = {
    "attention.sliding_window": "sliding_window",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
    "rope.freq_base_swa": "rope_local_base_freq",
}
# Keys without effect, or read by _rope, _checked and _of_gemma.
_KNOWN = {
    *("vocab_size", "rope.dimension_count", "rope.dimension_count_swa", "attention.value_length"),
    *("attention.sliding_window", "attention.sliding_window_pattern", "tensor_data_layout"),
    *("rope.scaling.type", "rope.scaling.factor", "rope.scaling.finetuned", "rope.scaling.original_context_length"),
    "rope.scale_linear",
}
# Keys that are harmless with these values only.
_ONLY = {
    "expert_count": (0,),
    "expert_used_count": (0,),
    "attention.causal": (True,),
    "attention.clamp_kqv": (0,),
    "attention.max_alibi_bias": (0,),
    "use_parallel_residual": (False,),
    "rope.scaling.attn_factor": (1,),
    "pooling_type": (0,),
}


def read(path: Path) -> dict[str, Any]:
    """Reads the metadata of a GGUF file as a parsed `config.json`.

    Raises:
      OSError: the file is unreadable.
      ValueError: the file is incomplete, or needs a computation that is not supported; the message names it.
    """
    header = gguf_file.read(path)
    arch = family(header)
    stated: dict[str, Any] = {"model_type": FAMILIES[arch]}
    keys = _KEYS | (_GEMMA_KEYS if arch in ("gemma2", "gemma3") else {})
    for key in _NEEDED:
        if f"{arch}.{key}" not in header.metadata:
            raise ValueError(f"{path}: the metadata lacks {arch}.{key}")
    for key in header.metadata:
        if key.startswith(f"{arch}."):
            short = key.removeprefix(f"{arch}.")
            if short in keys:
                stated[keys[short]] = number(header, key)
            elif short not in _KNOWN and not any(_equal(header.metadata[key], only) for only in _ONLY.get(short, ())):
                taken = f"only {' or '.join(map(str, _ONLY[short]))}" if short in _ONLY else "a file without it is"
                value = one_line(header.metadata[key])[:60]
                raise ValueError(f"{path}: {one_line(key)} is not supported ({value}), {taken}")
    if "rms_norm_eps" not in stated:
        raise ValueError(f"{path}: the metadata lacks {arch}.attention.layer_norm_rms_epsilon")
    if _EMBEDDING not in header.tensors:
        raise ValueError(f"{path}: no tensor {_EMBEDDING}")
    stated["vocab_size"] = header.tensors[_EMBEDDING].shape[0]
    stated["tie_word_embeddings"] = _OUTPUT not in header.tensors
    if arch != "qwen2":  # whose queries, keys and values always have them
        stated |= {"attention_bias": True} if "blk.0.attn_q.bias" in header.tensors else {}
    if arch == "llama" and "blk.0.ffn_gate.bias" in header.tensors:
        stated["mlp_bias"] = True
    if arch.startswith("gemma"):
        stated |= _of_gemma(header, arch, stated)
    stated |= _rope(header, arch, stated)
    try:
        shape = config.read(stated)
    except ValueError as error:
        raise ValueError(f"{path}: {str(error).removeprefix('config.json: ')}") from error
    _checked(header, arch, shape)
    return stated


def number(header: Header, key: str, default: Any = None) -> Any:
    """Returns a number, which the file may state once or for each layer.

    Raises:
      ValueError: the value is not a number, or differs between layers.
    """
    value = header.get(key, (int, float, np.ndarray), default)
    if isinstance(value, np.ndarray):
        if value.size == 0 or (value != value[0]).any():
            raise ValueError(f"{header.path}: {key} is not the same for all layers, which is not supported")
        value = value[0].item()
    # 1e-6, not 9.999999974752427e-07: the file has a float32.
    with np.errstate(over="ignore"):
        return float(str(np.float32(value))) if isinstance(value, float) else value


def _of_gemma(header: Header, arch: str, stated: dict[str, Any]) -> dict[str, Any]:
    """Returns the settings that Gemma's files omit, with the values that llama.cpp assumes."""
    filled: dict[str, Any] = {}
    size, heads = stated["hidden_size"], stated["num_attention_heads"]
    filled["head_dim"] = head_dim = stated.get("head_dim", size // heads if _is_count(heads) else None)
    if arch == "gemma":
        return filled
    # The files of 27B do not state that their queries have another scale than those of all other models.
    largest = stated["num_hidden_layers"] == {"gemma2": 46, "gemma3": 62}[arch]
    filled["query_pre_attn_scalar"] = size // heads if largest and _is_count(heads) else head_dim
    if (pattern := header.metadata.get(f"{arch}.attention.sliding_window_pattern")) is not None:
        if isinstance(pattern, int) and arch == "gemma3":
            filled["sliding_window_pattern"] = pattern
        elif isinstance(pattern, np.ndarray) and pattern.dtype == bool:
            filled["layer_types"] = [SLIDING if sliding else FULL for sliding in pattern]
        else:
            raise ValueError(
                f"{header.path}: {arch}.attention.sliding_window_pattern = {pattern!r} is not supported, only booleans"
            )
    return filled


def _equal(value: object, other: object) -> bool:
    return isinstance(value, bool | int | float) and value == other


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value > 0


def _rope(header: Header, arch: str, stated: dict[str, Any]) -> dict[str, Any]:
    """Returns how positions are scaled, as {"rope_scaling": ...}; {} if they are not."""
    kind = header.get(f"{arch}.rope.scaling.type", str, "")
    factor = number(header, f"{arch}.rope.scaling.factor", number(header, f"{arch}.rope.scale_linear", 1.0))
    if kind not in ("", "none", "linear"):
        raise ValueError(f"{header.path}: {arch}.rope.scaling.type {kind!r} is not supported, only linear")
    linear = kind != "none" and factor not in (0, 1)
    if ROPE_FACTORS not in header.tensors:
        return {"rope_scaling": {"rope_type": "linear", "factor": factor}} if linear else {}
    factors = _rope_factors(header)
    if (factors == 1).all() and arch == "llama":
        return {"rope_scaling": {"rope_type": "linear", "factor": factor}} if linear else {}
    if arch != "llama" or linear:
        raise ValueError(f"{header.path}: {ROPE_FACTORS} is not supported for {arch} or together with another scaling")
    return {"rope_scaling": _llama3(header, factors, stated.get("rope_theta", 10_000.0))}


def _rope_factors(header: Header) -> npt.NDArray[np.float32]:
    tensor = header.tensors[ROPE_FACTORS]
    size = math.prod(tensor.shape)
    if tensor.kind != 0 or tensor.begin + 4 * size > header.path.stat().st_size or not 0 < size <= 2**12:
        raise ValueError(f"{header.path}: {ROPE_FACTORS} is not a complete list of float32 values")
    return np.fromfile(header.path, "<f4", size, offset=tensor.begin)


def _llama3(header: Header, factors: npt.NDArray[np.float32], theta: float) -> dict[str, Any]:
    """Reconstructs Llama 3.1's scaling of positions from its result, the divisors of the frequencies [H/2], which is
    all that the file has.

    Raises:
      ValueError: the divisors are not of this scaling.
    """
    from flame_rank.model.decoder import frequencies

    size = 2 * len(factors)
    factor = float(str(factors.max()))
    scaling = {"factor": factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    for original in (2**power for power in range(5, 21)):
        rope = config.Rope(theta=theta, factor=factor, low=1.0, high=4.0, original=original)
        with np.errstate(all="ignore"):  # of a damaged file
            expected = frequencies(config.Rope(theta=theta), size) / frequencies(rope, size)
        if np.allclose(expected, factors, rtol=1e-5, atol=0):
            return {"rope_type": "llama3", **scaling, "original_max_position_embeddings": original}
    raise ValueError(f"{header.path}: {ROPE_FACTORS} is not Llama 3's scaling of positions, and no other is supported")


def _checked(header: Header, arch: str, shape: config.DecoderConfig) -> None:
    """Raises ValueError for a value of the metadata that contradicts the rest."""
    for key in ("rope.dimension_count", "rope.dimension_count_swa", "attention.value_length"):
        if (value := number(header, f"{arch}.{key}", shape.head_dim)) != shape.head_dim:
            raise ValueError(
                f"{header.path}: {arch}.{key} = {value} is not supported with heads of {shape.head_dim} dimensions"
            )
    if arch not in ("gemma2", "gemma3"):
        window = number(header, f"{arch}.attention.sliding_window", 0)
        if 0 < window < shape.max_position_embeddings:
            raise ValueError(f"{header.path}: {arch}.attention.sliding_window = {window} is not supported for {arch}")
        if f"{arch}.attention.sliding_window_pattern" in header.metadata:
            raise ValueError(f"{header.path}: {arch}.attention.sliding_window_pattern is not supported for {arch}")
