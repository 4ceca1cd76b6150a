"""What judge and trainer know of a checkpoint's family, from its configuration and its tensors."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import VARIANTS, write_checkpoint, write_reward_model
from safetensors.numpy import load_file, save_file
from tokenizers_tiny import write_sentencepiece

from flame_rank.model.decoder import Decoder
from flame_rank.model.families import FAMILIES, read_architecture, score_head
from flame_rank.model.t5 import T5
from flame_rank.model.text import load as load_tokenizer

SMALL = {"model_type": "t5", "d_model": 32, "d_ff": 48, "d_kv": 8, "num_layers": 1, "num_heads": 2}


def write(folder: Path, config: dict[str, Any]) -> Path:
    write_checkpoint(folder, config)
    return folder


@pytest.mark.parametrize("name", ["llama2", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3"])
def test_decoders(name: str, tmp_path: Path) -> None:
    architecture = read_architecture(write(tmp_path / "m", VARIANTS[name]))
    assert architecture.module is Decoder and not architecture.reads_and_writes
    assert architecture.family == VARIANTS[name]["model_type"] in FAMILIES
    assert (architecture.vocab_size, architecture.positions) == (97, 4096)
    assert ("lm_head.weight" in architecture.ignored) is (name.startswith("gemma") or name == "qwen2")


def test_t5_ends_its_inputs(tmp_path: Path) -> None:
    size = write_sentencepiece(tmp_path, "t5")
    architecture = read_architecture(write(tmp_path, {**SMALL, "vocab_size": size}))
    assert architecture.module is T5 and architecture.reads_and_writes and architecture.positions is None
    tokenizer = load_tokenizer(tmp_path)
    assert architecture.head_dim == 8 and architecture.input_end(tokenizer) == tuple(tokenizer.eos)


def test_the_weights_decide_about_the_head(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is saved with `stated` is read as this was."""
    folder = write(tmp_path / "m", VARIANTS["qwen2"])
    assert read_architecture(folder).stated["tie_word_embeddings"] is True and not caplog.records
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, "lm_head.weight": np.ones((97, 32), np.float32)}, folder / "model.safetensors")
    architecture = read_architecture(folder)
    assert architecture.stated["tie_word_embeddings"] is False and "another matrix" in caplog.text
    assert "lm_head.weight" not in architecture.ignored


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "gpt2"}, "model_type 'gpt2' is not supported"),
        ({"model_type": ["llama"]}, "is not supported"),
        ({"num_hidden_layers": 9}, "states 9 layers, but the weights have 2"),
        ({"vocab_size": 96}, r"model.embed_tokens.weight has shape \(97, 32\), but config.json states 96 words"),
        ({"architectures": ["LlamaForSequenceClassification"], "id2label": {"0": "a"}}, "but one that writes text"),
    ],
)
def test_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "m", VARIANTS["llama2"])
    (folder / "config.json").write_text(json.dumps({**VARIANTS["llama2"], **change}))
    with pytest.raises(ValueError, match=message):
        read_architecture(folder)


def test_reward_models(tmp_path: Path) -> None:
    write_reward_model(tmp_path / "m", VARIANTS["llama2"])
    architecture = read_architecture(tmp_path / "m", reward=True)
    assert score_head(architecture.stated) == "LlamaForSequenceClassification"
    with pytest.raises(ValueError, match="not a reward model, but one is needed"):
        read_architecture(write(tmp_path / "other", VARIANTS["llama2"]), reward=True)
