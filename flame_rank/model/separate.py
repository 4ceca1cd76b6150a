"""The separate form of a comparison: two responses to the same prompt do not see each other. Each stands at the same
positions and ends with the cue of the verdict; its score is the log-odds of A against B there, and the difference of
both scores is the log-odds of the comparison, as in Bradley and Terry's model. So N candidates are N texts for all
their comparisons, and the order of two responses makes no difference.

In training a comparison is one row, which reads the prompt once:

    part 0   instructions, prompt          sees itself
    part 1   first response, cue           sees part 0 and itself
    part 2   second response, cue          sees part 0 and itself
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from flame_rank.model.config import DecoderConfig
from flame_rank.model.decoder import View, make_views


class Lengths(NamedTuple):
    """The tokens of a comparison's parts, in the order of a row. They are 0 for a text in another form."""

    prompt: Any  # of all three: int, or [B] int32
    first: Any
    second: Any


def row_views(
    config: DecoderConfig, lengths: Lengths, before: jax.Array, *, T: int, S: int, dtype: Any
) -> tuple[View, ...]:
    """Computes what the last T tokens of rows see, for training.

    Args:
      lengths: [B] int32 each.
      before: [B] int32, the number of tokens before these, all of part 0; their keys are padded to S.
      dtype: the dtype of the model.
    """
    prompt, first, _ = (jnp.asarray(x)[:, None] for x in lengths)
    places = jnp.broadcast_to(jnp.arange(S), (before.shape[0], S))
    index = jnp.concatenate([places, before[:, None] + jnp.arange(T)], 1)  # [B, S + T]
    known = jnp.concatenate([places < before[:, None], jnp.ones((before.shape[0], T), bool)], 1)
    parts = jnp.where(index < prompt, 0, jnp.where(index < prompt + first, 1, 2))
    positions = index - jnp.where(parts == 2, first, 0)
    causal = index[:, None, :] <= index[:, S:, None]
    sees = (parts[:, None, :] == 0) | (parts[:, None, :] == parts[:, S:, None])
    return make_views(config, positions[:, S:], positions, known[:, None, :] & causal & sees, dtype)
