"""A decoder-only transformer: Llama, Mistral, Qwen and Gemma from one configuration. Modules are named as Hugging Face
names the tensors, so a path joined by "." is the key in model.safetensors.

    tokens [B, T] -> embeddings [B, T, D] -> layers [B, T, D], each also giving keys and values [B, T, K, H]
      -> norm -> logits [B, T, V]

The keys and values of text before `tokens` can be passed in, and those of `tokens` are returned: a cache needs nothing
else.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from flax import nnx

from flame_rank.model.choices import Attend
from flame_rank.model.config import DecoderConfig, Rope
from flame_rank.model.layers import Drop, Embedding, Linear, RMSNorm, keep

KeyValue: TypeAlias = tuple[jax.Array, jax.Array]  # [B, S, K, H] each

_BLOCK = 256  # queries of a block
_HIDDEN = -1e30  # a score that softmax makes 0, finite so that a row without any visible key is no NaN


def frequencies(rope: Rope, size: int) -> npt.NDArray[np.float32]:
    """Computes the radians per position [H/2], rounded as in transformers: at position 2000 the last bit of a
    frequency changes a logit by 1e-4."""
    power = np.arange(0, size, 2, dtype=np.float32) / np.float32(size)
    frequency = np.float32(1) / (rope.theta ** power.astype(np.float64)).astype(np.float32)
    if not rope.low:
        return frequency / np.float32(rope.factor)
    # 1 where a wave is short enough to be kept, 0 where it is long enough to be stretched.
    length = 1 / frequency * (2 * np.pi)
    keep = np.clip((1 / length * rope.original - rope.low) / (rope.high - rope.low), 0, 1)
    return np.asarray((1 - keep) * frequency / rope.factor + keep * frequency, np.float32)


class View(NamedTuple):
    """The positions of a batch for the layers of one kind: the mask and the angles of the position embedding.

    Attributes:
      visible: [B, T, S + T] bool, whether a token sees a key.
      cos, sin: [B, T, 1, H/2] of the angle by which a position rotates queries and keys.
    """

    visible: jax.Array
    cos: jax.Array
    sin: jax.Array

    def at(self, read: jax.Array) -> "View":
        """Returns the view of some of the tokens: read [B, R]."""
        return View(*(jnp.take_along_axis(x, read.reshape(*read.shape, *[1] * (x.ndim - 2)), 1) for x in self))


def views(config: DecoderConfig, before: jax.Array, T: int, S: int, dtype: Any) -> tuple[View, ...]:
    """Returns the view of each of `config.kinds`, for T tokens that follow prefixes of `before` [B] tokens, padded to
    S."""
    B = before.shape[0]
    positions = before[:, None] + jnp.arange(T)  # [B, T]
    places = jnp.broadcast_to(jnp.arange(S), (B, S))
    at = jnp.concatenate([places, positions], 1)  # [B, S + T]
    known = jnp.concatenate([places < before[:, None], jnp.ones((B, T), bool)], 1)  # [B, S + T]
    return make_views(config, positions, at, known[:, None, :] & (at[:, None, :] <= positions[:, :, None]), dtype)


def make_views(
    config: DecoderConfig, positions: jax.Array, at: jax.Array, seen: jax.Array, dtype: Any
) -> tuple[View, ...]:
    """Makes the view of each of `config.kinds`.

    Args:
      positions: [B, T], where each token stands.
      at: [B, K], where each key stands.
      seen: [B, T, K] bool, which keys a token sees in a layer without a window.
      dtype: the dtype of the model.
    """
    kinds = []
    for window, rope in config.kinds:
        angle = positions[:, :, None, None].astype(jnp.float32) * frequencies(rope, config.head_dim)  # [B, T, 1, H/2]
        # As in transformers: the angle is f32, its sine and cosine are of the model's dtype.
        cos, sin = jnp.cos(angle).astype(dtype), jnp.sin(angle).astype(dtype)
        near = seen if window is None else seen & (positions[:, :, None] - at[:, None, :] < window)
        kinds.append(View(near, cos, sin))
    return tuple(kinds)


def rotate(x: jax.Array, view: View) -> jax.Array:
    """Rotary embedding: x [B, T, N, H] turned by its positions."""
    a, b = jnp.split(x, 2, -1)
    return jnp.concatenate([a * view.cos - b * view.sin, b * view.cos + a * view.sin], -1)


def _products(a: jax.Array, b: jax.Array, along_a: int, along_b: int) -> jax.Array:
    """The products of each pair of matrices in a and b [B, K, ., .], in float32."""
    axes = (((along_a,), (along_b,)), ((0, 1), (0, 1)))
    return jax.lax.dot_general(a, b, axes, preferred_element_type=jnp.float32)


def _weights(q: jax.Array, k: jax.Array, visible: jax.Array, scale: float, cap: float) -> tuple[jax.Array, jax.Array]:
    """Returns the attention weights [B, K, P, S] float32, and the cap's slope at each score; arguments as below."""
    (B, K, P, _), (_, T, S) = q.shape, visible.shape
    scores, slope = _products(q * scale, k, 3, 3), jnp.ones(())
    if cap:
        inner = jnp.tanh(scores / cap)
        scores, slope = cap * inner, 1 - inner * inner
    scores = jnp.where(visible[:, None, None], scores.reshape(B, K, P // T, T, S), _HIDDEN)
    weights = jnp.exp(scores - scores.max(-1, keepdims=True))
    return (weights / weights.sum(-1, keepdims=True)).reshape(B, K, P, S), slope


@partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _attend_heads(q: jax.Array, k: jax.Array, v: jax.Array, visible: jax.Array, scale: float, cap: float) -> jax.Array:
    """Attention of the P = G T queries of each key head: q [B, K, P, H], k and v [B, K, S, H], visible [B, T, S] ->
    [B, K, P, H]. Its gradients compute the weights again: jax's own keep them, and take longer on a CPU."""
    return _products(_weights(q, k, visible, scale, cap)[0].astype(v.dtype), v, 3, 2).astype(q.dtype)


def _attend_heads_kept(
    q: jax.Array, k: jax.Array, v: jax.Array, visible: jax.Array, scale: float, cap: float
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    y = _attend_heads(q, k, v, visible, scale, cap)
    return y, (q, k, v, visible, y)


def _attend_heads_gradients(
    scale: float, cap: float, kept: tuple[jax.Array, ...], dy: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, None]:
    q, k, v, visible, y = kept
    weights, slope = _weights(q, k, visible, scale, cap)
    mean = (dy.astype(jnp.float32) * y.astype(jnp.float32)).sum(-1, keepdims=True)  # of the slopes, by the weights
    dscores = (weights * (_products(dy, v, 3, 3) - mean) * slope).astype(q.dtype)
    dq, dk, dv = (
        _products(dscores, k, 3, 2) * scale,
        _products(dscores, q * scale, 2, 2),
        _products(weights.astype(q.dtype), dy, 2, 2),
    )
    return dq.astype(q.dtype), dk.astype(k.dtype), dv.astype(v.dtype), None


_attend_heads.defvjp(_attend_heads_kept, _attend_heads_gradients)


def attend(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    visible: jax.Array,
    *,
    scale: float,
    cap: float,
    how: Attend,
    in_order: bool = True,
) -> jax.Array:
    """Attention: q [B, T, N, H], k and v [B, S, K, H], visible [B, T, S] bool -> [B, T, N, H].

    Args:
      in_order: the T queries belong to the last T keys, one after the other, and see none after their own.
    """
    y: jax.Array
    if how == "blocks" and q.shape[1] > _BLOCK:
        before = k.shape[1] - q.shape[1]  # the keys of a prefix
        ends = [(i, i + _BLOCK, before + i + _BLOCK if in_order else None) for i in range(0, q.shape[1], _BLOCK)]
        parts = [
            attend(q[:, i:j], k[:, :e], v[:, :e], visible[:, i:j, :e], scale=scale, cap=cap, how=how)
            for i, j, e in ends
        ]
        return jnp.concatenate(parts, 1)
    if how in ("xla", "cudnn") and not cap:  # which dot_product_attention does not have
        y = jax.nn.dot_product_attention(q, k, v, mask=visible[:, None], scale=scale, implementation=how)
        return y
    (B, T, N, H), K = q.shape, k.shape[2]
    q = q.reshape(B, T, K, N // K, H).transpose(0, 2, 3, 1, 4).reshape(B, K, -1, H)  # [B, K, G T, H]
    k, v = k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3)  # [B, K, S, H]
    if how == "rows":

        def row(each: tuple[jax.Array, ...]) -> jax.Array:
            number, *head = each
            return _attend_heads(*(x[None, None] for x in head), visible[number // K][None], scale, cap)[0, 0]

        y = jax.lax.map(row, (jnp.arange(B * K), *(x.reshape(B * K, *x.shape[2:]) for x in (q, k, v))))
    else:
        y = _attend_heads(q, k, v, visible, scale, cap)
    return y.reshape(B, N, T, H).transpose(0, 2, 1, 3)


class Attention(nnx.Module):
    def __init__(self, config: DecoderConfig, rngs: nnx.Rngs):
        self.config = config
        D, N, K, H = config.hidden_size, config.num_attention_heads, config.num_key_value_heads, config.head_dim
        self.q_proj = Linear(N * H, D, rngs, bias=config.qkv_bias)
        self.k_proj = Linear(K * H, D, rngs, bias=config.qkv_bias)
        self.v_proj = Linear(K * H, D, rngs, bias=config.qkv_bias)
        self.o_proj = Linear(D, N * H, rngs, bias=config.o_bias)
        if config.qk_norm:
            self.q_norm = RMSNorm(H, config.rms_norm_eps, from_zero=config.from_zero)
            self.k_norm = RMSNorm(H, config.rms_norm_eps, from_zero=config.from_zero)

    def key_value(self, x: jax.Array, view: View) -> KeyValue:
        """x [B, T, D] -> keys and values [B, T, K, H]."""
        shape = (*x.shape[:2], self.config.num_key_value_heads, self.config.head_dim)
        k, v = self.k_proj(x).reshape(shape), self.v_proj(x).reshape(shape)
        if self.config.qk_norm:
            k = self.k_norm(k)
        return rotate(k, view), v

    def __call__(self, x: jax.Array, view: View, kv: KeyValue, how: Attend, *, in_order: bool) -> jax.Array:
        """x [B, T, D], kv [B, S + T, K, H] -> [B, T, D]; in_order as in `attend`."""
        config = self.config
        B, T, _ = x.shape
        q = self.q_proj(x).reshape(B, T, config.num_attention_heads, config.head_dim)
        if config.qk_norm:
            q = self.q_norm(q)
        q = rotate(q, view)
        own: Any = {"scale": config.query_scale, "cap": config.attention_cap, "how": how, "in_order": in_order}
        y = attend(q, *kv, view.visible, **own)  # [B, T, N, H]
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
    def __init__(self, config: DecoderConfig, rngs: nnx.Rngs):
        def norm() -> RMSNorm:
            return RMSNorm(config.hidden_size, config.rms_norm_eps, from_zero=config.from_zero)

        self.sandwich = config.sandwich
        self.input_layernorm, self.post_attention_layernorm = norm(), norm()
        if config.sandwich:
            self.pre_feedforward_layernorm, self.post_feedforward_layernorm = norm(), norm()
        self.self_attn = Attention(config, rngs)
        self.mlp = MLP(config, rngs)

    def __call__(
        self,
        x: jax.Array,
        view: View,
        *,
        prefix: KeyValue | None = None,
        read: jax.Array | None = None,
        how: Attend = "xla",
        drop: Drop = keep,
    ) -> tuple[jax.Array, KeyValue]:
        """Reads x [B, T, D] after a prefix with the keys and values [B, S, K, H].

        Args:
          read: [B, R] int32, the positions whose output is wanted; None = all.

        Returns:
          [B, R, D] or [B, T, D], and the keys and values [B, T, K, H] of x.
        """
        normed = self.input_layernorm(x)
        own = self.self_attn.key_value(normed, view)
        kv = own if prefix is None else _joined(prefix, own)
        if read is not None:
            x, normed = (jnp.take_along_axis(y, read[:, :, None], 1) for y in (x, normed))  # [B, R, D]
            view = view.at(read)
        with jax.named_scope("attention"):
            y = self.self_attn(normed, view, kv, how, in_order=read is None)
        with jax.named_scope("mlp"):
            if self.sandwich:
                x = x + drop(self.post_attention_layernorm(y))
                return x + drop(self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(x)))), own
            x = x + drop(y)
            return x + drop(self.mlp(self.post_attention_layernorm(x))), own


def _joined(prefix: KeyValue, own: KeyValue) -> KeyValue:
    """Puts keys and values [B, S, K, H] before others [B, T, K, H]."""
    k, v = (jnp.concatenate([before, x], 1) for before, x in zip(prefix, own, strict=True))
    return k, v  # [B, S + T, K, H]


class Stack(nnx.Module):
    def __init__(self, config: DecoderConfig, rngs: nnx.Rngs):
        self.embed_tokens = Embedding(config.vocab_size, config.hidden_size, rngs)
        self.layers = nnx.List([Layer(config, rngs) for _ in config.windows])
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps, from_zero=config.from_zero)


class Decoder(nnx.Module):
    """A causal language model of any supported decoder family; its configuration says which parts it has."""

    def __init__(self, config: DecoderConfig, rngs: nnx.Rngs):
        self.config = config
        self.model = Stack(config, rngs)
        if config.score_head:
            self.score = Linear(1, config.hidden_size, rngs, bias=False)
        elif not config.tie_word_embeddings:
            self.lm_head = Linear(config.vocab_size, config.hidden_size, rngs, bias=False)

    def hidden(
        self,
        tokens: jax.Array,
        *,
        before: jax.Array | None = None,
        prefix: Callable[[int], KeyValue] | None = None,
        seen: tuple[View, ...] | None = None,
        read: jax.Array | None = None,
        how: Attend = "xla",
        drop: Drop = keep,
        recompute: bool = False,
    ) -> tuple[jax.Array, list[KeyValue]]:
        """Reads tokens that follow a prefix.

        Args:
          tokens: [B, T] int32; tokens after a row's end are read too, and do not change the output before them.
          before: [B] int32, the length of each row's prefix; None = no prefix.
          prefix: returns for a layer the keys and values [B, S, K, H] of the prefix, of which the first `before` are
            valid.
          seen: what each of `config.kinds` sees; None = all that precedes a token.
          read: [B, R] int32, the positions in `tokens` whose output is wanted; None = all. The last layer computes
            no others.
          how: the attention implementation.
          drop: dropout, in training; called twice per layer, in the order of the layers.
          recompute: let the gradient compute each layer again instead of keeping its inner values.

        Returns:
          The last layer's output, normed, [B, R, D] or [B, T, D]; for each layer keys and values [B, T, K, H].
        """
        B, T = tokens.shape
        before = jnp.zeros(B, jnp.int32) if before is None else before
        x = self.embed(tokens)
        seen = seen or views(self.config, before, T, prefix(0)[0].shape[1] if prefix else 0, x.dtype)
        last = len(self.model.layers) - 1
        new: list[KeyValue] = []
        for i, (layer, kind) in enumerate(zip(self.model.layers, self.layer_kinds, strict=True)):
            with jax.named_scope(f"layer_{i}"):
                run = partial(layer, how=how, drop=drop)
                x, kv = (jax.checkpoint(run) if recompute else run)(
                    x, seen[kind], prefix=prefix(i) if prefix else None, read=read if i == last else None
                )
                new.append(kv)
        return self.model.norm(x), new

    @property
    def layer_kinds(self) -> list[int]:
        """The index in `config.kinds` of each layer."""
        config = self.config
        return [config.kinds.index(kind) for kind in zip(config.windows, config.ropes, strict=True)]

    def embed(self, tokens: jax.Array) -> jax.Array:
        """tokens [B, T] int32 -> [B, T, D]."""
        with jax.named_scope("embeddings"):
            x = self.model.embed_tokens(tokens)
            scale = self.config.embedding_scale
            return x if scale == 1 else x * jnp.asarray(scale, x.dtype)

    @property
    def head(self) -> jax.Array:
        """The output embeddings [V, D]."""
        tied = self.config.tie_word_embeddings
        weight: jax.Array = self.model.embed_tokens.weight[...] if tied else self.lm_head.weight[...]
        return weight

    def logits(self, hidden: jax.Array, head: jax.Array | None = None) -> jax.Array:
        """hidden [..., D] -> [..., V] float32; if `head` is given, the logits of the tokens of its rows only."""
        weight = self.head if head is None else head
        logits = jnp.einsum("...d,vd->...v", hidden, weight, preferred_element_type=jnp.float32)
        cap = self.config.logit_cap
        return cap * jnp.tanh(logits / cap) if cap else logits

    def reward(self, hidden: jax.Array) -> jax.Array:
        """hidden [..., D] -> [...] float32, the score of each token."""
        weight = self.score.weight[...][0]
        return jnp.einsum("...d,d->...", hidden, weight, preferred_element_type=jnp.float32)

    def __call__(self, tokens: jax.Array, *, how: Attend = "xla") -> jax.Array:
        """Computes logits without a cache: tokens [B, T] int32 -> logits [B, T, V] float32."""
        return self.logits(self.hidden(tokens, how=how)[0])
