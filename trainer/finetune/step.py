"""One step of training, as a program: the loss on target tokens, its gradients, the optimiser.

A gradient is summed over microbatches and divided once by the number of target tokens, so that it does not depend on
how a batch is divided. Dropout is drawn row by row from (seed, step, place in the model, row), so that it does not
either, nor on the number of devices.
"""

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax

from flame_rank.model.choices import Attend
from flame_rank.model.decoder import Decoder
from flame_rank.model.layers import Drop, keep
from flame_rank.model.t5 import T5

Params: TypeAlias = Any  # nnx.State, or a dict of arrays
CHUNK = 32  # positions whose logits are there at once: [B, CHUNK, V]


class Batch(NamedTuple):
    """Examples as arrays. A row without target tokens only fills the batch.

    Attributes:
      tokens: [B, T] int32; for a decoder input and target behind one another, for T5 the input.
      lengths: [B] int32, of the inputs.
      targets: [B, R] int32.
      counts: [B] int32, the numbers of target tokens.
      rows: [B] int32, the place of each row in the whole batch.
    """

    tokens: jax.Array
    lengths: jax.Array
    targets: jax.Array
    counts: jax.Array
    rows: jax.Array


class Sums(NamedTuple):
    """What a batch comes to: the loss summed over target tokens, in nats; their number; [B] whether the model finds
    every token of a row's target the likeliest."""

    loss: jax.Array
    tokens: jax.Array
    right: jax.Array


class State(NamedTuple):
    """All that a step changes: parameters that are trained, and the optimiser's."""

    trained: Params
    optimiser: Any


def dropout(key: jax.Array, rows: jax.Array, rate: float) -> Drop:
    """Zeroes elements with probability `rate`, and scales the others up: rows [B] of x [B, T, D]."""
    if not rate:
        return keep
    place = count()

    def drop(x: jax.Array) -> jax.Array:
        here = jax.random.fold_in(key, next(place))

        def mask(row: jax.Array) -> jax.Array:
            return jax.random.bernoulli(jax.random.fold_in(here, row), 1 - rate, x.shape[1:])

        return jnp.where(jax.vmap(mask)(rows), x / (1 - rate), 0).astype(x.dtype)

    return drop


def losses(
    model: Decoder | T5, batch: Batch, drop: Drop = keep, *, recompute: bool = False
) -> tuple[jax.Array, jax.Array]:
    """What each target token costs: [B, R] in nats, and whether it is the likeliest; past a target's end anything."""
    R = batch.targets.shape[1]
    if isinstance(model, T5):
        start = jnp.full_like(batch.targets[:, :1], model.config.decoder_start_token_id)
        encoded = model.encode(batch.tokens, batch.lengths, drop=drop, recompute=recompute)
        before = jnp.concatenate([start, batch.targets[:, :-1]], 1)
        hidden = model.decode(before, encoded, batch.lengths, drop=drop, recompute=recompute)  # [B, R, D]
    else:
        read = jnp.minimum(batch.lengths[:, None] - 1 + jnp.arange(R), batch.tokens.shape[1] - 1)
        how: Attend = "blocks" if jax.default_backend() == "cpu" else "xla"
        hidden, _ = model.hidden(batch.tokens, read=jnp.maximum(read, 0), how=how, drop=drop, recompute=recompute)

    @jax.checkpoint  # logits are large: they are computed again rather than kept
    def part(hidden: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits = model.logits(hidden)  # [B, C, V]
        chosen = jnp.take_along_axis(logits, targets[..., None], -1)[..., 0]
        return jax.nn.logsumexp(logits, -1) - chosen, chosen >= logits.max(-1)

    parts = [part(hidden[:, i : i + CHUNK], batch.targets[:, i : i + CHUNK]) for i in range(0, R, CHUNK)]
    costs, likeliest = (jnp.concatenate(found, 1) for found in zip(*parts, strict=True))
    return costs, likeliest


def sums(model: Decoder | T5, batch: Batch, drop: Drop = keep, *, recompute: bool = False) -> Sums:
    """The loss of a model on a batch."""
    costs, likeliest = losses(model, batch, drop, recompute=recompute)  # [B, R]
    counted = jnp.arange(costs.shape[1]) < batch.counts[:, None]
    return Sums(
        loss=jnp.where(counted, costs, 0.0).sum(),
        tokens=batch.counts.sum(),
        right=(likeliest | ~counted).all(1) & (batch.counts > 0),
    )


def make_train_step(
    assemble: Callable[[Params, Params], Any],
    optimiser: optax.GradientTransformation,
    *,
    dtype: Any,
    rate: float,
    recompute: bool,
    places: Any = None,
) -> Any:
    """The compiled step: (state, frozen parameters, batch with a first axis of microbatches, key) -> (state, Sums).

    Args:
      assemble: the model, from the parameters that are trained and the frozen ones; there is a gradient of the former
        only.
      dtype: of the computation; the parameters that are trained stay float32.
      rate: of dropout.
      recompute: compute the layers again for their gradients rather than keep what is inside them.
      places: shardings of what comes out, so that a state lies where it lay before.
    """

    def loss(trained: Params, frozen: Params, batch: Batch, key: jax.Array) -> tuple[jax.Array, Sums]:
        model = assemble(*jax.tree.map(lambda x: x.astype(dtype), (trained, frozen)))
        found = sums(model, batch, dropout(key, batch.rows, rate), recompute=recompute)
        return found.loss, found

    @partial(jax.jit, donate_argnums=0, out_shardings=places)
    def step(state: State, frozen: Params, batch: Batch, key: jax.Array) -> tuple[State, Sums]:
        def add(total: Params, micro: Batch) -> tuple[Params, Sums]:
            gradients, found = jax.grad(loss, has_aux=True)(state.trained, frozen, micro, key)
            return jax.tree.map(jnp.add, total, gradients), found

        zero = jax.tree.map(jnp.zeros_like, state.trained)
        total, found = jax.lax.scan(add, zero, batch)
        tokens = jnp.maximum(found.tokens.sum(), 1)
        gradients = jax.tree.map(lambda g: g / tokens, total)
        updates, changed = optimiser.update(gradients, state.optimiser, state.trained)
        whole = Sums(loss=found.loss.sum() / tokens, tokens=tokens, right=found.right.reshape(-1))
        return State(optax.apply_updates(state.trained, updates), changed), whole

    return step
