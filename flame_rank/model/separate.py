"""The separate form of a comparison: two responses follow the same prompt, at the same positions, and do not see each
other. So each response is encoded once for all the pairs in which it stands, whether first or second.

    part 0   instructions, prompt          sees itself
    part 1   response, mark of the first   sees part 0 and itself
    part 2   response, mark of the second  sees part 0 and itself
    part 3   cue, answer                   sees all

In training a comparison is a row: prompt, first response, second response, their marks, cue, answer. The marks, which
come after both responses, make one of them the first and one the second.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from flame_rank.model.config import DecoderConfig
from flame_rank.model.decoder import Decoder, View, make_views


class Lengths(NamedTuple):
    """The tokens of a comparison's pieces, in the order of a row; the cue and the answer follow them. They are 0 for a
    text in another form."""

    prompt: Any  # of all five: int, or [B] int32
    first: Any
    second: Any
    first_mark: Any
    second_mark: Any


class PairRows(NamedTuple):
    """Where the keys and values of comparisons lie in the kernel's cache, [B] int32 each.

    Attributes:
      start, before: the start and the length of instructions, prompt and first response together.
      shared: the length of instructions and prompt, which begin both responses' prefixes.
      beside, own: the start and the length of the second response alone.
    """

    start: jax.Array
    before: jax.Array
    shared: jax.Array
    beside: jax.Array
    own: jax.Array


def row_views(
    config: DecoderConfig, lengths: Lengths, before: jax.Array, *, T: int, S: int, dtype: Any
) -> tuple[View, ...]:
    """Computes what the last T tokens of rows see, for training.

    Args:
      lengths: [B] int32 each.
      before: [B] int32, the number of tokens before these, part 0 of the row; their keys are padded to S.
      dtype: the dtype of the model.
    """
    prompt, first, second, first_mark, second_mark = (jnp.asarray(x)[:, None] for x in lengths)
    places = jnp.broadcast_to(jnp.arange(S), (before.shape[0], S))
    index = jnp.concatenate([places, before[:, None] + jnp.arange(T)], 1)  # [B, S + T]
    known = jnp.concatenate([places < before[:, None], jnp.ones((before.shape[0], T), bool)], 1)
    responses = prompt + first + second
    in_first = (index >= prompt) & (index < prompt + first)
    in_second = (index >= prompt + first) & (index < responses)
    marks = _mark_parts(index - responses, first_mark, second_mark)
    parts = jnp.where(index < prompt, 0, jnp.where(in_first, 1, jnp.where(in_second, 2, marks)))
    back = jnp.where(in_second, first, jnp.where(index >= responses, jnp.minimum(first, second), 0))
    positions = index - back
    causal = index[:, None, :] <= index[:, S:, None]
    seen = known[:, None, :] & causal & _sees(parts[:, S:, None], parts[:, None, :])
    return make_views(config, positions[:, S:], positions, seen, dtype)


def begin_pairs(
    decoder: Decoder, tokens: jax.Array, rows: PairRows, *, marks: tuple[int, int], S: int, R: int
) -> tuple[jax.Array, tuple[View, ...]]:
    """Computes the input [B, T, D] of the first layer for the marks and the cue of comparisons, and which keys these
    tokens see: S keys of the first prefix, R keys of the second response, and their own. For judging.

    Args:
      tokens: [B, T] int32, marks and cue.
      marks: the tokens of the two marks.
      S, R: the buckets of the first prefixes and of the second responses.
    """
    x, T = decoder.embed(tokens), tokens.shape[1]
    B = rows.start.shape[0]
    before, shared, own = (x[:, None] for x in (rows.before, rows.shared, rows.own))
    positions = jnp.maximum(before, shared + own) + jnp.arange(T)  # [B, T]
    first, second = (jnp.broadcast_to(jnp.arange(n), (B, n)) for n in (S, R))
    parts = jnp.broadcast_to(_mark_parts(jnp.arange(T), *marks), (B, T))
    at = jnp.concatenate([first, shared + second, positions], 1)  # [B, S + R + T]
    known = jnp.concatenate([first < before, second < own, jnp.ones((B, T), bool)], 1)
    parts_of_keys = jnp.concatenate([jnp.where(first < shared, 0, 1), jnp.full((B, R), 2), parts], 1)
    causal = at[:, None, :] <= positions[:, :, None]
    seen = known[:, None, :] & causal & _sees(parts[:, :, None], parts_of_keys[:, None, :])
    return x, make_views(decoder.config, positions, at, seen, x.dtype)


def _mark_parts(index: jax.Array, first_mark: Any, second_mark: Any) -> jax.Array:
    """Returns the parts of tokens by their distance from the end of both responses."""
    return jnp.where(index < first_mark, 1, jnp.where(index < first_mark + second_mark, 2, 3))


def _sees(part: jax.Array, key: jax.Array) -> jax.Array:
    """Tells whether tokens of one part see earlier tokens of another."""
    return (key == 0) | (key == part) | (part == 3)
