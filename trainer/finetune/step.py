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
import numpy.typing as npt
import optax

from flame_rank.model.choices import Attend
from flame_rank.model.decoder import Decoder, KeyValue
from flame_rank.model.layers import Drop, keep
from flame_rank.model.separate import Lengths, row_views
from flame_rank.model.t5 import T5
from trainer.finetune.tokenized_rows import Row

Params: TypeAlias = Any  # nnx.State, or a dict of arrays
CHUNK = 32  # positions whose logits exist at the same time: [B, CHUNK, V]
_WHOLE = Lengths(0, 0, 0)
_STEP = 32  # tokens: the least difference of two padded lengths


class Batch(NamedTuple):
    """Examples as arrays. A row without target tokens is padding of the batch.

    Attributes:
      tokens: [B, T] int32; for a decoder the input followed by the target, for T5 the input. They follow the tokens
        that an example has in common with others.
      lengths: [B] int32, the number of tokens of each input.
      targets: [B, R] int32, 0 = padding.
      counts: [B] int32, the numbers of target tokens.
      rows: [B] int32, the number of each row in the whole batch.
      pieces: [B] int32 each, the lengths of the parts of comparisons in the separate form, 0 for other rows; None if
        there are no such comparisons.
      verdicts: [B, 2] int32, the tokens of A and B of these comparisons; None if there are none.
      common: [G, S] int32, what the B / G examples of each group begin with; None if nothing is shared.
      common_lengths: [G] int32, the numbers of these tokens.
    """

    tokens: jax.Array
    lengths: jax.Array
    targets: jax.Array
    counts: jax.Array
    rows: jax.Array
    pieces: Lengths | None = None
    verdicts: jax.Array | None = None
    common: jax.Array | None = None
    common_lengths: jax.Array | None = None


