"""Writes golden/t5_*.safetensors: what transformers makes of tiny random T5s. The weights are made from their names.

    pip install torch==2.13.0 transformers safetensors && python tests/support/make_t5_golden.py

Neither of the two is needed to run the tests.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from places import GOLDEN
from random_weights import random_tensor
from safetensors.numpy import save_file
from transformers import T5ForConditionalGeneration

Array = npt.NDArray[Any]
SMALL = {
    "architectures": ["T5ForConditionalGeneration"],
    "d_model": 24,
    "decoder_start_token_id": 0,
    "model_type": "t5",
    "n_positions": 512,
    "output_past": True,
    "relative_attention_max_distance": 20,
    "relative_attention_num_buckets": 8,
    "vocab_size": 61,
}
# As the official files put it: T5 1.0 says nothing of ties, T5 1.1 and FLAN-T5 say that the head is not tied.
CONFIGS: dict[str, dict[str, Any]] = {
    "t5_v1_0": SMALL | {"d_kv": 6, "num_heads": 4, "d_ff": 40, "num_layers": 2},
    "t5_v1_1": SMALL
    | {
        "d_kv": 10,
        "num_heads": 3,
        "d_ff": 28,
        "num_layers": 3,
        "num_decoder_layers": 2,
        "feed_forward_proj": "gated-gelu",
        "tie_word_embeddings": False,
    },
}


def names_and_shapes(config: dict[str, Any], *, head: bool) -> dict[str, tuple[int, ...]]:
    """The tensors of the official file of such a model."""
    with torch.device("meta"):
        state = T5ForConditionalGeneration(T5ForConditionalGeneration.config_class.from_dict(dict(config))).state_dict()
    copies = {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight"} | (set() if head else {"lm_head.weight"})
    return {name: tuple(tensor.shape) for name, tensor in state.items() if name not in copies}


def reference(config: dict[str, Any], tokens: Array, lengths: Array, targets: Array, *, head: bool) -> Array:
    """The logits [B, T, V] of transformers for such a config.json, with or without an lm_head in the file."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(json.dumps(config))
        weights = {name: random_tensor(name, shape) for name, shape in names_and_shapes(config, head=head).items()}
        save_file(weights, Path(folder, "model.safetensors"), {"format": "pt"})
        return logits(Path(folder), tokens, lengths, targets)


def logits(folder: Path, tokens: Array, lengths: Array, targets: Array) -> Array:
    """The logits [B, T, V] of transformers for a checkpoint directory."""
    model, loading = T5ForConditionalGeneration.from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float32, output_loading_info=True
    )
    assert not any(loading.values()), loading
    mask = np.arange(tokens.shape[1])[None] < lengths[:, None]
    with torch.no_grad():
        answer = model.eval()(
            input_ids=torch.tensor(tokens).long(),
            attention_mask=torch.tensor(mask).long(),
            decoder_input_ids=torch.tensor(targets).long(),
        )
    return np.ascontiguousarray(answer.logits.numpy())


def asked(config: dict[str, Any], seed: int, S: int = 48, T: int = 25) -> dict[str, Array]:
    """Inputs and targets longer than the distance from which all keys share a bucket."""
    random = np.random.RandomState(seed)
    lengths = np.array([S, 17, 1], np.int32)
    tokens = random.randint(1, config["vocab_size"], (3, S)) * (np.arange(S)[None] < lengths[:, None])
    targets = random.randint(1, config["vocab_size"], (3, T))
    targets[:, 0] = config.get("decoder_start_token_id", 0)
    return {"tokens": tokens.astype(np.int32), "lengths": lengths, "targets": targets.astype(np.int32)}


def main() -> None:
    for name, config in CONFIGS.items():
        given = asked(config, 0)
        answer = reference(config, **given, head=config.get("tie_word_embeddings") is False)
        path = GOLDEN / f"{name}.safetensors"
        save_file(given | {"logits": answer}, path, {"config": json.dumps(config)})
        print(f"{path}: {path.stat().st_size} bytes, logits +- {answer.std():.2f}, torch {torch.__version__}")


if __name__ == "__main__":
    main()
