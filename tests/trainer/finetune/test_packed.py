"""Examples that share a row: every token is in its place, and losses and gradients are those of separate rows."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st
from small_training import MESH, checkpoint, flat, sums_of

from flame_rank.model.separate import Lengths
from trainer.finetune import base_model
from trainer.finetune.packed import common_beginning, pack, rows_of
from trainer.finetune.step import Batch, collate, losses
from trainer.finetune.tokenized_rows import Row

IDS = st.lists(st.integers(1, 3), min_size=1, max_size=9)  # few ids, so that beginnings are common


@given(st.lists(st.tuples(IDS, IDS), min_size=2, max_size=5))
def test_every_example_is_in_the_row(ids: list[tuple[list[int], list[int]]]) -> None:
    examples = [Row(np.array(source, np.int32), np.array(target, np.int32)) for source, target in ids]
    row, common = pack(examples, joined=True), common_beginning(examples)
    assert len(row.tokens) == common + sum(len(source) + len(target) - common for source, target in ids)
    for k, (source, target) in enumerate(ids):
        own = (row.owner == 0) | (row.owner == k + 1)
        assert row.tokens[own].tolist() == source + target
        assert row.place[own].tolist() == list(range(len(source + target)))
        end = row.lengths[k]  # after the input
        assert row.tokens[end : end + len(target)].tolist() == target and row.place[end - 1] == len(source) - 1
    one = {tuple(source[: common + 1]) for source, _ in ids}
    assert len(one) > 1 or any(len(source) == common + 1 for source, _ in ids)  # no longer beginning is common


def test_a_common_beginning_ends_with_the_prompt() -> None:
    examples = [Row(np.arange(9, dtype=np.int32), np.array([k]), pieces=Lengths(4, 2, 1, 1, 1)) for k in range(2)]
    assert common_beginning(examples) == 4 and common_beginning([e._replace(pieces=None) for e in examples]) == 8


def _micro(examples: list[Row], share: int) -> Batch:
    batch: Batch = jax.tree.map(lambda x: x[0], collate(rows_of(examples, share, joined=True), 1))
    return batch


@pytest.mark.parametrize(("family", "form"), [("llama3", "joint"), ("llama3", "separate"), ("gemma3", "joint")])
def test_losses_and_gradients_are_those_of_separate_rows(family: str, form: str, tmp_path: Path) -> None:
    base = base_model.load(checkpoint(tmp_path / "b", family, num_hidden_layers=2), MESH)
    rng = np.random.default_rng(0)
    heads = [rng.integers(3, 90, n) for n in (30, 11)]  # of two tasks
    examples = []
    for k in range(8):
        parts = [rng.integers(3, 90, n) for n in rng.integers(2, 24, 5)]
        pieces = Lengths(len(heads[k // 4]), *map(len, parts[:4])) if form == "separate" else None
        source = np.concatenate([heads[k // 4], *parts]).astype(np.int32)
        examples.append(Row(source, rng.integers(3, 90, 1 + k % 3).astype(np.int32), pieces=pieces))
    alone, together = _micro(examples, 1), _micro(examples, 4)
    assert together.tokens.shape[0] == 2 and together.tokens.size < alone.tokens.size

    def costs(batch: Batch) -> np.ndarray:
        found = jax.jit(lambda params: losses(nnx.merge(base.graph, params), batch)[0])(base.params)
        counted = np.arange(found.shape[-1]) < np.asarray(batch.counts)[..., None]
        return np.asarray(found)[counted]

    def gradient(batch: Batch) -> Any:
        return flat(jax.grad(lambda params: sums_of(base.graph, params, batch).loss)(base.params))

    np.testing.assert_allclose(costs(together), costs(alone), atol=2e-5)
    found, wanted = gradient(together), gradient(alone)
    for name in wanted:
        np.testing.assert_allclose(found[name], wanted[name], atol=1e-4, err_msg=name)
    assert np.array_equal(*(sums_of(base.graph, base.params, batch).right for batch in (alone, together)))
