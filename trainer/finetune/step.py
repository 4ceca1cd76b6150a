"""One step of training: examples as padded arrays, and the compiled program of their loss on target tokens, its
gradients and the optimiser.

Gradients are summed over microbatches and divided once by the number of target tokens, so that they do not depend on
how a batch is divided. Dropout is drawn row by row from (seed, step, position in the model, row), so that it depends
neither on this division nor on the number of devices.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax

from flame_rank.model.choices import Attend
from flame_rank.model.decoder import Decoder
from flame_rank.model.layers import Drop, keep
from flame_rank.model.separate import Lengths, row_views
from flame_rank.model.t5 import T5
from trainer.finetune.packed import Packed

Params: TypeAlias = Any  # nnx.State, or a dict of arrays
CHUNK = 32  # positions whose logits exist at the same time: [B, CHUNK, V]
_WHOLE = Lengths(0, 0, 0, 0, 0)


class Batch(NamedTuple):
    """Rows of examples as arrays: E examples in each row, most often one. A row without target tokens is padding of the
    batch.

    Attributes:
      tokens: [B, T] int32; for a decoder the inputs followed by their targets, for T5 the input.
      lengths: [B, E] int32, where in its row each input ends.
      targets: [B, E, R] int32, 0 = padding.
      counts: [B, E] int32, the numbers of target tokens.
      rows: [B] int32, the number of each row in the whole batch.
      pieces: [B, E] int32 each, the lengths of the pieces of comparisons in the separate form, 0 for other examples;
        None if there are no such comparisons.
      owner, place: [B, T] int32, the example of each token and its number in it, as in `Packed`; None if E = 1.
    """

    tokens: jax.Array
    lengths: jax.Array
    targets: jax.Array
    counts: jax.Array
    rows: jax.Array
    pieces: Lengths | None = None
    owner: jax.Array | None = None
    place: jax.Array | None = None


def padded_length(tokens: int) -> int:
    """Rounds the length of a row, in tokens, up to one of few lengths, because each length takes long to compile."""
    step = 32 if tokens <= 128 else 64 if tokens <= 512 else 128 if tokens <= 1024 else 256
    return -(-tokens // step) * step


def padded_width(rows: Sequence[Packed]) -> int:
    """Returns the padded length of the longest of these rows, in tokens."""
    return padded_length(max(len(row.tokens) for row in rows))


def fitting_parts(rows: Sequence[Packed], room: int) -> int:
    """Returns the least number of equal parts in which a batch fits in memory.

    Args:
      room: the number of tokens that fit, padding included.
    """
    tokens, B = padded_width(rows), len(rows)
    return next((n for n in range(1, B) if B % n == 0 and B // n * tokens <= room), B)


def collate(rows: Sequence[Packed], parts: int) -> Batch:
    """Makes a batch of `parts` microbatches of rows: arrays with the axes [parts, rows, ...], on the host.

    Args:
      rows: rows of the same number of examples.
      parts: a divisor of the number of rows.
    """
    examples = [example for row in rows for example in row.examples]
    B, E, T = len(rows), len(rows[0].examples), padded_width(rows)
    longest = max(len(example.target) for example in examples)
    R = next(R for R in (4**k for k in count(2)) if longest <= R)  # few programs; an unused position costs little
    tokens, targets = np.zeros((B, T), np.int32), np.zeros((B * E, R), np.int32)
    owner, place = np.full((B, T), E + 1, np.int32), np.tile(np.arange(T, dtype=np.int32), (B, 1))  # those of padding
    for k, row in enumerate(rows):
        tokens[k, : len(row.tokens)] = row.tokens
        owner[k, : len(row.tokens)] = row.owner
        place[k, : len(row.tokens)] = row.place
    for k, example in enumerate(examples):
        targets[k, : len(example.target)] = example.target
    pieces = None
    if any(example.pieces for example in examples):
        pieces = Lengths(*np.array([example.pieces or _WHOLE for example in examples], np.int32).T.reshape(-1, B, E))
    fields: Any = {
        "tokens": tokens,
        "lengths": np.array([row.lengths for row in rows], np.int32),
        "targets": targets.reshape(B, E, R),
        "counts": np.array([len(example.target) for example in examples], np.int32).reshape(B, E),
        "rows": np.arange(B, dtype=np.int32),
        "pieces": pieces,
    }
    packed: Any = {"owner": owner, "place": place} if E > 1 else {}
    divided: Batch = jax.tree.map(lambda x: x.reshape(parts, B // parts, *x.shape[1:]), Batch(**fields, **packed))
    return divided


class Sums(NamedTuple):
    """The results of a batch.

    Attributes:
      loss: the sum over target tokens, in nats; the step of `make_train_step` returns the mean.
      tokens: the number of target tokens.
      right: [N] whether every token of an example's target is the model's likeliest token.
    """

    loss: jax.Array
    tokens: jax.Array
    right: jax.Array


class State(NamedTuple):
    """The arrays that a step changes: the trained parameters and the optimiser's state."""

    trained: Params
    optimiser: Any


