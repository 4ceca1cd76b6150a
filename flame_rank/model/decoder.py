"""A decoder-only transformer: Llama, Mistral, Qwen and Gemma from one configuration. Modules are named as Hugging Face
names the tensors, so a path joined by "." is the key in model.safetensors.

    tokens [B, T] -> embeddings [B, T, D] -> layers [B, T, D], each also giving keys and values [B, T, K, H]
      -> norm -> logits [B, T, V]

Keys and values of text that stands before `tokens` can be passed in, and those of `tokens` come out: that is all there
is to a cache.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from flax import nnx

from flame_rank.model.config import DecoderConfig, Rope
from flame_rank.model.layers import Drop, Embedding, Linear, RMSNorm, keep

# rows = our own, row by row: on a CPU the scores of one row stay in its cache. The others are
# jax.nn.dot_product_attention's.
Attend: TypeAlias = Literal["rows", "xla", "cudnn"]
KeyValue: TypeAlias = tuple[jax.Array, jax.Array]  # [B, S, K, H] each

_HIDDEN = -1e30  # a score that softmax makes 0, finite so that a row without any visible key is no NaN


def frequencies(rope: Rope, size: int) -> npt.NDArray[np.float32]:
    """Radians a position [H/2], rounded where transformers rounds them: at position 2000 the last bit of a frequency
    moves a logit by 1e-4."""
    power = np.arange(0, size, 2, dtype=np.float32) / np.float32(size)
    frequency = np.float32(1) / (rope.theta ** power.astype(np.float64)).astype(np.float32)
    if not rope.low:
        return frequency / np.float32(rope.factor)
    # 1 where a wave is short enough to be kept, 0 where it is long enough to be stretched.
    length = 1 / frequency * (2 * np.pi)
    keep = np.clip((1 / length * rope.original - rope.low) / (rope.high - rope.low), 0, 1)
    return np.asarray((1 - keep) * frequency / rope.factor + keep * frequency, np.float32)


def rotate(x: jax.Array, positions: jax.Array, rope: Rope) -> jax.Array:
    """Rotary embedding: x [B, T, N, H] at positions [B, T], computed in f32."""
    half = x.shape[-1] // 2
    frequency = frequencies(rope, x.shape[-1])
    angle = positions[:, :, None, None].astype(jnp.float32) * frequency  # [B, T, 1, H/2]
    # As transformers has it: the angle is f32, its sine and cosine are of the model's dtype.
    cos, sin = jnp.cos(angle).astype(x.dtype), jnp.sin(angle).astype(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


def _attend_row(q: jax.Array, k: jax.Array, v: jax.Array, visible: jax.Array, *, scale: float, cap: float) -> jax.Array:
    """Attention of one row: q [T, N, H], k and v [S, K, H], visible [T, S] -> [T, N, H]."""
    T, N, H = q.shape
    S, K, _ = k.shape
    q = q.reshape(T, K, N // K, H).transpose(1, 2, 0, 3).reshape(K, -1, H) * scale  # [K, GT, H]
    scores = jax.lax.dot_general(q, k, (((2,), (2,)), ((0,), (1,))), preferred_element_type=jnp.float32)  # [K, GT, S]
    if cap:
        scores = cap * jnp.tanh(scores / cap)
    scores = jnp.where(visible, scores.reshape(K, N // K, T, S), _HIDDEN)
    weights = jnp.exp(scores - scores.max(-1, keepdims=True))  # [K, G, T, S]
    total = weights.sum(-1)[..., None]  # [K, G, T, 1]
    y = jax.lax.dot_general(
        weights.reshape(K, -1, S).astype(v.dtype),
        v,
        (((2,), (0,)), ((0,), (1,))),
        preferred_element_type=jnp.float32,
    )  # [K, GT, H]
    y = y.reshape(K, N // K, T, H) / total
    return y.transpose(2, 0, 1, 3).reshape(T, N, H).astype(q.dtype)


def attend(
    q: jax.Array, k: jax.Array, v: jax.Array, visible: jax.Array, *, scale: float, cap: float, how: Attend
) -> jax.Array:
    """Attention: q [B, T, N, H], k and v [B, S, K, H], visible [B, T, S] bool -> [B, T, N, H]."""
    row = partial(_attend_row, scale=scale, cap=cap)
    if how == "rows":
        mapped: jax.Array = jax.lax.map(lambda one: row(*one), (q, k, v, visible))
        return mapped
    if cap:  # which dot_product_attention does not have
        return jax.vmap(row)(q, k, v, visible)
    y: jax.Array = jax.nn.dot_product_attention(q, k, v, mask=visible[:, None], scale=scale, implementation=how)
    return y


class Attention(nnx.Module):
    def __init__(self, config: DecoderConfig, layer: int, rngs: nnx.Rngs):
        self.config, self.rope = config, config.ropes[layer]
        D, N, K, H = config.hidden_size, config.num_attention_heads, config.num_key_value_heads, config.head_dim
        self.q_proj = Linear(N * H, D, rngs, bias=config.qkv_bias)
        self.k_proj = Linear(K * H, D, rngs, bias=config.qkv_bias)
        self.v_proj = Linear(K * H, D, rngs, bias=config.qkv_bias)
        self.o_proj = Linear(D, N * H, rngs, bias=config.o_bias)
        if config.qk_norm:
            self.q_norm = RMSNorm(H, config.rms_norm_eps, from_zero=config.from_zero)
            self.k_norm = RMSNorm(H, config.rms_norm_eps, from_zero=config.from_zero)

    def key_value(self, x: jax.Array, positions: jax.Array) -> KeyValue:
        """x [B, T, D] -> keys and values [B, T, K, H]."""
        shape = (*x.shape[:2], self.config.num_key_value_heads, self.config.head_dim)
        k, v = self.k_proj(x).reshape(shape), self.v_proj(x).reshape(shape)
        if self.config.qk_norm:
            k = self.k_norm(k)
        return rotate(k, positions, self.rope), v

    def __call__(self, x: jax.Array, positions: jax.Array, kv: KeyValue, visible: jax.Array, how: Attend) -> jax.Array:
        """x [B, T, D] at positions [B, T], kv [B, S, K, H], visible [B, T, S] -> [B, T, D]."""
        config = self.config
        B, T, _ = x.shape
        q = self.q_proj(x).reshape(B, T, config.num_attention_heads, config.head_dim)
        if config.qk_norm:
            q = self.q_norm(q)
        q = rotate(q, positions, self.rope)
        y = attend(q, *kv, visible, scale=config.query_scale, cap=config.attention_cap, how=how)  # [B, T, N, H]
        return self.o_proj(y.reshape(B, T, -1))


class MLP(nnx.Module):
    def __init__(self, config: DecoderConfig, rngs: nnx.Rngs):
        D, F = config.hidden_size, config.intermediate_size
        self.gate_proj, self.up_proj = (Linear(F, D, rngs, bias=config.mlp_bias) for _ in range(2))
        self.down_proj = Linear(D, F, rngs, bias=config.mlp_bias)
        self.gelu = config.gelu

    def __call__(self, x: jax.Array) -> jax.Array:
        gate = self.gate_proj(x)
        gate = jax.nn.gelu(gate, approximate=True) if self.gelu else jax.nn.silu(gate)
        return self.down_proj(gate * self.up_proj(x))  # [B, T, F] -> [B, T, D]


class Layer(nnx.Module):
    def __init__(self, config: DecoderConfig, layer: int, rngs: nnx.Rngs):
        def norm() -> RMSNorm:
            return RMSNorm(config.hidden_size, config.rms_norm_eps, from_zero=config.from_zero)

        self.sandwich = config.sandwich
        self.input_layernorm, self.post_attention_layernorm = norm(), norm()
        if config.sandwich:
            self.pre_feedforward_layernorm, self.post_feedforward_layernorm = norm(), norm()
        self.self_attn = Attention(config, layer, rngs)
        self.mlp = MLP(config, rngs)

    def __call__(
        self,
        x: jax.Array,
        normed: jax.Array,
        positions: jax.Array,
        kv: KeyValue,
        visible: jax.Array,
        how: Attend,
        drop: Drop = keep,
    ) -> jax.Array:
        """x [B, T, D] and the same behind the first norm -> [B, T, D]."""
        with jax.named_scope("attention"):
            y = self.self_attn(normed, positions, kv, visible, how)
        with jax.named_scope("mlp"):
            if self.sandwich:
                x = x + drop(self.post_attention_layernorm(y))
                return x + drop(self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(x))))
            x = x + drop(y)
            return x + drop(self.mlp(self.post_attention_layernorm(x)))


class Stack(nnx.Module):
    def __init__(self, config: DecoderConfig, rngs: nnx.Rngs):
        self.embed_tokens = Embedding(config.vocab_size, config.hidden_size, rngs)
        self.layers = nnx.List([Layer(config, i, rngs) for i in range(config.num_hidden_layers)])
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps, from_zero=config.from_zero)


class Decoder(nnx.Module):
    """A causal language model as its configuration says."""

    def __init__(self, config: DecoderConfig, rngs: nnx.Rngs):
        self.config = config
        self.model = Stack(config, rngs)
        if not config.tie_word_embeddings:
            self.lm_head = Linear(config.vocab_size, config.hidden_size, rngs, bias=False)

    def hidden(
        self,
        tokens: jax.Array,
        *,
        before: jax.Array | None = None,
        prefix: Callable[[int], KeyValue] | None = None,
        read: jax.Array | None = None,
        how: Attend = "xla",
        drop: Drop = keep,
        recompute: bool = False,
    ) -> tuple[jax.Array, list[KeyValue]]:
        """Reads tokens that follow a prefix.

        Args:
          tokens: [B, T] int32; what stands behind a row's end is read too, and nothing before it is changed by it.
          before: [B] int32, the length of each row's prefix; None = no prefix.
          prefix: gives for a layer the keys and values [B, S, K, H] of the prefix, of which `before` are valid.
          read: [B, R] int32, the places in `tokens` whose output is wanted; None = all. The last layer computes no
            others.
          how: which attention.
          drop: dropout, in training; called twice a layer, in their order.
          recompute: let the gradient compute each layer again rather than keep what is inside it.

        Returns:
          the last layer's output, normed, [B, R, D] or [B, T, D]; for each layer keys and values [B, T, K, H].
        """
        B, T = tokens.shape
        before = jnp.zeros(B, jnp.int32) if before is None else before
        positions = before[:, None] + jnp.arange(T)  # [B, T]
        S = prefix(0)[0].shape[1] if prefix else 0
        places = jnp.broadcast_to(jnp.arange(S), (B, S))
        at = jnp.concatenate([places, positions], 1)  # [B, S + T], where each key stands
        known = jnp.concatenate([places < before[:, None], jnp.ones((B, T), bool)], 1)  # [B, S + T]

        def visible(asking: jax.Array, window: int | None) -> jax.Array:
            """Which keys a query at a position [B, T] sees: [B, T, S + T]."""
            distance = asking[:, :, None] - at[:, None, :]
            seen = known[:, None, :] & (distance >= 0)
            return seen if window is None else seen & (distance < window)

        windows = {*self.config.windows}
        masks = {window: visible(positions, window) for window in windows}
        with jax.named_scope("embeddings"):
            x = self.model.embed_tokens(tokens)
            if self.config.embedding_scale != 1:
                x = x * jnp.asarray(self.config.embedding_scale, x.dtype)
        new: list[KeyValue] = []
        for i, layer in enumerate(self.model.layers):
            with jax.named_scope(f"layer_{i}"):
                normed = layer.input_layernorm(x)
                k, v = layer.self_attn.key_value(normed, positions)
                new.append((k, v))
                if prefix:
                    k0, v0 = prefix(i)
                    k, v = jnp.concatenate([k0, k], 1), jnp.concatenate([v0, v], 1)  # [B, S + T, K, H]
                mask = masks[self.config.windows[i]]
                if read is not None and i == self.config.num_hidden_layers - 1:
                    x, normed = (jnp.take_along_axis(y, read[:, :, None], 1) for y in (x, normed))  # [B, R, D]
                    positions = jnp.take_along_axis(positions, read, 1)
                    mask = visible(positions, self.config.windows[i])
                run = partial(layer, how=how, drop=drop)
                x = (jax.checkpoint(run) if recompute else run)(x, normed, positions, (k, v), mask)
        return self.model.norm(x), new

    def logits(self, hidden: jax.Array) -> jax.Array:
        """hidden [..., D] -> [..., V] float32."""
        tied = self.config.tie_word_embeddings
        weight = self.model.embed_tokens.weight[...] if tied else self.lm_head.weight[...]
        logits = jnp.einsum("...d,vd->...v", hidden, weight, preferred_element_type=jnp.float32)
        cap = self.config.logit_cap
        return cap * jnp.tanh(logits / cap) if cap else logits

    def __call__(self, tokens: jax.Array, *, how: Attend = "xla") -> jax.Array:
        """The plain computation: tokens [B, T] int32 -> logits [B, T, V] float32."""
        return self.logits(self.hidden(tokens, how=how)[0])
