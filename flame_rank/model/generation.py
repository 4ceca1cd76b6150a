"""Generates texts: a program that continues the rows of a batch token by token, with sampled or likeliest tokens."""

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from flame_rank.model.cache import Cache, window
from flame_rank.model.choices import Attend
from flame_rank.model.decoder import Decoder
from strategies.base import FloatArray


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are sampled.

    Attributes:
      temperature: the positive number by which logits are divided.
      top_p: in (0, 1], the total probability of the likeliest tokens to which sampling is limited.
    """

    temperature: float = 1.0
    top_p: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Written:
    """The continuation of a path.

    Attributes:
      ids: the tokens, without the one that ended it.
      ended: whether it ended by itself instead of at the limit.
      scores: [len(ids), C] float64, the log-probabilities of C targets at each token's position, in nats.
    """

    ids: list[int]
    ended: bool
    scores: FloatArray


class BegunTexts(NamedTuple):
    """Texts to continue; the tokens before the last one are in the cache, as in `write`.

    Attributes:
      last: [B] int32, the last token of each text.
      start, before: [B] int32, where each text's earlier tokens begin in the cache, and how many they are.
      keys: [B, 2] uint32, seeds of each row's random choices: a row's tokens do not depend on the others.
    """

    last: jax.Array
    start: jax.Array
    before: jax.Array
    keys: jax.Array


State: TypeAlias = tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array, Any]  # of `generate`: see its end


def generate(
    decoder: Decoder,
    cache: Cache,
    texts: BegunTexts,
    stops: jax.Array,
    targets: jax.Array,
    *,
    S: int,
    limit: int,
    sampling: Sampling | None,
    how: Attend,
) -> tuple[jax.Array, jax.Array]:
    """Continues texts.

    Args:
      texts: the B texts to continue.
      stops: [E] int32; the loop ends when each row has written one of them.
      targets: [C] int32, tokens whose log-probabilities are wanted at each place.
      limit: the most tokens to write.
      sampling: None = the likeliest token each time.

    Returns:
      tokens [B, limit] int32, and the log-probabilities of the targets [B, limit, C] float32, of the model itself; what
      follows a row's first stop means nothing.
    """
    last, start, before, keys = texts
    room = jnp.zeros((last.shape[0], limit, *cache[0].shape[2:]), cache[0].dtype)
    kept = []
    for of_layer in cache:
        before_it = window(of_layer, start, S)
        assert before_it is not None, "a text of one token has nothing before it"
        kept.append(tuple(jnp.concatenate([x, room], 1) for x in before_it))  # [B, S + limit, K, H] each

    def going(state: State) -> jax.Array:
        written, _, done, *_ = state
        return (written < limit) & ~done.all()

    def step(state: State) -> State:
        written, token, done, out, scores, kept = state
        hidden, new = decoder.hidden(token[:, None], before=before + written, prefix=lambda i: kept[i], how=how)
        logits = decoder.logits(hidden[:, 0])  # [B, V]
        of_targets = logits[:, targets] - jax.nn.logsumexp(logits, -1, keepdims=True)  # [B, C]
        token = draw(logits, keys, written, sampling)
        kept = [
            tuple(_put(cell, x, before + written) for cell, x in zip(kv, fresh, strict=True))
            for kv, fresh in zip(kept, new, strict=True)
        ]
        done = done | jnp.isin(token, stops)
        out = jax.lax.dynamic_update_slice(out, token[:, None], (0, written))
        scores = jax.lax.dynamic_update_slice(scores, of_targets[:, None], (0, written, 0))
        return written + 1, token, done, out, scores, kept

    B, C = last.shape[0], targets.shape[0]
    out, scores = jnp.zeros((B, limit), jnp.int32), jnp.zeros((B, limit, C), jnp.float32)
    state = (jnp.int32(0), last, before == 0, out, scores, kept)  # a row of padding has nothing to write
    return jax.lax.while_loop(going, step, state)[3:5]


def draw(logits: jax.Array, keys: jax.Array, step: jax.Array, sampling: Sampling | None) -> jax.Array:
    """Draws the next token [B] int32 of each row.

    Args:
      logits: [B, V] float32.
      keys: [B, 2] uint32.
      step: [] int32, the number of this random choice in its row.
      sampling: None = the likeliest token.
    """
    if sampling is None:
        return jnp.argmax(logits, -1).astype(jnp.int32)
    logits = logits / sampling.temperature
    if sampling.top_p < 1:
        ordered = -jnp.sort(-logits, -1)
        p = jax.nn.softmax(ordered, -1)
        kept = (jnp.cumsum(p, -1) - p < sampling.top_p).sum(-1, keepdims=True)  # [B, 1], 1 or more
        logits = jnp.where(logits >= jnp.take_along_axis(ordered, kept - 1, -1), logits, -jnp.inf)

    def row(key: jax.Array, logits: jax.Array) -> jax.Array:
        own = jax.random.fold_in(jax.random.wrap_key_data(key, impl="threefry2x32"), step)
        return jax.random.categorical(own, logits)

    return jax.vmap(row)(keys, logits).astype(jnp.int32)


def _put(kept: jax.Array, new: jax.Array, at: jax.Array) -> jax.Array:
    """Inserts each row's new key or value [B, 1, K, H] into the earlier ones [B, S, K, H], at a position [B]."""
    place: jax.Array = jax.vmap(lambda cell, x, to: jax.lax.dynamic_update_slice(cell, x, (to, 0, 0)))(kept, new, at)
    return place
