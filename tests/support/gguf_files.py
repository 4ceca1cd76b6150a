"""GGUF files as llama.cpp's converter writes them, from a Hugging Face checkpoint's config.json, tensors and
tokenizer."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType, GGUFWriter

from flame_rank.model import config as configs
from flame_rank.model.decoder import frequencies

ARCHITECTURES = {"mistral": "llama", "gemma3_text": "gemma3"}  # model_type: general.architecture, where they differ
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
Array = npt.NDArray[Any]
Entries = dict[str, Any]


def architecture(config: Mapping[str, Any]) -> str:
    family = str(config["model_type"])
    return ARCHITECTURES.get(family, family)


def parameters(config: Mapping[str, Any]) -> Entries:
    """The metadata under the name of the architecture."""
    shape, arch = configs.read(config), architecture(config)
    rope = shape.ropes[shape.windows.index(None) if None in shape.windows else 0]  # that of layers that see all
    found: Entries = {
        "block_count": shape.num_hidden_layers,
        "context_length": shape.max_position_embeddings,
        "embedding_length": shape.hidden_size,
        "feed_forward_length": shape.intermediate_size,
        "attention.head_count": shape.num_attention_heads,
        "attention.head_count_kv": shape.num_key_value_heads,
        "attention.layer_norm_rms_epsilon": shape.rms_norm_eps,
        "rope.freq_base": rope.theta,
        "attention.key_length": shape.head_dim,
        "attention.value_length": shape.head_dim,
        "vocab_size": shape.vocab_size,
    }
    if arch == "llama":
        found["rope.dimension_count"] = shape.head_dim
    if rope.factor != 1 and not rope.low:
        found |= {"rope.scaling.type": "linear", "rope.scaling.factor": rope.factor}
    if arch in ("gemma2", "gemma3"):
        found["attention.sliding_window"] = shape.windows[0]
    if shape.attention_cap:
        found["attn_logit_softcapping"] = shape.attention_cap
    if shape.logit_cap:
        found["final_logit_softcapping"] = shape.logit_cap
    return {f"{arch}.{key}": value for key, value in found.items()}


_PARTS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "input_layernorm": "attn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
_WHOLE = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


def name(hugging_face: str, arch: str) -> str:
    """What a tensor is called in a GGUF file."""
    if hugging_face in _WHOLE:
        return _WHOLE[hugging_face]
    found = re.fullmatch(r"model\.layers\.(\d+)\.(.+)\.(weight|bias)", hugging_face)
    assert found, hugging_face
    layer, part, kind = found.groups()
    after = "post_attention_norm" if arch in ("gemma2", "gemma3") else "ffn_norm"
    return f"blk.{layer}.{after if part == 'post_attention_layernorm' else _PARTS[part]}.{kind}"


def converted(config: Mapping[str, Any], tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Tensors by their names in a GGUF file, with rows and norms as they are there."""
    shape, arch = configs.read(config), architecture(config)
    found: dict[str, Array] = {}
    for hugging_face, tensor in tensors.items():
        if arch == "llama" and re.search(r"\.[qk]_proj\.", hugging_face):
            heads = shape.num_attention_heads if ".q_proj." in hugging_face else shape.num_key_value_heads
            halves = tensor.reshape(heads, 2, tensor.shape[0] // heads // 2, *tensor.shape[1:])
            tensor = halves.swapaxes(1, 2).reshape(tensor.shape)
        if arch.startswith("gemma") and hugging_face.endswith("norm.weight"):
            tensor = tensor + 1
        found[name(hugging_face, arch)] = tensor
    if shape.ropes[0].low:
        plain = configs.Rope(theta=shape.ropes[0].theta)
        found["rope_freqs.weight"] = frequencies(plain, shape.head_dim) / frequencies(shape.ropes[0], shape.head_dim)
    return found


def write(
    path: Path,
    arch: str,
    metadata: Mapping[str, Any],
    tensors: Mapping[str, Array],
    kinds: Callable[[str], GGMLQuantizationType | None] = lambda name: None,
) -> None:
    """Writes a file.

    Args:
      metadata: without general.architecture; None leaves a key out.
      tensors: by their names there, or for those of which `kinds` says a type, their bytes.
    """
    writer = GGUFWriter(path, arch)
    for key, value in metadata.items():
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        elif value is not None:
            writer.add_array(key, value)
    for tensor_name, tensor in tensors.items():
        writer.add_tensor(tensor_name, np.ascontiguousarray(tensor), raw_dtype=kinds(tensor_name))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def byte_bpe(folder: Path, pre: str) -> Entries:
    """The metadata of a folder's byte-level BPE tokenizer.json."""
    file = json.loads((folder / "tokenizer.json").read_text())
    stated = json.loads((folder / "tokenizer_config.json").read_text())
    added = {token["id"]: token for token in file["added_tokens"]}
    ids = file["model"]["vocab"] | {token["content"]: i for i, token in added.items()}
    tokens = sorted(ids, key=ids.__getitem__)
    types = [NORMAL if i not in added else CONTROL if added[i]["special"] else USER_DEFINED for i in range(len(tokens))]
    found = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.merges": [" ".join(merge) for merge in file["model"]["merges"]],
        "tokenizer.chat_template": stated.get("chat_template"),
    }
    return found | _ids(stated, ids)


def sentencepiece(folder: Path) -> Entries:
    """The metadata of a folder's tokenizer.model."""
    from sentencepiece import SentencePieceProcessor

    model = SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    stated = json.loads((folder / "tokenizer_config.json").read_text())
    special = stated.get("additional_special_tokens") or []
    tokens = [model.id_to_piece(i) for i in range(model.get_piece_size())]
    types = []
    for i, token in enumerate(tokens):
        known = [(UNKNOWN, model.is_unknown), (CONTROL, model.is_control), (BYTE, model.is_byte)]
        kind = next((kind for kind, check in known if check(i)), NORMAL)
        types.append(CONTROL if token in special else kind)
    found = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [model.get_score(i) for i in range(len(tokens))],
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.add_space_prefix": model.encode("a", out_type=str)[0] == "▁a",
        "tokenizer.chat_template": stated.get("chat_template"),
    }
    return found | _ids(stated, {token: i for i, token in enumerate(tokens)})


def _ids(stated: Mapping[str, Any], ids: Mapping[str, int]) -> Entries:
    names = {"bos": "bos", "eos": "eos", "unknown": "unk", "padding": "pad"}
    found = {there: stated.get(f"{here}_token") for there, here in names.items()}
    return {f"tokenizer.ggml.{there}_token_id": ids[token] for there, token in found.items() if token}


def dequantised(source: Path, target: Path) -> None:
    """Writes a GGUF file with the weights of another one in float32."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, str(reader.fields["general.architecture"].contents()))
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
            continue
        kind = field.types[0]
        inner = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), kind, sub_type=inner)
    writer.add_file_type(0)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
