"""The separate form: kernel and training rows say what attention with a mask written out token by token says."""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checkpoints import VARIANTS, decoder
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from flame_rank.model import sharding
from flame_rank.model.decoder import Decoder, make_views
from flame_rank.model.kernel import Kernel
from flame_rank.model.nodes import Ids
from flame_rank.model.separate import Lengths, row_views

MARKS, CUE = ((3, 4), (5,)), (6, 7, 8)
T = 192  # tokens of a padded row
FAMILIES = ["gemma3", *(pytest.param(f, marks=pytest.mark.full) for f in ("llama3", "qwen2", "qwen3", "gemma2"))]


def kernel(model: Decoder) -> Kernel:
    return Kernel(model, mesh=sharding.mesh(devices=jax.devices()[:1]), max_length=256)


def text(rng: np.random.Generator, length: int) -> Ids:
    return tuple(rng.integers(0, 97, length).tolist())


def parts(prompt: Ids, a: Ids, b: Ids) -> tuple[list[int], list[int], list[int]]:
    """The tokens of a comparison's row, the part and the position of each."""
    end = len(prompt) + max(len(a), len(b))
    pieces = [(prompt, 0, 0), (a, 1, len(prompt)), (b, 2, len(prompt)), (MARKS[0], 1, end)]
    pieces += [(MARKS[1], 2, end + len(MARKS[0])), (CUE, 3, end + len(MARKS[0]) + len(MARKS[1]))]
    flat = [(token, part, start + k) for ids, part, start in pieces for k, token in enumerate(ids)]
    tokens, numbers, positions = map(list, zip(*flat, strict=True))
    return tokens, numbers, positions


def plain(model: Decoder, comparisons: list[tuple[Ids, Ids, Ids]]) -> np.ndarray:
    """Log-probabilities [R, V] after the cue, with the mask written out."""
    rows = [parts(*comparison) for comparison in comparisons]
    tokens, positions = np.zeros((len(rows), T), np.int32), np.zeros((len(rows), T), np.int32)
    seen = np.zeros((len(rows), T, T), bool)
    seen[:, np.arange(T), np.arange(T)] = True  # so that padding sees something
    for b, (ids, part, place) in enumerate(rows):
        tokens[b, : len(ids)], positions[b, : len(ids)] = ids, place
        for q in range(len(ids)):
            for k in range(q):
                seen[b, q, k] = part[k] == 0 or part[k] == part[q] or part[q] == 3
    last = np.array([len(ids) - 1 for ids, _, _ in rows])
    graph, params = nnx.split(model)
    return np.asarray(_masked(graph, params, tokens, positions, seen, last))


@partial(jax.jit, static_argnums=0)
def _masked(graph: Any, params: Any, tokens: Any, positions: Any, seen: Any, last: Any) -> jax.Array:
    model = nnx.merge(graph, params)
    views = make_views(model.config, positions, positions, seen, model.model.embed_tokens.weight[...].dtype)
    hidden, _ = model.hidden(tokens, seen=views)
    return jax.nn.log_softmax(model.logits(hidden[jnp.arange(len(tokens)), last]))


@pytest.mark.parametrize("family", FAMILIES)
def test_kernel_and_rows_say_what_the_written_mask_says(family: str) -> None:
    model, rng = decoder(VARIANTS[family]), np.random.default_rng(0)
    head, prompt, answers = text(rng, 9), text(rng, 21), [text(rng, n) for n in (40, 7, 33)]
    pairs = [(a, b) for a in answers for b in answers if a is not b]
    comparisons = [(head + prompt, a, b) for a, b in pairs]
    with jax.default_matmul_precision("highest"):
        expected = plain(model, comparisons)
        judged = kernel(model).pair_log_probs([((head, prompt), a, b) for a, b in pairs], MARKS, CUE, [7, 8])
        lengths = Lengths(*np.array([[*map(len, c), len(MARKS[0]), len(MARKS[1])] for c in comparisons], np.int32).T)
        rows = np.zeros((len(pairs), T), np.int32)
        for b, comparison in enumerate(comparisons):
            ids = parts(*comparison)[0]
            rows[b, : len(ids)] = ids
        none = jnp.zeros(len(rows), int)
        seen = row_views(model.config, lengths, none, T=T, S=0, dtype=jnp.float32)
        hidden, _ = model.hidden(jnp.asarray(rows), seen=seen, how="blocks")
        last = sum(np.asarray(x) for x in lengths) + len(CUE) - 1
        trained = jax.nn.log_softmax(model.logits(hidden[np.arange(len(rows)), last]))
    assert np.abs(judged - expected[:, [7, 8]]).max() <= 1e-4
    assert np.abs(np.asarray(trained) - expected).max() <= 1e-4
    odds = judged[:, 0] - judged[:, 1]
    assert np.ptp(odds) > 1e-3  # the responses make a difference
    assert abs(odds[0] - odds[2]) > 1e-4  # and so does which of them is first: A and B, B and A


def test_each_response_is_encoded_once_for_all_pairs_and_orders() -> None:
    judge, rng = kernel(decoder({**VARIANTS["qwen2"], "num_hidden_layers": 2})), np.random.default_rng(1)
    head, prompt, answers = text(rng, 5), text(rng, 12), [text(rng, n) for n in (4, 9, 17, 3)]
    pairs = [((head, prompt), a, b) for a in answers for b in answers if a is not b]
    judge.pair_log_probs(pairs, MARKS, CUE, [7, 8])
    leaf = sum(map(len, MARKS)) + len(CUE)
    assert judge.usage.tokens == len(head) + len(prompt) + sum(map(len, answers)) + len(pairs) * leaf


@cache
def small(capacity: int | None = None) -> Kernel:
    """Quick to compile: one layer."""
    made = kernel(decoder({**VARIANTS["qwen2"], "num_hidden_layers": 1}))
    made.capacity = capacity or made.capacity
    return made


@given(seed=st.integers(0, 2**32 - 1), lengths=st.lists(st.integers(1, 60), min_size=2, max_size=5))
@settings(deadline=None, max_examples=5)
def test_a_small_cache_changes_nothing(seed: int, lengths: list[int]) -> None:
    rng = np.random.default_rng(seed)
    head, prompt, answers = text(rng, 3), text(rng, 10), [text(rng, n) for n in lengths]
    pairs = [((head, prompt), a, b) for i, a in enumerate(answers) for j, b in enumerate(answers) if i != j]
    room = 2 * 73 + 13 + 3  # for two of the longest responses with what precedes them
    large, little = (small(capacity).pair_log_probs(pairs, MARKS, CUE, [7, 8]) for capacity in (None, room))
    np.testing.assert_allclose(large, little, rtol=0, atol=1e-4)


@pytest.mark.parametrize("a, b", [((), (1,)), ((1,), ()), ((1,) * 250, (1,)), ((1,), (1,) * 250)])
def test_what_has_no_token_or_too_many_is_refused(a: Ids, b: Ids) -> None:
    with pytest.raises(ValueError, match=r"no token|more than max_length"):
        small().pair_log_probs([(((1, 2), (3,)), a, b)], MARKS, CUE, [7, 8])