def padded_length(tokens: int) -> int:
    """Rounds the length of a row, in tokens, up to one of few lengths, because each length takes long to compile."""
    step = _STEP if tokens <= 128 else 64 if tokens <= 512 else 128 if tokens <= 1024 else 256
    return -(-tokens // step) * step


def padded_width(examples: Sequence[Row], *, joined: bool) -> int:
    """Returns the padded length of the longest of these examples, in tokens; arguments as in `collate`."""
    return padded_length(max(len(row.source) + (len(row.target) if joined else 0) for row in examples))


def fitting_parts(examples: Sequence[Row], room: int, *, joined: bool, share: int = 1) -> int:
    """Returns the least number of equal parts in which a batch fits in memory.

    Args:
      room: the number of tokens that fit, padding included.
      joined, share: as in `collate`.
    """
    tokens, G = padded_width(examples, joined=joined) * share, len(examples) // share
    return next((n for n in range(1, G) if G % n == 0 and G // n * tokens <= room), G)


def common_beginning(examples: Sequence[Row]) -> int:
    """Returns how many tokens all examples begin with. The last token of an input is not among them, since the target
    is read from it; nor is, in the separate form, what follows instructions and prompt."""
    most = min(min(len(row.source) - 1, row.pieces.prompt if row.pieces else len(row.source)) for row in examples)
    ids = np.stack([row.source[:most] for row in examples])
    differs = (ids != ids[0]).any(0)
    return int(differs.argmax()) if differs.any() else most


def collate(examples: Sequence[Row], parts: int, *, joined: bool, share: int = 1) -> Batch:
    """Makes a batch of `parts` microbatches of examples: arrays with the axes [parts, rows, ...], on the host.

    Args:
      parts: a divisor of the number of groups.
      joined: whether input and target are read in one row, as a decoder does; T5's encoder reads the input only.
      share: the number of examples of a group, whose common beginning is read once; 1 = nothing is shared.
    """
    B = len(examples)
    groups = [examples[k : k + share] for k in range(0, B, share)]
    common = np.array([common_beginning(group) if share > 1 else 0 for group in groups], np.int32)
    common = np.minimum(common, common.max() // _STEP * _STEP)  # no padding of the longest, few programs
    own = [row._replace(source=row.source[common[k // share] :]) for k, row in enumerate(examples)]
    texts = [np.concatenate([row.source, row.target]) if joined else row.source for row in own]
    tokens = _padded(texts, padded_length(max(map(len, texts))))
    longest = max(len(row.target) for row in examples)
    R = next(R for R in (4**k for k in count(2)) if longest <= R)  # few programs; an unused position costs little
    targets = np.zeros((B, R), np.int32)
    for k, row in enumerate(examples):
        targets[k, : len(row.target)] = row.target
    fields: Any = {
        "tokens": tokens,
        "lengths": np.array([len(row.source) for row in own], np.int32),
        "targets": targets,
        "counts": np.array([len(row.target) for row in examples], np.int32),
        "rows": np.arange(B, dtype=np.int32),
    }
    if any(row.pieces for row in examples):
        fields["pieces"] = Lengths(*np.array([row.pieces or _WHOLE for row in examples], np.int32).T)
        fields["verdicts"] = np.array([row.verdicts for row in examples], np.int32)
    if common.any():
        fields["common"] = _padded(
            [group[0].source[:n] for group, n in zip(groups, common, strict=True)], int(common.max())
        )
        fields["common_lengths"] = common
    divided: Batch = jax.tree.map(lambda x: x.reshape(parts, len(x) // parts, *x.shape[1:]), Batch(**fields))
    return divided


def real_tokens(batch: Batch, *, joined: bool) -> int:
    """Returns the number of tokens of a batch without padding; arguments as in `collate`."""
    total = int(batch.lengths.sum()) + (int(batch.counts.sum()) if joined else 0)
    return total if batch.common_lengths is None else total + int(batch.common_lengths.sum())


def _padded(rows: Sequence[npt.NDArray[np.int32]], width: int) -> npt.NDArray[np.int32]:
    padded = np.zeros((len(rows), width), np.int32)
    for k, row in enumerate(rows):
        padded[k, : len(row)] = row
    return padded


class Sums(NamedTuple):
    """The results of a batch.

    Attributes:
      loss: the sum over target tokens, in nats; the step of `make_train_step` returns the mean.
      tokens: the number of target tokens.
      right: [B] whether every token of a row's target is the model's likeliest token.
    """

    loss: jax.Array
    tokens: jax.Array
    right: jax.Array


class State(NamedTuple):
    """The arrays that a step changes: the trained parameters and the optimiser's state."""

    trained: Params
    optimiser: Any


def dropout(key: jax.Array, rows: jax.Array, rate: float) -> Drop:
    """Returns a function that zeroes elements of x [B, T, D] with probability `rate` and scales up the others. For an x
    [G, T, D] of what B / G rows share, the first of them is drawn for.

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

        drawn_for = rows[:: len(rows) // len(x)]
        return jnp.where(jax.vmap(mask)(drawn_for), x / (1 - rate), 0).astype(x.dtype)

    return drop


def losses(
    model: Decoder | T5, batch: Batch, drop: Drop = keep, *, recompute: bool = False
) -> tuple[jax.Array, jax.Array]:
    """Computes the loss of each target token, [B, R] in nats, and whether it is the likeliest token.

    The loss of a comparison in the separate form is that of its verdict, by the difference of both scores, and of P(A)
    + P(B): that the model answers behind each response. The values past the end of a target have no meaning.

    Args:
      drop: applies dropout.
      recompute: compute layers again for their gradients instead of keeping their inner values.
    """
    R = batch.targets.shape[1]
    if isinstance(model, T5):
        start = jnp.full_like(batch.targets[:, :1], model.config.decoder_start_token_id)
        encoded = model.encode(batch.tokens, batch.lengths, drop=drop, recompute=recompute)
        before = jnp.concatenate([start, batch.targets[:, :-1]], 1)
        hidden = model.decode(before, encoded, batch.lengths, drop=drop, recompute=recompute)  # [B, R, D]
    else:
        B, T = batch.tokens.shape
        read = jnp.clip(batch.lengths[:, None] - 1 + jnp.arange(R), 0, T - 1)
        how: Attend = "blocks" if jax.default_backend() == "cpu" else "xla"
        run = partial(model.hidden, how=how, drop=drop, recompute=recompute)
        before, prefix, seen, S = jnp.zeros(B, jnp.int32), None, None, 0
        if batch.common is not None and batch.common_lengths is not None:
            G, S = batch.common.shape
            _, shared = run(batch.common)
            before, prefix = batch.common_lengths.repeat(B // G), partial(_repeated, shared, B // G)
        if batch.pieces is not None:
            dtype = model.model.embed_tokens.weight[...].dtype
            seen = row_views(model.config, batch.pieces, before, T=T, S=S, dtype=dtype)
            first = batch.pieces.prompt + batch.pieces.first - 1 - before  # behind the first response
            read = jnp.concatenate([read, jnp.clip(first, 0)[:, None]], 1)
        hidden, _ = run(batch.tokens, before=before, prefix=prefix, seen=seen, read=read)

    @jax.checkpoint  # logits are large, so they are computed again instead of kept
    def part(hidden: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits = model.logits(hidden)  # [B, C, V]
        chosen = jnp.take_along_axis(logits, targets[..., None], -1)[..., 0]
        return jax.nn.logsumexp(logits, -1) - chosen, chosen >= logits.max(-1)

    ends = [(i, min(i + CHUNK, R)) for i in range(0, R, CHUNK)]
    parts = [part(hidden[:, i:j], batch.targets[:, i:j]) for i, j in ends]
    costs, likeliest = (jnp.concatenate(chunks, 1) for chunks in zip(*parts, strict=True))
    if batch.pieces is None or batch.verdicts is None:
        return costs, likeliest
    odds, mass = _compared(model, hidden[:, [R, 0]], batch.verdicts, batch.targets[:, 0])
    compared = (batch.pieces.prompt > 0)[:, None] & (jnp.arange(R) == 0)  # their target is one token
    return (
        jnp.where(compared, (jax.nn.softplus(-odds) - mass)[:, None], costs),
        jnp.where(compared, (odds >= 0)[:, None], likeliest),
    )


def _compared(
    model: Decoder | T5, hidden: jax.Array, verdicts: jax.Array, right: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Computes for comparisons in the separate form the log-odds [B] of the right verdict against the other one, and
    the log of P(A) + P(B) [B], its mean behind both responses.

    Args:
      hidden: [B, 2, D], the output behind the first and the second response.
      verdicts: [B, 2], the tokens of A and B.
      right: [B], one of both.
    """
    logits = model.logits(hidden)  # [B, 2, V]
    of_each = jnp.take_along_axis(logits, verdicts[:, None], -1)  # [B, 2, 2]
    scores = of_each[:, :, 0] - of_each[:, :, 1]
    for_a = scores[:, 0] - scores[:, 1]
    mass = jax.nn.logsumexp(of_each, -1) - jax.nn.logsumexp(logits, -1)
    return jnp.where(right == verdicts[:, 0], for_a, -for_a), mass.mean(1)


def _repeated(shared: Sequence[KeyValue], times: int, layer: int) -> KeyValue:
    """Returns a layer's keys and values [G, S, K, H], each `times` times after one another."""
    k, v = shared[layer]
    return k.repeat(times, 0), v.repeat(times, 0)


def sums(model: Decoder | T5, batch: Batch, drop: Drop = keep, *, recompute: bool = False) -> Sums:
    """Computes the loss of a model on a batch; arguments as in `losses`."""
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
    dropout_rate: float,
    recompute: bool,
    places: Any = None,
) -> Any:
    """Makes the compiled step: (state, frozen parameters, batch [parts, rows, ...], key, learning rate) -> (state,
    Sums).

    Args:
      assemble: makes the model from the trained and the frozen parameters; only the trained ones get gradients.
      optimiser: turns gradients into changes of the trained parameters, for a learning rate of 1.
      dtype: the dtype of the computation; the trained parameters stay float32.
      dropout_rate: the probability of dropout.
      recompute: compute layers again for their gradients instead of keeping their inner values.
      places: the shardings of the results, so that the new state is on the same devices as the old one.
    """

    def loss(trained: Params, frozen: Params, batch: Batch, key: jax.Array) -> tuple[jax.Array, Sums]:
        model = assemble(*jax.tree.map(lambda x: x.astype(dtype), (trained, frozen)))
        result = sums(model, batch, dropout(key, batch.rows, dropout_rate), recompute=recompute)
        return result.loss, result

    @partial(jax.jit, donate_argnums=0, out_shardings=places)
    def step(
        state: State, frozen: Params, batch: Batch, key: jax.Array, learning_rate: jax.Array
    ) -> tuple[State, Sums]:
        def add(total: Params, micro: Batch) -> tuple[Params, Sums]:
            gradients, result = jax.grad(loss, has_aux=True)(state.trained, frozen, micro, key)
            return jax.tree.map(jnp.add, total, gradients), result

        zero = jax.tree.map(jnp.zeros_like, state.trained)
        total, results = jax.lax.scan(add, zero, batch)
        tokens = jnp.maximum(results.tokens.sum(), 1)
        gradients = jax.tree.map(lambda g: g / tokens, total)
        updates, changed = optimiser.update(gradients, state.optimiser, state.trained)
        updates = jax.tree.map(lambda u: learning_rate * u, updates)
        whole = Sums(loss=results.loss.sum() / tokens, tokens=tokens, right=results.right.reshape(-1))
        return State(optax.apply_updates(state.trained, updates), changed), whole

    return step
