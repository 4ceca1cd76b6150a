"""The separate form: a row of training says what each response says that is read alone after its prompt."""

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
from flame_rank.model.decoder import Decoder
from flame_rank.model.kernel import Kernel
from flame_rank.model.nodes import Ids
from flame_rank.model.separate import Lengths, row_views

T = 192  # tokens of a padded row
FAMILIES = ["gemma3", *(pytest.param(f, marks=pytest.mark.full) for f in ("llama3", "qwen2", "qwen3", "gemma2"))]


def text(rng: np.random.Generator, length: int) -> Ids:
    return tuple(rng.integers(0, 97, length).tolist())


def padded(rows: list[Ids]) -> np.ndarray:
    tokens = np.zeros((len(rows), T), np.int32)
    for b, ids in enumerate(rows):
        tokens[b, : len(ids)] = ids
    return tokens


@jax.jit
def _log_probs(graph: Any, params: Any, tokens: Any, seen: Any) -> jax.Array:
    model = nnx.merge(graph, params)
    return jax.nn.log_softmax(model.logits(model.hidden(tokens, seen=seen, how="blocks")[0]))


def behind_both(model: Decoder, comparisons: list[tuple[Ids, Ids, Ids]]) -> np.ndarray:
    """Log-probabilities [R, 2, V] behind both responses of rows."""
    lengths = Lengths(*np.array([[*map(len, c)] for c in comparisons], np.int32).T)
    none = jnp.zeros(len(comparisons), int)
    seen = row_views(model.config, lengths, none, T=T, S=0, dtype=jnp.float32)
    graph, params = nnx.split(model)
    said = np.asarray(_log_probs(graph, params, padded([p + a + b for p, a, b in comparisons]), seen))
    first = lengths.prompt + lengths.first
    rows = np.arange(len(comparisons))
    return np.stack([said[rows, first - 1], said[rows, first + lengths.second - 1]], 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_and_kernel_say_what_each_response_says_alone(family: str) -> None:
    model, rng = decoder(VARIANTS[family]), np.random.default_rng(0)
    head, prompt, answers = text(rng, 9), text(rng, 21), [text(rng, n) for n in (40, 7, 33)]
    pairs = [(i, j) for i in range(3) for j in range(3) if i != j]
    kernel = Kernel(model, mesh=sharding.mesh(devices=jax.devices()[:1]), max_length=256)
    with jax.default_matmul_precision("highest"):
        alone = [head + prompt + answer for answer in answers]
        graph, params = nnx.split(model)
        whole = np.asarray(_log_probs(graph, params, padded(alone), None))
        expected = np.stack([row[len(ids) - 1] for row, ids in zip(whole, alone, strict=True)])  # [3, V]
        trained = behind_both(model, [(head + prompt, answers[i], answers[j]) for i, j in pairs])
        judged = kernel.log_probs([(head, prompt, answer) for answer in answers], [7, 8])
    np.testing.assert_allclose(trained, expected[pairs], atol=1e-4)
    np.testing.assert_allclose(judged, expected[:, [7, 8]], atol=1e-4)
    assert np.ptp(judged[:, 0] - judged[:, 1]) > 1e-3  # the responses make a difference
    assert kernel.usage.tokens == len(head) + len(prompt) + sum(map(len, answers))  # each is read once


@given(seed=st.integers(0, 2**32 - 1), lengths=st.tuples(*[st.integers(1, 60)] * 3))
@settings(deadline=None, max_examples=10)
def test_a_response_changes_nothing_behind_the_other(seed: int, lengths: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(seed)
    model = decoder({**VARIANTS["qwen2"], "num_hidden_layers": 1})
    prompt, a, b = (text(rng, n) for n in lengths)
    other = text(rng, len(b) + 1)
    there, back, changed = behind_both(model, [(prompt, a, b), (prompt, b, a), (prompt, a, other)])
    np.testing.assert_allclose(there, back[::-1], atol=1e-4)
    np.testing.assert_allclose(there[0], changed[0], atol=1e-4)
