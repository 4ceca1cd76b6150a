"""Examples whose common beginning is read once: every token is in its place, and losses and gradients are the same."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st
from small_training import MESH, SMALL, checkpoint, flat, sums_of

from flame_rank.errors import UserError
from flame_rank.model import decoder
from flame_rank.model.separate import Lengths
from trainer.finetune import base_model, step
from trainer.finetune.step import Batch, collate, common_beginning, losses, real_tokens
from trainer.finetune.tokenized_rows import Row
from trainer.finetune.training import Training

IDS = st.lists(st.integers(1, 2), min_size=1, max_size=9)  # few ids, so that beginnings are common


@given(st.lists(st.tuples(IDS, IDS), min_size=4, max_size=4))
def test_every_token_is_in_its_place(ids: list[tuple[list[int], list[int]]]) -> None:
    examples = [Row(np.array(source, np.int32), np.array(target, np.int32)) for source, target in ids]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step, "_STEP", 2)
        batch = collate(examples, 2, joined=True, share=2)
    commons = [common_beginning(examples[:2]), common_beginning(examples[2:])]
    known = np.minimum(commons, max(commons) // 2 * 2)  # at most a whole number of steps
    for k, (source, target) in enumerate(ids):
        part, row = divmod(k, 2)
        begin = [] if batch.common is None else batch.common[part, 0, : known[part]].tolist()
        own = batch.tokens[part, row]
        assert begin + own[own > 0].tolist() == source + target
        assert known[part] + batch.lengths[part, row] == len(source) > known[part]
    for group, common in zip((ids[:2], ids[2:]), commons, strict=True):
        longer = {tuple(source[: common + 1]) for source, _ in group}
        assert len(longer) == 2 or any(len(source) == common + 1 for source, _ in group)
    assert real_tokens(batch, joined=True) == sum(len(a) + len(b) for a, b in ids) - sum(known)


def test_a_common_beginning_ends_with_the_prompt() -> None:
    examples = [Row(np.arange(9, dtype=np.int32), np.array([k]), pieces=Lengths(4, 2, 3)) for k in range(2)]
    assert common_beginning(examples) == 4 and common_beginning([e._replace(pieces=None) for e in examples]) == 8


@pytest.mark.parametrize(
    ("family", "form"),
    [
        ("llama3", "joint"),
        ("llama3", "separate"),
        pytest.param("gemma3", "joint", marks=pytest.mark.full),
    ],
)
def test_losses_and_gradients_are_the_same(
    family: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoder, "_BLOCK", 48)  # queries after a prefix take several blocks
    base = base_model.load(checkpoint(tmp_path / "b", family, num_hidden_layers=2), MESH)
    rng = np.random.default_rng(0)
    heads = [rng.integers(3, 90, n) for n in (70, 45)]  # of two tasks
    examples = []
    for k in range(8):
        parts = [rng.integers(3, 90, n) for n in rng.integers(2, 24, 5)]
        source = np.concatenate([heads[k // 4], *parts]).astype(np.int32)
        example = Row(source, rng.integers(3, 90, 1 + k % 3).astype(np.int32))
        if form == "separate" and k < 4:
            pieces = Lengths(len(heads[k // 4]), len(parts[0]), sum(map(len, parts[1:])))
            example = example._replace(target=np.array([7], np.int32), pieces=pieces, verdicts=(7, 8))
        examples.append(example)
    alone, shared = (jax.tree.map(lambda x: x[0], collate(examples, 1, joined=True, share=share)) for share in (1, 4))
    assert real_tokens(shared, joined=True) == real_tokens(alone, joined=True) - 3 * (64 + 45)

    def costs(batch: Batch) -> np.ndarray:
        found = jax.jit(lambda params: losses(nnx.merge(base.graph, params), batch)[0])(base.params)
        return np.asarray(found)[np.arange(found.shape[1]) < np.asarray(batch.counts)[:, None]]

    def gradient(batch: Batch) -> Any:
        return flat(jax.grad(lambda params: sums_of(base.graph, params, batch).loss)(base.params))

    np.testing.assert_allclose(costs(shared), costs(alone), atol=2e-5)
    found, wanted = gradient(shared), gradient(alone)
    for name in wanted:
        np.testing.assert_allclose(found[name], wanted[name], atol=1e-4, err_msg=name)


def test_a_t5_shares_nothing(tmp_path: Path) -> None:
    base = base_model.load(checkpoint(tmp_path / "t5", "t5"), MESH)
    with pytest.raises(UserError, match="--share 4: it is for decoders"):
        Training(base, replace(SMALL, share=4), MESH)
