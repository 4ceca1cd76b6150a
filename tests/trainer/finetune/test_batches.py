"""Examples as arrays: every token in its place, whatever the number of parts, in few shapes."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.finetune.batches import Row, collate, padded_length, padded_width

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
