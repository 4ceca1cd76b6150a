"""The three programs of the kernel, as pure functions: writing nodes into the cache, scoring leaves, and generating.

A row's prefix lies in the cache [L, 2, C, K, H] from `start` on, `before` tokens long; `S` is the prefixes' bucket.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from flame_rank.model.decoder import Attend, Decoder, KeyValue


def _window(cache: jax.Array, start: jax.Array, S: int) -> Callable[[int], KeyValue] | None:
    """Gives for a layer the S keys and values [B, S, K, H] from `start` [B] on; None where S is 0."""
    if S == 0:
        return None
    K, H = cache.shape[3:]

    def of_layer(layer: int) -> KeyValue:
        kv = jax.vmap(lambda s: jax.lax.dynamic_slice(cache, (layer, 0, s, 0, 0), (1, 2, S, K, H)))(start)
        return kv[:, 0, 0], kv[:, 0, 1]

    return of_layer


def extend(
    decoder: Decoder,
    cache: jax.Array,
    tokens: jax.Array,
    start: jax.Array,
    before: jax.Array,
    target: jax.Array,
    *,
    S: int,
    how: Attend,
) -> jax.Array:
    """Writes nodes into the cache.

    Args:
      cache: [L, 2, C, K, H].
      tokens: [B, T] int32, what the nodes add to their prefixes.
      start, before: [B] int32, where the prefixes lie and how long they are.
      target: [B] int32, ascending: where the nodes are to lie, prefix first. What is written beyond a node's end is
        overwritten by the next.
      S: the prefixes' bucket.
    """
    L, _, _, K, H = cache.shape
    _, new = decoder.hidden(tokens, before=before, prefix=_window(cache, start, S), how=how)
    fresh = jnp.stack([jnp.stack(kv) for kv in new])  # [L, 2, B, T, K, H]

    def write(b: jax.Array, cache: jax.Array) -> jax.Array:
        if S:
            prefix = jax.lax.dynamic_slice(cache, (0, 0, start[b], 0, 0), (L, 2, S, K, H))
            cache = jax.lax.dynamic_update_slice(cache, prefix, (0, 0, target[b], 0, 0))
        own = jax.lax.dynamic_index_in_dim(fresh, b, 2, keepdims=False)  # [L, 2, T, K, H]
        return jax.lax.dynamic_update_slice(cache, own, (0, 0, target[b] + before[b], 0, 0))

    with jax.named_scope("write"):
        written: jax.Array = jax.lax.fori_loop(0, tokens.shape[0], write, cache)
        return written


def score(
    decoder: Decoder,
    cache: jax.Array,
    tokens: jax.Array,
    start: jax.Array,
    before: jax.Array,
    read: jax.Array,
    targets: jax.Array,
    *,
    S: int,
    how: Attend,
) -> jax.Array:
    """Log-probabilities [B, R, C] float32 of the next tokens `targets` [B, R, C] behind places `read` [B, R] of
    `tokens` [B, T]; the other arguments as in `extend`."""
    hidden, _ = decoder.hidden(tokens, before=before, prefix=_window(cache, start, S), read=read, how=how)
    with jax.named_scope("verdict"):
        logits = decoder.logits(hidden)  # [B, R, V]
        wanted = jnp.take_along_axis(logits, targets, -1)  # [B, R, C]
        return wanted - jax.nn.logsumexp(logits, -1, keepdims=True)


State: TypeAlias = tuple[jax.Array, jax.Array, jax.Array, jax.Array, Any]  # of `generate`: see its end


def generate(
    decoder: Decoder,
    cache: jax.Array,
    last: jax.Array,
    start: jax.Array,
    before: jax.Array,
    stops: jax.Array,
    *,
    S: int,
    limit: int,
    how: Attend,
) -> jax.Array:
    """Continues texts greedily.

    Args:
      last: [B] int32, the last token of each text; what stands before it is in the cache, as in `extend`.
      stops: [E] int32; all rows are done when each has said one of them.
      limit: tokens to write at most.

    Returns:
      [B, limit] int32; what stands behind a row's first stop means nothing.
    """
    window = _window(cache, start, S)
    assert window is not None, "a text of one token has nothing before it"
    room = jnp.zeros((last.shape[0], limit, *cache.shape[3:]), cache.dtype)
    layers = [window(i) for i in range(cache.shape[0])]
    kept = [tuple(jnp.concatenate([x, room], 1) for x in kv) for kv in layers]  # [B, S + limit, K, H] each

    def going(state: State) -> jax.Array:
        step, _, done, _, _ = state
        return (step < limit) & ~done.all()

    def write(state: State) -> State:
        step, token, done, out, kept = state
        hidden, new = decoder.hidden(token[:, None], before=before + step, prefix=lambda i: kept[i], how=how)
        token = jnp.argmax(decoder.logits(hidden[:, 0]), -1).astype(jnp.int32)
        kept = [
            tuple(_put(cell, x, before + step) for cell, x in zip(kv, fresh, strict=True))
            for kv, fresh in zip(kept, new, strict=True)
        ]
        done = done | jnp.isin(token, stops)
        return step + 1, token, done, jax.lax.dynamic_update_slice(out, token[:, None], (0, step)), kept

    out = jnp.zeros((last.shape[0], limit), jnp.int32)
    state = (jnp.int32(0), last, jnp.zeros(last.shape[0], bool), out, kept)
    return jax.lax.while_loop(going, write, state)[3]


def _put(kept: jax.Array, new: jax.Array, at: jax.Array) -> jax.Array:
    """Each row's new key or value [B, 1, K, H] into what is kept [B, S, K, H], at a place [B]."""
    place: jax.Array = jax.vmap(lambda cell, x, to: jax.lax.dynamic_update_slice(cell, x, (to, 0, 0)))(kept, new, at)
    return place
