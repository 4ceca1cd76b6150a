"""The loss is the plain one, and its gradient that of the mean over target tokens."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st
from small_training import MESH, checkpoint, flat, fresh, some, sums_of

from flame_rank.model import t5
from trainer.finetune import base_model, trainable
from trainer.finetune.step import State, collate, dropout, make_train_step, padded_length, padded_width
from trainer.finetune.tokenized_rows import Row, TokenizedRows

IDS = st.lists(st.integers(1, 99), min_size=1, max_size=70)


@given(st.lists(st.tuples(IDS, IDS), min_size=4, max_size=4), st.sampled_from([1, 2, 4]), st.booleans())
def test_every_token_is_in_its_place(ids: list[tuple[list[int], list[int]]], parts: int, joined: bool) -> None:
    examples = [Row(np.array(source, np.int32), np.array(target, np.int32)) for source, target in ids]
    batch = collate(examples, parts, joined=joined)
    assert batch.tokens.shape == (parts, 4 // parts, padded_width(examples, joined=joined)) and batch.pieces is None
    flat = [np.asarray(x).reshape(4, *x.shape[2:]) for x in jax.tree.leaves(batch)]
    for k, (source, target) in enumerate(ids):
        tokens, length, targets, count, row = (x[k] for x in flat)
        assert tokens[tokens > 0].tolist() == source + target * joined and length == len(source)
        assert targets[targets > 0].tolist() == target and count == len(target) and row == k


@pytest.mark.parametrize(("tokens", "length"), [(1, 32), (33, 64), (129, 192), (513, 640), (1025, 1280), (2048, 2048)])
def test_lengths_are_few(tokens: int, length: int) -> None:
    assert padded_length(tokens) == length


def test_the_loss_is_the_plain_one(base: base_model.Base, rows: TokenizedRows) -> None:
    batch = jax.tree.map(lambda x: x[0], collate(some(rows, 0, 1, 2), 1, joined=True))
    found = sums_of(base.graph, base.params, batch)
    plain = jax.jit(lambda params, ids: jax.nn.log_softmax(nnx.merge(base.graph, params)(ids[None])[0]))
    wanted, right = 0.0, []
    for of_input, target, *_ in some(rows, 0, 1, 2):
        ids = np.concatenate([of_input, target])
        log_probs = plain(base.params, np.pad(ids, (0, 256 - len(ids))))  # a token does not see what follows it
        places = np.arange(len(of_input), len(ids))
        wanted -= float(log_probs[places - 1, ids[places]].sum())
        right.append(bool((np.asarray(log_probs)[places - 1].argmax(1) == target).all()))
    assert float(found.loss) == pytest.approx(wanted, rel=1e-5) and found.right.tolist() == right
    assert int(found.tokens) == sum(len(row.target) for row in some(rows, 0, 1, 2))


@pytest.mark.full
def test_the_loss_of_t5(tmp_path: Path) -> None:
    base = base_model.load(checkpoint(tmp_path / "t5", "t5"), MESH)
    examples = [
        Row(np.array([5, 6, 7], np.int32), np.array([8, 1], np.int32)),
        Row(np.array([9], np.int32), np.array([4, 3, 1], np.int32)),
    ]
    batch = jax.tree.map(lambda x: x[0], collate(examples, 1, joined=False))
    model = nnx.merge(base.graph, base.params)
    counts = jnp.array([2, 3])
    wanted = -t5.score(model, batch.tokens, batch.lengths, batch.targets, counts).sum()
    assert float(sums_of(base.graph, base.params, batch).loss) == pytest.approx(float(wanted), rel=1e-5)


def test_dropout_is_drawn_row_by_row() -> None:
    key, x = jax.random.key(3), jnp.ones((4, 5, 7))
    whole = dropout(key, jnp.arange(4), 0.25)
    first, second = whole(x), whole(x)
    assert not np.array_equal(first, second)  # another place in the model
    part = dropout(key, jnp.arange(2, 4), 0.25)(x[2:])
    assert np.array_equal(part, first[2:])
    assert set(np.unique(first)) == {0.0, np.float32(1 / 0.75)}
    many = np.asarray(dropout(key, jnp.arange(64), 0.25)(jnp.ones((64, 16, 16))))
    assert abs((many == 0).mean() - 0.25) < 0.02


@pytest.mark.full
def test_the_gradient_is_that_of_the_mean_over_target_tokens(base: base_model.Base, rows: TokenizedRows) -> None:
    # Adam does not see the scale of a gradient: here the step is the gradient itself.
    own = fresh(base)
    whole = partial(trainable.assembled, base.graph)
    program = make_train_step(whole, optax.sgd(1.0), dtype=jnp.float32, dropout_rate=0.0, recompute=False)
    batch = collate(some(rows, 0, 1, 2, 3), 2, joined=True)
    state, found = program(State(own.params, optax.sgd(1.0).init(own.params)), {}, batch, jax.random.key(0), 1.0)
    together = jax.tree.map(lambda x: x[0], collate(some(rows, 0, 1, 2, 3), 1, joined=True))

    def mean(params: Any) -> jax.Array:
        whole = sums_of(base.graph, params, together)
        return jnp.divide(whole.loss, whole.tokens)

    value, gradient = jax.value_and_grad(mean)(base.params)
    assert float(found.loss) == pytest.approx(float(value), rel=1e-5)
    before, after, wanted = flat(base.params), flat(state.trained), flat(gradient)
    for name in wanted:
        np.testing.assert_allclose(before[name] - after[name], wanted[name], atol=1e-5, err_msg=name)
