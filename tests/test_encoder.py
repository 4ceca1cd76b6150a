"""The encoder against transformers' BertModel, and what must not change what it says of a text."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx
from safetensors import safe_open

from flame_rank.model import checkpoint
from flame_rank.model.encoder import Encoder, EncoderConfig

GOLDEN = Path(__file__).parent / "golden" / "encoder.safetensors"  # written by make_encoder_golden.py
BERT = {
    "architectures": ["BertModel"],
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_size": 24,
    "model_type": "bert",
    "num_attention_heads": 4,
    "position_embedding_type": "absolute",
    "transformers_version": "4.8.2",
}
HEAD = frozenset({"quality.weight", "quality.bias"})


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    return dict(checkpoint.load(GOLDEN))


@pytest.fixture(scope="module")
def encoder(golden: dict[str, Any]) -> Encoder:
    with safe_open(GOLDEN, "numpy") as file:
        config = EncoderConfig.read(json.loads(file.metadata()["config"]))
    graph, params = nnx.split(Encoder(config, nnx.Rngs(0)))
    checkpoint.fill(params, golden, missing=HEAD)
    return nnx.merge(graph, params)


def read(encoder: Encoder, tokens: Any, types: Any) -> tuple[Any, Any]:
    with jax.default_matmul_precision("highest"):
        quality, vector = encoder(tokens, types)
    return np.asarray(quality), np.asarray(vector)


def test_equals_transformers(encoder: Encoder, golden: dict[str, Any]) -> None:
    with jax.default_matmul_precision("highest"):
        hidden = np.asarray(encoder.hidden(golden["tokens"], golden["types"]))
    text = golden["tokens"] != 0  # what stands in the place of padding is of no interest
    assert text.sum() == 41 and golden["hidden"][text].std() > 0.1
    assert np.abs(hidden - golden["hidden"])[text].max() <= 1e-4


@pytest.mark.parametrize("change", ["key", "eps", "types"])
def test_the_golden_would_show_a_fault(change: str, encoder: Encoder, golden: dict[str, Any]) -> None:
    graph, params = nnx.split(encoder)
    other = nnx.merge(graph, jax.tree.map(lambda leaf: leaf, params))
    tokens, types = golden["tokens"], golden["types"]
    if change == "key":
        other.encoder.layer[2].attention.self.key.weight[...] *= 1.01
    elif change == "eps":
        other.encoder.layer[0].output.LayerNorm.eps = 1e-3
    else:
        types = np.zeros_like(types)
    with jax.default_matmul_precision("highest"):
        hidden = np.asarray(other.hidden(tokens, types))
    assert np.abs(hidden - golden["hidden"])[tokens != 0].max() > 1e-4


def test_padding_moves_nothing(encoder: Encoder, golden: dict[str, Any]) -> None:
    tokens, types = golden["tokens"], golden["types"]
    quality, vector = read(encoder, tokens, types)
    assert np.ptp(quality) > 1e-2
    row, length = 1, 13
    assert tokens[row, length - 1] != 0 and (tokens[row, length:] == 0).all()
    alone = read(encoder, tokens[row : row + 1, :length], types[row : row + 1, :length])
    np.testing.assert_allclose(alone[0][0], quality[row], atol=1e-5)
    np.testing.assert_allclose(alone[1][0], vector[row], atol=1e-5)


def test_the_order_of_a_batch_moves_nothing(encoder: Encoder, golden: dict[str, Any]) -> None:
    order = [2, 0, 3, 1]
    quality, vector = read(encoder, golden["tokens"], golden["types"])
    other_quality, other_vector = read(encoder, golden["tokens"][order], golden["types"][order])
    np.testing.assert_allclose(other_quality, quality[order], atol=1e-5)
    np.testing.assert_allclose(other_vector, vector[order], atol=1e-5)


def test_vectors_have_length_one_and_an_empty_second_text_none(encoder: Encoder, golden: dict[str, Any]) -> None:
    quality, vector = read(encoder, golden["tokens"], golden["types"])
    np.testing.assert_allclose(np.linalg.norm(vector, axis=1), 1, atol=1e-5)
    quality, vector = read(encoder, golden["tokens"], np.zeros_like(golden["types"]))
    assert np.isfinite(quality).all() and (vector == 0).all()


def test_reads_berts_configuration() -> None:
    config = EncoderConfig.read(BERT)
    assert (config.hidden_size, config.num_attention_heads, config.vocab_size) == (24, 4, 30522)
    assert EncoderConfig.read(config.to_dict()) == config


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_act", "gelu_new"),
        ("position_embedding_type", "relative_key"),
        ("model_type", "roberta"),
        ("is_decoder", True),
        ("rope_theta", 1e4),
    ],
)
def test_refuses_another_computation(key: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"config.json: {key} = {value!r} is not supported"):
        EncoderConfig.read(BERT | {key: value})
