"""T5 and FLAN-T5 against transformers, and what must not change what the model says of an input."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checkpoints import by_name
from flax import nnx
from places import GOLDEN
from random_weights import random_tensor
from safetensors import safe_open

from flame_rank.model import arrays_file, t5, weight_files
from flame_rank.model.t5 import T5, Stack, buckets, generate, score
from flame_rank.model.t5_config import HEAD, T5Config

NAMES = ["t5_v1_0", "t5_v1_1"]
T5_SMALL = {  # t5-small as it was published: nothing of the activation, the ties, the decoder's layers, the distance
    "architectures": ["T5ForConditionalGeneration"],
    "d_ff": 2048,
    "d_kv": 64,
    "d_model": 512,
    "decoder_start_token_id": 0,
    "dropout_rate": 0.1,
    "eos_token_id": 1,
    "initializer_factor": 1.0,
    "is_encoder_decoder": True,
    "layer_norm_epsilon": 1e-06,
    "model_type": "t5",
    "n_positions": 512,
    "num_heads": 8,
    "num_layers": 6,
    "output_past": True,
    "pad_token_id": 0,
    "relative_attention_num_buckets": 32,
    "task_specific_params": {"summarization": {"prefix": "summarize: "}},
    "vocab_size": 32128,
}
FLAN = {  # google/flan-t5-small as it was published
    "architectures": ["T5ForConditionalGeneration"],
    "d_ff": 1024,
    "d_kv": 64,
    "d_model": 512,
    "decoder_start_token_id": 0,
    "dropout_rate": 0.1,
    "eos_token_id": 1,
    "feed_forward_proj": "gated-gelu",
    "initializer_factor": 1.0,
    "is_encoder_decoder": True,
    "layer_norm_epsilon": 1e-06,
    "model_type": "t5",
    "n_positions": 512,
    "num_decoder_layers": 8,
    "num_heads": 6,
    "num_layers": 8,
    "output_past": True,
    "pad_token_id": 0,
    "relative_attention_max_distance": 128,
    "relative_attention_num_buckets": 32,
    "task_specific_params": {"summarization": {"prefix": "summarize: "}},
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "transformers_version": "4.23.1",
    "use_cache": True,
    "vocab_size": 32128,
}


def build(config: T5Config) -> T5:
    graph, params = nnx.split(nnx.eval_shape(lambda: T5(config, nnx.Rngs(0))))
    for path, leaf in nnx.to_flat_state(params):
        leaf.set_value(jnp.asarray(random_tensor(".".join(map(str, path)), leaf.shape)))
    return nnx.merge(graph, params)


def run(graph: Any, params: Any, tokens: jax.Array, lengths: jax.Array, targets: jax.Array) -> jax.Array:
    model = nnx.merge(graph, params)
    logits: jax.Array = model.logits(model.decode(targets, model.encode(tokens, lengths), lengths))
    return logits


_run = jax.jit(run, static_argnums=0)


def forward(model: T5, tokens: Any, lengths: Any, targets: Any) -> Any:
    """The logits [B, T, V]."""
    with jax.default_matmul_precision("highest"):
        return np.asarray(_run(*nnx.split(model), tokens, lengths, targets))


@pytest.fixture(scope="module", params=NAMES)
def golden(request: pytest.FixtureRequest) -> tuple[T5, dict[str, Any]]:
    return read_golden(request.param)


def read_golden(name: str) -> tuple[T5, dict[str, Any]]:
    path = GOLDEN / f"{name}.safetensors"
    with safe_open(path, "numpy") as file:
        config = T5Config.read(json.loads(file.metadata()["config"]))
    assert config.tie_word_embeddings == config.scale_decoder_outputs == (name == "t5_v1_0")
    return build(config), dict(arrays_file.load(path))


def given(tensors: dict[str, Any]) -> tuple[Any, Any, Any]:
    return tensors["tokens"], tensors["lengths"], tensors["targets"]


def test_equals_transformers(golden: tuple[T5, dict[str, Any]]) -> None:
    model, tensors = golden
    assert tensors["tokens"].shape[1] > 2 * model.config.relative_attention_max_distance
    assert tensors["targets"].shape[1] > model.config.relative_attention_max_distance
    assert tensors["logits"].std() > 1
    assert np.abs(forward(model, *given(tensors)) - tensors["logits"]).max() <= 1e-4


def distance(model: T5, patch: pytest.MonkeyPatch) -> None:
    for stack in (model.encoder, model.decoder):
        stack.config = replace(model.config, relative_attention_max_distance=24)


def no_bias(model: T5, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Stack, "bias", lambda self, T: jnp.zeros((1, self.config.num_heads, T, T)))


def a_bias_for_both_directions(model: T5, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(t5, "buckets", lambda *args, both_ways: buckets(*args, both_ways=True))


def scaled_attention(model: T5, patch: pytest.MonkeyPatch) -> None:
    plain = jax.nn.dot_product_attention
    patch.setattr(jax.nn, "dot_product_attention", lambda *args, **kwargs: plain(*args, **kwargs | {"scale": None}))


def scaled_output(model: T5, patch: pytest.MonkeyPatch) -> None:
    model.config = replace(model.config, scale_decoder_outputs=True)


def exact_gelu(model: T5, patch: pytest.MonkeyPatch) -> None:
    plain = jax.nn.gelu
    patch.setattr(jax.nn, "gelu", lambda x, approximate: plain(x, approximate=False))


HASTE = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
FAULTS: list[Callable[[T5, pytest.MonkeyPatch], None]] = [
    distance,
    no_bias,
    a_bias_for_both_directions,
    scaled_attention,
    scaled_output,
    exact_gelu,
]


@pytest.mark.parametrize("fault", FAULTS)
def test_the_golden_would_show_a_fault(
    fault: Callable[[T5, pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tensors = read_golden("t5_v1_1")
    fault(model, monkeypatch)
    graph, params = nnx.split(model)
    with jax.default_matmul_precision("highest"):
        # A program of its own, or a patch goes unseen; compiled in haste.
        logits = jax.jit(partial(run, graph), compiler_options=HASTE)(params, *given(tensors))
    assert np.abs(np.asarray(logits) - tensors["logits"]).max() > 2e-3


def test_padding_and_the_rest_of_a_batch_move_nothing(golden: tuple[T5, dict[str, Any]]) -> None:
    model, tensors = golden
    tokens, lengths, targets = given(tensors)
    together = forward(model, tokens, lengths, targets)
    rounding = 1e-4  # of logits up to 10, summed in another order
    rubbish = np.where(np.arange(tokens.shape[1]) < lengths[:, None], tokens, 7)  # in the place of padding
    order = [2, 0, 1]
    other = forward(model, rubbish[order], lengths[order], targets[order])
    np.testing.assert_allclose(other, together[order], atol=rounding)
    row, length = 1, 17
    assert lengths[row] == length and (tokens[row, length:] == 0).all()
    alone = forward(model, tokens[[row], :length], lengths[[row]], targets[[row]])
    np.testing.assert_allclose(alone[0], together[row], atol=rounding)


def test_targets_to_come_move_nothing(golden: tuple[T5, dict[str, Any]]) -> None:
    model, tensors = golden
    tokens, lengths, targets = given(tensors)
    changed = targets.copy()
    changed[:, 9:] = 5
    before, after = forward(model, tokens, lengths, targets), forward(model, tokens, lengths, changed)
    np.testing.assert_allclose(after[:, :9], before[:, :9], atol=1e-5)
    assert np.abs(after[:, 9:] - before[:, 9:]).max() > 0.1


@pytest.mark.parametrize(
    ("both_ways", "rows"),  # with 32 rows and a furthest distance of 128: {position of the key less the query's: row}
    [
        # 16 rows a direction, 8 exact; then 8 + 8 log(d / 8) / log(16): row 9 from 11.3 on, 10 from 16, 15 from 90.5
        (True, {0: 0, -1: 1, -7: 7, -8: 8, -11: 8, -12: 9, -17: 10, -90: 14, -91: 15, -128: 15, -999: 15}),
        (True, {1: 17, 7: 23, 8: 24, 11: 24, 12: 25, 17: 26, 90: 30, 91: 31, 128: 31, 999: 31}),
        # 32 rows to the left, 16 exact; then 16 + 16 log(d / 16) / log(8): row 17 from 18.2 on, 31 from 112.4
        (False, {0: 0, -1: 1, -15: 15, -16: 16, -18: 16, -19: 17, -112: 30, -113: 31, -128: 31, -999: 31}),
        (False, {1: 0, 16: 0, 999: 0}),
    ],
)
def test_rows_of_the_bias_table(both_ways: bool, rows: dict[int, int]) -> None:
    found = buckets(np.array([*rows], np.int32), 32, 128, both_ways=both_ways)
    assert dict(zip(rows, found.tolist(), strict=True)) == rows


def small(**changes: Any) -> T5:
    """Quick to compile: one layer each."""
    config = T5Config(vocab_size=61, d_model=24, d_kv=6, d_ff=40, num_layers=1, num_decoder_layers=1, num_heads=4)
    return build(replace(config, **changes))


def test_scores_are_log_softmax_at_the_targets() -> None:
    model = small(decoder_start_token_id=3)
    random = np.random.RandomState(1)
    tokens, lengths = random.randint(0, 61, (3, 12)), np.array([12, 5, 1])
    targets, target_lengths = random.randint(0, 61, (3, 6)), np.array([6, 1, 3])
    graph, params = nnx.split(model)
    with jax.default_matmul_precision("highest"):
        found = jax.jit(lambda params, *args: score(nnx.merge(graph, params), *args))(
            params, tokens, lengths, targets, target_lengths
        )
    assert found.shape == (3, 6) and found.dtype == jnp.float32
    read = np.concatenate([np.full((3, 1), 3), targets[:, :-1]], 1)
    all_of_them = np.asarray(jax.nn.log_softmax(forward(model, tokens, lengths, read)))
    expected = np.take_along_axis(all_of_them, targets[..., None], 2)[..., 0]
    expected[np.arange(6) >= target_lengths[:, None]] = 0
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_generating_is_taking_the_likeliest_until_the_end() -> None:
    model = small(pad_token_id=60)
    random = np.random.RandomState(2)
    tokens, lengths, limit = random.randint(0, 61, (4, 12)), np.array([12, 5, 3, 0]), 7
    texts = np.zeros((4, limit + 1), np.int64)  # the start token first
    for step in range(limit):
        texts[:, step + 1] = forward(model, tokens, lengths, texts[:, :-1])[:, step].argmax(1)
    expected = texts[:, 1:]
    expected[3] = 60  # of no input, nothing
    stops = (int(expected[0, 2]), int(expected[1, 4]))
    graph, params = nnx.split(model)
    run = jax.jit(
        lambda params: generate(nnx.merge(graph, params), *map(jnp.asarray, (tokens, lengths)), eos=stops, limit=limit)
    )
    with jax.default_matmul_precision("highest"):
        found = np.asarray(run(params))
    ends = [next((i for i, token in enumerate(row) if token in stops), limit) for row in expected]
    assert min(ends[:3]) < limit - 1 and len({*ends[:3]}) > 1  # they end, and not all at once
    expected[np.arange(limit) > np.array(ends)[:, None]] = 60
    assert (found == expected).all()


def test_reads_the_official_files() -> None:
    config = T5Config.read(T5_SMALL)
    assert config == T5Config()
    assert config.tie_word_embeddings and config.scale_decoder_outputs and config.num_decoder_layers == 6
    flan = T5Config.read(FLAN)
    assert not flan.tie_word_embeddings and not flan.scale_decoder_outputs
    assert (flan.num_heads, flan.d_ff, flan.num_decoder_layers) == (6, 1024, 8)
    assert T5Config.read(FLAN, head=True) == flan
    assert T5Config.read({"model_type": "t5", "num_layers": 3}).num_decoder_layers == 3
    assert T5Config.read({"model_type": "t5", "pad_token_id": 5}).decoder_start_token_id == 5


def newer(config: Mapping[str, Any]) -> dict[str, Any]:
    """As transformers 5 writes it."""
    gated = "feed_forward_proj" in config
    return {
        **{key: value for key, value in config.items() if key != "torch_dtype"},
        "classifier_dropout": 0.0,
        "dense_act_fn": "gelu_new" if gated else "relu",
        "dtype": "float32",
        "is_decoder": False,
        "is_gated_act": gated,
        "scale_decoder_outputs": config.get("tie_word_embeddings", True),
        "tie_word_embeddings": True,
        "transformers_version": "5.24.0",
    }


@pytest.mark.parametrize("config", [T5_SMALL, FLAN])
def test_reads_both_dialects(config: dict[str, Any]) -> None:
    assert T5Config.read(newer(config)) == T5Config.read(config)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("head", [False, True])
def test_the_weights_decide_whether_the_head_is_tied(head: bool, scaled: bool) -> None:
    config = T5Config.read({**newer(T5_SMALL), "scale_decoder_outputs": scaled}, head=head)
    assert (config.tie_word_embeddings, config.scale_decoder_outputs) == (not head, scaled)
    assert T5Config.read(config.to_dict(), head=head) == config
    # weight_files.save leaves a head out where the configuration says that it is tied.
    assert not (head and config.to_dict()["tie_word_embeddings"])


@pytest.mark.parametrize("config", [T5_SMALL, FLAN, FLAN | {"eos_token_id": [1, 2]}])
def test_what_is_written_is_read(config: dict[str, Any]) -> None:
    read = T5Config.read(config)
    assert T5Config.read(json.loads(json.dumps(read.to_dict()))) == read


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("rope_theta", 1e4, "rope_theta = 10000.0 is not supported"),
        ("model_type", "mt5", "model_type = 'mt5' is not supported"),
        ("is_decoder", True, "is_decoder = True is not supported"),
        ("dense_act_fn", "relu", "dense_act_fn = 'relu' is not supported"),
        ("feed_forward_proj", "gated-silu", "feed_forward_proj = 'gated-silu' is not supported"),
        ("feed_forward_proj", ["relu"], r"feed_forward_proj = \['relu'\] is not supported"),
        ("num_heads", 6.0, "num_heads = 6.0, not a positive whole number"),
        ("d_model", "512", "d_model = '512', not a positive whole number"),
        ("d_kv", 0, "d_kv = 0, not a positive whole number"),
        ("num_layers", True, "num_layers = True, not a positive whole number"),
        ("tie_word_embeddings", "false", "tie_word_embeddings = 'false', neither true nor false"),
        ("scale_decoder_outputs", 1, "scale_decoder_outputs = 1, neither true nor false"),
        ("decoder_start_token_id", 40000, "decoder_start_token_id = 40000, not in a vocabulary of 32128"),
        ("eos_token_id", [1, -1], r"eos_token_id = \[1, -1\], not in a vocabulary of 32128"),
        ("pad_token_id", "0", "pad_token_id = '0', not in a vocabulary of 32128"),
        ("layer_norm_epsilon", "1e-6", "layer_norm_epsilon = '1e-6', not between 0 and 1"),
        ("relative_attention_max_distance", 16, "32 relative_attention_num_buckets do not cover a distance of 16"),
    ],
)
def test_refuses_what_it_cannot_compute(key: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"config.json: {message}"):
        T5Config.read(FLAN | {key: value})


SMALL = {"model_type": "t5", "vocab_size": 61, "d_model": 24, "d_kv": 6, "d_ff": 40, "num_layers": 2, "num_heads": 4}
LIVE: dict[str, dict[str, Any]] = {
    "relu": SMALL | {"layer_norm_epsilon": 1e-2, "num_decoder_layers": 1, "decoder_start_token_id": 2},
    "far": SMALL | {"relative_attention_num_buckets": 6, "relative_attention_max_distance": 11},
    "gated": newer(SMALL | {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "d_kv": 9}),
    "head_but_scaled": newer(SMALL),
    "tied_but_not_scaled": SMALL | {"tie_word_embeddings": False},
}
HEADS = ("gated", "head_but_scaled")  # those with one of their own


def live() -> Any:
    reason = "the extra `parity` is not installed"
    pytest.importorskip("torch", reason=reason)
    pytest.importorskip("transformers", reason=reason)
    import make_t5_golden

    return make_t5_golden


@pytest.mark.live
@pytest.mark.parametrize("name", LIVE)
def test_equals_transformers_live(name: str, tmp_path: Path) -> None:
    other, head = live(), name in HEADS
    asked = other.asked(LIVE[name], 3, S=40, T=15)
    expected = other.reference(LIVE[name], **asked, head=head)
    model = build(T5Config.read(LIVE[name], head=head))
    found = forward(model, *given(asked))
    assert expected.std() > 0.2 and np.abs(found - expected).max() <= 1e-4
    folder = tmp_path / "saved"
    weight_files.save(folder, model.config.to_dict(), by_name(nnx.state(model, nnx.Param)))
    assert np.abs(found - other.logits(folder, **asked)).max() <= 1e-4
    stated = json.loads((folder / "config.json").read_bytes())
    assert T5Config.read(stated, head=HEAD in weight_files.WeightFiles.open(folder)) == model.config


@pytest.mark.live
@pytest.mark.parametrize(("count", "furthest"), [(32, 128), (8, 20), (6, 11), (4, 3)])
@pytest.mark.parametrize("both_ways", [False, True])
def test_rows_of_the_bias_table_live(count: int, furthest: int, both_ways: bool) -> None:
    live()
    import torch
    from transformers.models.t5.modeling_t5 import T5Attention

    offsets = np.arange(-700, 701, dtype=np.int32)
    expected = T5Attention._relative_position_bucket(torch.tensor(offsets), both_ways, count, furthest).numpy()
    assert (buckets(offsets, count, furthest, both_ways=both_ways) == expected).all()
