"""Tiny checkpoints of every family, with weights made from their names: see random_weights.py."""

import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from flax import nnx
from random_weights import random_tensor
from safetensors.numpy import save_file

from flame_rank.model import config as configs
from flame_rank.model import t5
from flame_rank.model.decoder import Decoder
from flame_rank.model.t5_config import T5Config

_SIZES = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
}
# What a file must state so that a class's own heads (up to 32 of up to 256 numbers) come with a small model.
_SPARSE = {"vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
# With a base of 5000 a head of 8 has waves of 6, 53, 444 and 3736: one is kept, one stretched in part, two in full.
_LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
_FULL, _SLIDING = "full_attention", "sliding_attention"

# config.json of each: first the families as they are published, then their quirks. The windows are shorter than the
# texts of the tests.
VARIANTS: dict[str, dict[str, Any]] = {
    "llama2": {"model_type": "llama", **_SIZES, "num_key_value_heads": 4},
    "llama3": {"model_type": "llama", **_SIZES, "rope_theta": 5000.0, "rope_scaling": _LLAMA3},
    "mistral": {"model_type": "mistral", **_SIZES, "sliding_window": 16},
    "qwen2": {"model_type": "qwen2", **_SIZES, "tie_word_embeddings": True},
    "qwen3": {"model_type": "qwen3", **_SIZES, "head_dim": 16},
    "gemma": {"model_type": "gemma", **_SIZES, "head_dim": 16},
    "gemma2": {"model_type": "gemma2", **_SIZES, "head_dim": 16, "sliding_window": 16, "query_pre_attn_scalar": 24},
    "gemma3": {
        "model_type": "gemma3_text",
        **_SIZES,
        "num_hidden_layers": 7,
        "head_dim": 16,
        "sliding_window": 16,
        "query_pre_attn_scalar": 24,
    },
    "llama_biases": {
        "model_type": "llama",
        **_SIZES,
        "num_key_value_heads": 1,
        "head_dim": 12,
        "attention_bias": True,
        "mlp_bias": True,
        "tie_word_embeddings": True,
        "rms_norm_eps": 1e-3,
        "rope_scaling": {"type": "linear", "factor": 4.0},
    },
    # With this base one wave of the few is between the two limits of the scaling.
    "llama3_v5": {"model_type": "llama", **_SIZES, "rope_parameters": {"rope_theta": 5000.0, **_LLAMA3}},
    "llama_sparse": {
        "model_type": "llama",
        **{key: value for key, value in _SIZES.items() if key != "num_key_value_heads"},
        "num_attention_heads": 2,
    },
    "mistral_full": {
        "model_type": "mistral",
        **_SIZES,
        "head_dim": 16,
        "sliding_window": None,
        "rope_parameters": {"rope_theta": 1e6, "rope_type": "default"},
    },
    "mistral_kinds": {  # Ministral
        "model_type": "mistral",
        **_SIZES,
        "head_dim": 8,
        "sliding_window": 16,
        "layer_types": [_FULL, _SLIDING],
    },
    "mistral_sparse": {"model_type": "mistral", **_SPARSE, "hidden_size": 64, "sliding_window": 16},
    "qwen2_sliding": {
        "model_type": "qwen2",
        **_SIZES,
        "num_key_value_heads": 1,
        "use_sliding_window": True,
        "sliding_window": 16,
        "max_window_layers": 1,
        "rope_theta": 1e6,
    },
    "qwen3_biases": {
        "model_type": "qwen3",
        **_SIZES,
        "head_dim": 6,
        "attention_bias": True,
        "tie_word_embeddings": True,
        "use_sliding_window": True,
        "sliding_window": 16,
        "layer_types": [_SLIDING, _FULL],
    },
    "qwen3_sparse": {"model_type": "qwen3", **_SPARSE},
    "gemma_mqa": {
        "model_type": "gemma",
        **_SIZES,
        "num_key_value_heads": 1,
        "head_dim": 12,
        "attention_bias": True,
        "hidden_act": "gelu",
        "hidden_activation": None,
        "tie_word_embeddings": False,
    },
    "gemma_sparse": {"model_type": "gemma", **_SPARSE},
    "gemma2_uncapped": {
        "model_type": "gemma2",
        **_SIZES,
        "num_key_value_heads": 4,
        "head_dim": 16,
        "sliding_window": 16,
        "attention_bias": True,
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
        "layer_types": [_FULL, _SLIDING],
    },
    "gemma2_sparse": {"model_type": "gemma2", **_SPARSE},
    "gemma2_untied": {
        "model_type": "gemma2",
        **_SIZES,
        "head_dim": 16,
        "attn_logit_softcapping": 0.5,
        "tie_word_embeddings": False,
    },
    "gemma2_caps": {
        "model_type": "gemma2",
        **_SPARSE,
        "sliding_window": 16,
        "attn_logit_softcapping": 0.5,
        "final_logit_softcapping": 2.0,
    },
    "gemma3_linear": {
        "model_type": "gemma3_text",
        **_SIZES,
        "head_dim": 16,
        "sliding_window": 16,
        "sliding_window_pattern": 2,
        "rope_theta": 500000.0,
        "rope_local_base_freq": 1000.0,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        "final_logit_softcapping": 3.0,
    },
    "gemma3_v5": {
        "model_type": "gemma3",
        "text_config": {
            "model_type": "gemma3_text",
            **_SPARSE,
            "sliding_window": 16,
            "layer_types": [_FULL, _SLIDING],
            "rope_parameters": {
                _FULL: {"rope_theta": 500000.0, "rope_type": "linear", "factor": 8.0},
                _SLIDING: {"rope_theta": 1000.0, "rope_type": "default"},
            },
        },
    },
}


def _filled(config: dict[str, Any]) -> tuple[Any, Any]:
    """The model of a config.json, as graph and parameters."""

    def model() -> nnx.Module:
        if config["model_type"] == "t5":
            return t5.T5(T5Config.read(config), nnx.Rngs(0))
        return Decoder(configs.read(config), nnx.Rngs(0))

    graph, params = nnx.split(nnx.eval_shape(model))
    for path, leaf in nnx.to_flat_state(params):
        name = ".".join(map(str, path))
        tensor = random_tensor(name, leaf.shape)
        if config["model_type"].startswith("gemma") and name.endswith("norm.weight"):
            tensor = tensor - 1
        leaf.set_value(jnp.asarray(tensor))
    return graph, params


def by_name(params: Any) -> dict[str, npt.NDArray[Any]]:
    """A module's parameters by the names of its paths."""
    return {".".join(map(str, path)): np.asarray(leaf.get_value()) for path, leaf in nnx.to_flat_state(params)}


def tensors(config: dict[str, Any]) -> dict[str, npt.NDArray[np.float32]]:
    """The weights of a config.json's model, by name."""
    return by_name(_filled(config)[1])


def model(config: dict[str, Any]) -> Any:
    """The model of a config.json, which may also be that of a T5."""
    return nnx.merge(*_filled(config))


def decoder(config: dict[str, Any], vocab_size: int | None = None) -> Decoder:
    """The model of a config.json, with another vocabulary if one is given."""
    made = model({**config, "vocab_size": vocab_size} if vocab_size else config)
    assert isinstance(made, Decoder)
    return made


def write_checkpoint(folder: Path, config: dict[str, Any]) -> None:
    """Writes config.json, which may also be that of a T5, and model.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors(config), folder / "model.safetensors", {"format": "pt"})


REWARD_CLASSES = {
    **{"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3"},
    **{"gemma": "Gemma", "gemma2": "Gemma2", "gemma3_text": "Gemma3Text"},
}


def write_reward_model(folder: Path, config: dict[str, Any], *, labels: int = 1, **stated: Any) -> None:
    """Writes a decoder with a score head as transformers saves it, `*ForSequenceClassification`."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {str(i): f"LABEL_{i}" for i in range(labels)}
    architectures = [f"{REWARD_CLASSES[config['model_type']]}ForSequenceClassification"]
    whole = {**config, "architectures": architectures, "id2label": names, **stated}
    (folder / "config.json").write_text(json.dumps(whole))
    weights = {name: tensor for name, tensor in tensors(config).items() if name != "lm_head.weight"}
    weights["score.weight"] = random_tensor("score.weight", (labels, config["hidden_size"]))
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
