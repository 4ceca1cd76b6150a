"""A BERT encoder with a quality head. Modules are named as Hugging Face names the tensors of `BertModel`, weights
stay in its (out, in) layout, so a path joined by "." is the key in model.safetensors.

    tokens [B, T] -> embeddings [B, T, D] -> layers [B, T, D] -> (first token, mean of the text) [B, 2D] -> quality [B]
"""

from dataclasses import asdict, dataclass
from typing import Any, Self

import jax
import jax.numpy as jnp
from flax import nnx

from flame_rank.model.layers import Embedding, Linear

PADDING = 0  # [PAD] in every BERT vocabulary


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """The keys of a BERT `config.json` that shape the computation.

    Attributes:
      max_position_embeddings: no input is longer than this many tokens.
      layer_norm_eps: added to the variance; a wrong one moves every output a little and raises no error.
    """

    vocab_size: int = 30522
    hidden_size: int = 384
    num_hidden_layers: int = 6
    num_attention_heads: int = 12
    intermediate_size: int = 1536
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12

    # What else a BERT config.json holds: needed as given here, or without effect on the output.
    REQUIRED = {"hidden_act": "gelu", "position_embedding_type": "absolute", "model_type": "bert"}  # noqa: RUF012
    IGNORED = frozenset(
        {
            "_name_or_path",
            "architectures",
            "attention_probs_dropout_prob",
            "classifier_dropout",
            "dtype",
            "gradient_checkpointing",
            "hidden_dropout_prob",
            "initializer_range",
            "pad_token_id",
            "torch_dtype",
            "transformers_version",
            "use_cache",
        }
    )

    @classmethod
    def read(cls, config: dict[str, Any]) -> Self:
        """Takes a parsed `config.json`.

        Raises:
          ValueError: it asks for another computation than this file's, or holds a key unknown here.
        """
        known = {key: config[key] for key in cls.__dataclass_fields__ if key in config}
        for key in config.keys() - known.keys() - cls.IGNORED:
            if key not in cls.REQUIRED or config[key] != cls.REQUIRED[key]:
                raise ValueError(f"config.json: {key} = {config[key]!r} is not supported by this encoder")
        return cls(**known)

    def to_dict(self) -> dict[str, Any]:
        return {**self.REQUIRED, **asdict(self)}


class LayerNorm(nnx.Module):
    def __init__(self, size: int, eps: float):
        self.weight, self.bias, self.eps = nnx.Param(jnp.ones(size)), nnx.Param(jnp.zeros(size)), eps

    def __call__(self, x: jax.Array) -> jax.Array:
        mean = x.mean(-1, keepdims=True)
        variance = jnp.square(x - mean).mean(-1, keepdims=True)
        return (x - mean) * jax.lax.rsqrt(variance + self.eps) * self.weight[...] + self.bias[...]


class Embeddings(nnx.Module):
    def __init__(self, config: EncoderConfig, rngs: nnx.Rngs):
        self.word_embeddings = Embedding(config.vocab_size, config.hidden_size, rngs)
        self.position_embeddings = Embedding(config.max_position_embeddings, config.hidden_size, rngs)
        self.token_type_embeddings = Embedding(config.type_vocab_size, config.hidden_size, rngs)
        self.LayerNorm = LayerNorm(config.hidden_size, config.layer_norm_eps)

    def __call__(self, tokens: jax.Array, types: jax.Array) -> jax.Array:
        positions = jnp.arange(tokens.shape[1])[None]  # [1, T]
        x = self.word_embeddings(tokens) + self.position_embeddings(positions) + self.token_type_embeddings(types)
        return self.LayerNorm(x)  # [B, T, D]


class SelfAttention(nnx.Module):
    def __init__(self, config: EncoderConfig, rngs: nnx.Rngs):
        size = config.hidden_size
        self.heads = config.num_attention_heads
        self.query, self.key, self.value = (Linear(size, size, rngs) for _ in range(3))

    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        B, T, D = x.shape
        q, k, v = (f(x).reshape(B, T, self.heads, D // self.heads) for f in (self.query, self.key, self.value))
        y = jax.nn.dot_product_attention(q, k, v, mask=mask[:, None, None, :])  # [B, T, N, H]
        return y.reshape(B, T, D)


class Output(nnx.Module):
    """A projection, added to the residual stream and normalised."""

    def __init__(self, config: EncoderConfig, into: int, rngs: nnx.Rngs):
        self.dense = Linear(config.hidden_size, into, rngs)
        self.LayerNorm = LayerNorm(config.hidden_size, config.layer_norm_eps)

    def __call__(self, y: jax.Array, x: jax.Array) -> jax.Array:
        return self.LayerNorm(x + self.dense(y))


class Attention(nnx.Module):
    def __init__(self, config: EncoderConfig, rngs: nnx.Rngs):
        self.self = SelfAttention(config, rngs)
        self.output = Output(config, config.hidden_size, rngs)

    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        return self.output(self.self(x, mask), x)


class Intermediate(nnx.Module):
    def __init__(self, config: EncoderConfig, rngs: nnx.Rngs):
        self.dense = Linear(config.intermediate_size, config.hidden_size, rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return jax.nn.gelu(self.dense(x), approximate=False)  # [B, T, F]


class Layer(nnx.Module):
    def __init__(self, config: EncoderConfig, rngs: nnx.Rngs):
        self.attention = Attention(config, rngs)
        self.intermediate = Intermediate(config, rngs)
        self.output = Output(config, config.intermediate_size, rngs)

    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        x = self.attention(x, mask)
        return self.output(self.intermediate(x), x)


class Stack(nnx.Module):
    def __init__(self, config: EncoderConfig, rngs: nnx.Rngs):
        self.layer = nnx.List([Layer(config, rngs) for _ in range(config.num_hidden_layers)])


class Encoder(nnx.Module):
    """`BertModel` without its pooler, with a linear quality head on [first token, mean over the second text]."""

    def __init__(self, config: EncoderConfig, rngs: nnx.Rngs):
        self.embeddings = Embeddings(config, rngs)
        self.encoder = Stack(config, rngs)
        self.quality = Linear(1, 2 * config.hidden_size, rngs)

    def hidden(self, tokens: jax.Array, types: jax.Array) -> jax.Array:
        """tokens, types: [B, T] int32 -> the last layer [B, T, D]."""
        mask = tokens != PADDING
        with jax.named_scope("embeddings"):
            x = self.embeddings(tokens, types)
        for i, layer in enumerate(self.encoder.layer):
            with jax.named_scope(f"layer_{i}"):
                x = layer(x, mask)
        return x

    def __call__(self, tokens: jax.Array, types: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Reads texts.

        Args:
          tokens: [B, T] int32, `PADDING` at the end.
          types: [B, T] int32, 0 for the first text of a row, 1 for the second.

        Returns:
          qualities [B] float32 in log-odds, and the mean of the second text's vectors [B, D], of length 1.
        """
        x = self.hidden(tokens, types)
        weight = ((types == 1) & (tokens != PADDING))[:, :, None].astype(x.dtype)  # [B, T, 1]
        mean = (x * weight).sum(1) / jnp.maximum(weight.sum(1), 1)  # [B, D]
        quality = self.quality(jnp.concatenate([x[:, 0], mean], -1))[:, 0]  # [B]
        return quality, mean / jnp.maximum(jnp.linalg.norm(mean, axis=-1, keepdims=True), 1e-6)
