"""The keys and values of prefixes: one array for each layer, in which a node is a slice (model/kernel.py)."""

from typing import TypeAlias

import jax

from flame_rank.model.decoder import KeyValue

Cache: TypeAlias = list[jax.Array]  # of each layer [2, C, K, H]


def window(cache: jax.Array, start: jax.Array, S: int) -> KeyValue | None:
    """Returns a layer's S keys and values [B, S, K, H] from `start` [B] on; None if S is 0."""
    if S == 0:
        return None
    _, _, K, H = cache.shape
    kv = jax.vmap(lambda s: jax.lax.dynamic_slice(cache, (0, s, 0, 0), (2, S, K, H)))(start)  # [B, 2, S, K, H]
    return kv[:, 0], kv[:, 1]