def dropout(key: jax.Array, rows: jax.Array, rate: float) -> Drop:
    """Returns a function that zeroes elements of x [B, T, D] with probability `rate` and scales up the others.

    Args:
      key: the random key of the step.
      rows: [B] int32, the number of each row in the whole batch.
      rate: the probability, at least 0 and less than 1.
    """
    if not rate:
        return keep
    position = count()

    def drop(x: jax.Array) -> jax.Array:
        here = jax.random.fold_in(key, next(position))

        def mask(row: jax.Array) -> jax.Array:
            return jax.random.bernoulli(jax.random.fold_in(here, row), 1 - rate, x.shape[1:])

        return jnp.where(jax.vmap(mask)(rows), x / (1 - rate), 0).astype(x.dtype)

    return drop


def losses(
    model: Decoder | T5, batch: Batch, drop: Drop = keep, *, recompute: bool = False
) -> tuple[jax.Array, jax.Array]:
    """Computes the loss of each target token, [B, E, R] in nats, and whether it is the likeliest token.

    The values past the end of a target have no meaning.

    Args:
      drop: applies dropout.
      recompute: compute layers again for their gradients instead of keeping their inner values.
    """
    (B, T), (_, E, R) = batch.tokens.shape, batch.targets.shape
    if isinstance(model, T5):
        lengths, targets = batch.lengths[:, 0], batch.targets[:, 0]
        start = jnp.full_like(targets[:, :1], model.config.decoder_start_token_id)
        encoded = model.encode(batch.tokens, lengths, drop=drop, recompute=recompute)
        before = jnp.concatenate([start, targets[:, :-1]], 1)
        hidden = model.decode(before, encoded, lengths, drop=drop, recompute=recompute)  # [B, R, D]
    else:
        read = jnp.clip(batch.lengths[:, :, None] - 1 + jnp.arange(R), 0, T - 1).reshape(B, E * R)
        how: Attend = "blocks" if jax.default_backend() == "cpu" else "xla"
        seen = None
        if batch.pieces is not None or batch.owner is not None:
            place = jnp.broadcast_to(jnp.arange(T), (B, T)) if batch.place is None else batch.place
            own = jnp.zeros((B, T), int) if batch.owner is None else jnp.clip(batch.owner - 1, 0, E - 1)
            pieces = batch.pieces and Lengths(*(jnp.take_along_axis(x, own, 1) for x in batch.pieces))
            seen = row_views(model.config, place, pieces, batch.owner, model.model.embed_tokens.weight[...].dtype)
        hidden, _ = model.hidden(batch.tokens, seen=seen, read=read, how=how, drop=drop, recompute=recompute)
    wanted = batch.targets.reshape(B, E * R)

    @jax.checkpoint  # logits are large, so they are computed again instead of kept
    def part(hidden: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits = model.logits(hidden)  # [B, C, V]
        chosen = jnp.take_along_axis(logits, targets[..., None], -1)[..., 0]
        return jax.nn.logsumexp(logits, -1) - chosen, chosen >= logits.max(-1)

    parts = [part(hidden[:, i : i + CHUNK], wanted[:, i : i + CHUNK]) for i in range(0, E * R, CHUNK)]
    costs, likeliest = (jnp.concatenate(chunks, 1).reshape(B, E, R) for chunks in zip(*parts, strict=True))
    return costs, likeliest


def sums(model: Decoder | T5, batch: Batch, drop: Drop = keep, *, recompute: bool = False) -> Sums:
    """Computes the loss of a model on a batch; arguments as in `losses`."""
    costs, likeliest = losses(model, batch, drop, recompute=recompute)  # [B, E, R]
    counted = jnp.arange(costs.shape[-1]) < batch.counts[:, :, None]
    return Sums(
        loss=jnp.where(counted, costs, 0.0).sum(),
        tokens=batch.counts.sum(),
        right=((likeliest | ~counted).all(-1) & (batch.counts > 0)).reshape(-1),
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
    """Makes the compiled step: (state, frozen parameters, batch [parts, rows, ...], key) -> (state, Sums).

    Args:
      assemble: makes the model from the trained and the frozen parameters; only the trained ones get gradients.
      optimiser: turns gradients into changes of the trained parameters.
      dtype: the dtype of the computation; the trained parameters stay float32.
      rate: the probability of dropout.
      recompute: compute layers again for their gradients instead of keeping their inner values.
      places: the shardings of the results, so that the new state is on the same devices as the old one.
    """

    def loss(trained: Params, frozen: Params, batch: Batch, key: jax.Array) -> tuple[jax.Array, Sums]:
        model = assemble(*jax.tree.map(lambda x: x.astype(dtype), (trained, frozen)))
        result = sums(model, batch, dropout(key, batch.rows, rate), recompute=recompute)
        return result.loss, result

    @partial(jax.jit, donate_argnums=0, out_shardings=places)
    def step(state: State, frozen: Params, batch: Batch, key: jax.Array) -> tuple[State, Sums]:
        def add(total: Params, micro: Batch) -> tuple[Params, Sums]:
            gradients, result = jax.grad(loss, has_aux=True)(state.trained, frozen, micro, key)
            return jax.tree.map(jnp.add, total, gradients), result

        zero = jax.tree.map(jnp.zeros_like, state.trained)
        total, results = jax.lax.scan(add, zero, batch)
        tokens = jnp.maximum(results.tokens.sum(), 1)
        gradients = jax.tree.map(lambda g: g / tokens, total)
        updates, changed = optimiser.update(gradients, state.optimiser, state.trained)
        whole = Sums(loss=results.loss.sum() / tokens, tokens=tokens, right=results.right.reshape(-1))
        return State(optax.apply_updates(state.trained, updates), changed), whole

    return step
