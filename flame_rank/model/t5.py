"""T5 and FLAN-T5 for scoring. Modules are named as Hugging Face names the tensors of `T5ForConditionalGeneration`, and
weights stay in its (out, in) layout, so a path joined by "." is the key in model.safetensors.

    tokens [B, S] -> encoder [B, S, D];  targets [B, T] + encoded [B, S, D] -> decoder [B, T, D] -> logits [B, T, V]

The encoder reads in both directions, so there is no prefix to share: each ordered pair is encoded whole.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from flax import nnx

from flame_rank.model.layers import Drop, Embedding, Linear, RMSNorm, keep
from flame_rank.model.t5_config import T5Config

Ints = npt.NDArray[np.int32]


def buckets(offsets: Ints, count: int, furthest: int, *, both_ways: bool) -> Ints:
    """Returns the row of the bias table for each distance.

    Args:
      offsets: int32, the key's position minus the query's position.
      count: the number of rows of the table; if `both_ways`, half of them are for keys to the right.
      furthest: from this distance on, all keys share the last bucket.
      both_ways: whether keys to the right count; if not, their distance is 0, and the causal mask hides them.

    Returns:
      int32, with the shape of `offsets`.
    """
    if both_ways:
        count //= 2
        first, distance = np.where(offsets > 0, count, 0), np.abs(offsets)
    else:
        first, distance = np.zeros_like(offsets), np.maximum(-offsets, 0)
    exact = count // 2  # one bucket for each distance up to here, then wider and wider ones
    # In float32 as upstream: rounding decides at the edge of a bucket.
    ratio = np.log(np.maximum(distance, exact).astype(np.float32) / np.float32(exact))
    far = (ratio / np.float32(math.log(furthest / exact)) * np.float32(count - exact)).astype(np.int32)
    return np.asarray(first + np.where(distance < exact, distance, np.minimum(exact + far, count - 1)), np.int32)


class Attention(nnx.Module):
    def __init__(self, config: T5Config, rngs: nnx.Rngs, *, has_bias: bool = False):
        self.heads, self.size = config.num_heads, config.d_kv
        inner = self.heads * self.size
        self.q, self.k, self.v = (Linear(inner, config.d_model, rngs, bias=False) for _ in range(3))
        self.o = Linear(config.d_model, inner, rngs, bias=False)
        if has_bias:
            self.relative_attention_bias = Embedding(config.relative_attention_num_buckets, self.heads, rngs)

    def __call__(self, x: jax.Array, source: jax.Array, bias: jax.Array | None, lengths: jax.Array | None) -> jax.Array:
        """x [B, T, D] attends to the first `lengths` [B] positions of source [B, S, D], with bias [1, N, T, S];
        without `lengths`, x is the source, and a position attends to itself and to those on its left. Returns [B, T,
        D]."""
        q, k, v = (
            f(y).reshape(*y.shape[:2], self.heads, self.size)  # [B, T, N, H], [B, S, N, H]
            for f, y in ((self.q, x), (self.k, source), (self.v, source))
        )
        y = jax.nn.dot_product_attention(  # T5 has no 1/sqrt(H)
            q, k, v, bias=bias, scale=1.0, is_causal=lengths is None, key_value_seq_lengths=lengths
        )
        return self.o(y.reshape(*x.shape[:2], -1))


class SelfAttention(nnx.Module):
    def __init__(self, config: T5Config, rngs: nnx.Rngs, *, has_bias: bool):
        self.SelfAttention = Attention(config, rngs, has_bias=has_bias)
        self.layer_norm = RMSNorm(config.d_model, config.layer_norm_epsilon)

    def __call__(self, x: jax.Array, bias: jax.Array, lengths: jax.Array | None, drop: Drop = keep) -> jax.Array:
        y = self.layer_norm(x)
        return x + drop(self.SelfAttention(y, y, bias, lengths))


class CrossAttention(nnx.Module):
    def __init__(self, config: T5Config, rngs: nnx.Rngs):
        self.EncDecAttention = Attention(config, rngs)
        self.layer_norm = RMSNorm(config.d_model, config.layer_norm_epsilon)

    def __call__(self, x: jax.Array, encoded: jax.Array, lengths: jax.Array, drop: Drop = keep) -> jax.Array:
        return x + drop(self.EncDecAttention(self.layer_norm(x), encoded, None, lengths))


class Dense(nnx.Module):
    def __init__(self, config: T5Config, rngs: nnx.Rngs):
        self.gated = config.feed_forward_proj == "gated-gelu"
        if self.gated:
            self.wi_0, self.wi_1 = (Linear(config.d_ff, config.d_model, rngs, bias=False) for _ in range(2))
        else:
            self.wi = Linear(config.d_ff, config.d_model, rngs, bias=False)
        self.wo = Linear(config.d_model, config.d_ff, rngs, bias=False)

    def __call__(self, x: jax.Array) -> jax.Array:
        y = jax.nn.gelu(self.wi_0(x), approximate=True) * self.wi_1(x) if self.gated else jax.nn.relu(self.wi(x))
        return self.wo(y)  # [B, T, F] -> [B, T, D]


class FeedForward(nnx.Module):
    def __init__(self, config: T5Config, rngs: nnx.Rngs):
        self.DenseReluDense = Dense(config, rngs)
        self.layer_norm = RMSNorm(config.d_model, config.layer_norm_epsilon)

    def __call__(self, x: jax.Array, drop: Drop = keep) -> jax.Array:
        return x + drop(self.DenseReluDense(self.layer_norm(x)))


class Block(nnx.Module):
    def __init__(self, config: T5Config, rngs: nnx.Rngs, *, decoder: bool, has_bias: bool):
        between = [CrossAttention(config, rngs)] if decoder else []
        self.layer = nnx.List([SelfAttention(config, rngs, has_bias=has_bias), *between, FeedForward(config, rngs)])


class Stack(nnx.Module):
    def __init__(self, config: T5Config, rngs: nnx.Rngs, *, decoder: bool):
        self.config, self.decoder = config, decoder
        count = config.num_decoder_layers if decoder else config.num_layers
        self.block = nnx.List([Block(config, rngs, decoder=decoder, has_bias=i == 0) for i in range(count)])
        self.final_layer_norm = RMSNorm(config.d_model, config.layer_norm_epsilon)

    def bias(self, T: int) -> jax.Array:
        """Computes the bias of each head for the distance between query and key, [1, N, T, T], the same in every
        block."""
        rows = buckets(
            np.arange(1 - T, T, dtype=np.int32),
            self.config.relative_attention_num_buckets,
            self.config.relative_attention_max_distance,
            both_ways=not self.decoder,
        )
        first: Any = self.block[0].layer[0]
        by_offset: jax.Array = first.SelfAttention.relative_attention_bias(rows)  # [2T-1, N], from 1-T to T-1
        offsets = jnp.arange(T)[None, :] - jnp.arange(T)[:, None] + T - 1
        return by_offset.T[None, :, offsets]

    def __call__(
        self,
        x: jax.Array,
        lengths: jax.Array,
        encoded: jax.Array | None = None,
        *,
        drop: Drop = keep,
        recompute: bool = False,
    ) -> jax.Array:
        bias = self.bias(x.shape[1])

        def run(block: Any, x: jax.Array) -> jax.Array:
            x = block.layer[0](x, bias, None if self.decoder else lengths, drop)
            if self.decoder:
                x = block.layer[1](x, encoded, lengths, drop)
            y: jax.Array = block.layer[-1](x, drop)
            return y

        for i, block in enumerate(self.block):
            with jax.named_scope(f"block_{i}"):
                compute = partial(run, block)
                x = jax.checkpoint(compute)(x) if recompute else compute(x)
        return self.final_layer_norm(x)


class T5(nnx.Module):
    """`T5ForConditionalGeneration`, computing in the dtype of its parameters (float32 or bfloat16; float16 overflows),
    with norms, softmax and logits in float32."""

    def __init__(self, config: T5Config, rngs: nnx.Rngs):
        self.config = config
        self.shared = Embedding(config.vocab_size, config.d_model, rngs)
        self.encoder = Stack(config, rngs, decoder=False)
        self.decoder = Stack(config, rngs, decoder=True)
        if not config.tie_word_embeddings:
            self.lm_head = Linear(config.vocab_size, config.d_model, rngs, bias=False)

    def encode(self, tokens: jax.Array, lengths: jax.Array, *, drop: Drop = keep, recompute: bool = False) -> jax.Array:
        """Encodes inputs.

        Args:
          tokens: [B, S] int32; tokens beyond a row's length are not read.
          lengths: [B] int32; a row of length 0 only fills the batch, and its output has no meaning.
          drop, recompute: as in decoder.py, for training.

        Returns:
          [B, S, D].
        """
        with jax.named_scope("encoder"):
            return self.encoder(self.shared(tokens), lengths, drop=drop, recompute=recompute)

    def decode(
        self,
        targets: jax.Array,
        encoded: jax.Array,
        lengths: jax.Array,
        *,
        drop: Drop = keep,
        recompute: bool = False,
    ) -> jax.Array:
        """Computes the decoder's output for given targets (teacher forcing).

        Args:
          targets: [B, T] int32, `decoder_start_token_id` first; position t sees targets 0 to t.
          encoded: [B, S, D] from `encode`.
          lengths: [B] int32, the lengths of the inputs.

        Returns:
          [B, T, D], input of `logits`: position t gives the logits of target t+1.
        """
        with jax.named_scope("decoder"):
            return self.decoder(self.shared(targets), lengths, encoded, drop=drop, recompute=recompute)

    def logits(self, hidden: jax.Array) -> jax.Array:
        """hidden: [..., D] from `decode` -> [..., V] float32."""
        if self.config.scale_decoder_outputs:
            hidden = hidden * self.config.d_model**-0.5
        head = self.shared if self.config.tie_word_embeddings else self.lm_head
        return jnp.einsum("...D,VD->...V", hidden, head.weight[...], preferred_element_type=jnp.float32)


def score(model: T5, tokens: jax.Array, lengths: jax.Array, targets: jax.Array, target_lengths: jax.Array) -> jax.Array:
    """Computes how likely given targets are.

    Args:
      tokens: [B, S] int32, the inputs.
      lengths: [B] int32, the lengths of the inputs.
      targets: [B, T] int32, without the start token.
      target_lengths: [B] int32.

    Returns:
      [B, T] float32, the log-probability in nats of each target token given the input and the tokens before it; 0
      beyond the target's length.
    """
    start = jnp.full_like(targets[:, :1], model.config.decoder_start_token_id)
    hidden = model.decode(jnp.concatenate([start, targets[:, :-1]], 1), model.encode(tokens, lengths), lengths)

    def log_prob(position: tuple[jax.Array, jax.Array]) -> jax.Array:
        logits = model.logits(position[0])  # [B, V]
        chosen = jnp.take_along_axis(logits, position[1][:, None], 1)[:, 0]
        return chosen - jax.nn.logsumexp(logits, 1)

    values = jax.lax.map(log_prob, (hidden.swapaxes(0, 1), targets.T)).T  # one position at a time: never [B, T, V]
    return jnp.where(jnp.arange(targets.shape[1])[None] < target_lengths[:, None], values, 0.0)


State = tuple[jax.Array, jax.Array, jax.Array]  # steps done, texts [B, limit], ended [B]


def generate(model: T5, tokens: jax.Array, lengths: jax.Array, *, eos: tuple[int, ...], limit: int) -> jax.Array:
    """Writes the likeliest next token until the end or the limit, in one program.

    Every step computes the decoder again over all `limit` positions: this is simple, and cheap compared to the encoder
    for a verdict or a few sentences, but wasteful for long texts.

    Args:
      tokens: [B, S] int32, the inputs.
      lengths: [B] int32, the lengths of the inputs; a row of length 0 stays empty.
      eos: ids that end a text; if there are none, every text is as long as the limit.
      limit: maximum number of tokens.

    Returns:
      [B, limit] int32, without the start token, with the ending token, and with `pad_token_id` after it.
    """
    config = model.config
    encoded = model.encode(tokens, lengths)
    start = jnp.full((tokens.shape[0], 1), config.decoder_start_token_id, jnp.int32)

    def write(state: State) -> State:
        step, texts, ended = state
        hidden = model.decode(jnp.concatenate([start, texts[:, :-1]], 1), encoded, lengths)
        logits = model.logits(jax.lax.dynamic_index_in_dim(hidden, step, 1, keepdims=False))  # [B, V]
        token = jnp.where(ended, config.pad_token_id, logits.argmax(1).astype(jnp.int32))
        texts = jax.lax.dynamic_update_index_in_dim(texts, token, step, 1)
        return step + 1, texts, ended | jnp.isin(token, jnp.asarray(eos, jnp.int32))

    empty = jnp.full((tokens.shape[0], limit), config.pad_token_id, jnp.int32)
    state = jnp.int32(0), empty, lengths == 0
    return jax.lax.while_loop(lambda state: (state[0] < limit) & ~state[2].all(), write, state)[1]
