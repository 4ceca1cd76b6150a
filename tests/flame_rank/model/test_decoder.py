"""The decoder against transformers, for every family and quirk, and what must not change what it says of a text."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checkpoints import VARIANTS, by_name, decoder, write_checkpoint
from flax import nnx
from places import GOLDEN
from safetensors import safe_open

from flame_rank.model import arrays_file, weight_files, weights
from flame_rank.model.choices import Attend
from flame_rank.model.config import DecoderConfig, read
from flame_rank.model.decoder import Decoder, KeyValue, attend

DECODER = GOLDEN / "decoder.safetensors"  # written by make_decoder_golden.py
FAMILIES = ["llama2", "llama3", "mistral", "qwen2_sliding", "qwen3", "gemma", "gemma2", "gemma3"]
Output = tuple[Any, Any, list[KeyValue]]


def tokens(seed: int, shape: tuple[int, int] = (2, 40)) -> Any:
    return np.random.RandomState(seed).randint(0, 97, shape).astype(np.int32)


made = cache(lambda name: decoder(VARIANTS[name]))


# Without LLVM's optimisation a program is compiled in half the time. XLA's own is as ever.
@partial(jax.jit, static_argnames=("graph", "how"), compiler_options={"xla_backend_optimization_level": 0})
def _run(graph: nnx.GraphDef[Decoder], params: Any, given: Any, how: Attend, **options: Any) -> Output:
    model = nnx.merge(graph, params)
    if "prefix" in options:
        options["prefix"] = options["prefix"].__getitem__
    hidden, kv = model.hidden(given, how=how, **options)
    return model.logits(hidden), hidden, kv


def run(model: Decoder, given: Any, how: Attend = "rows", **options: Any) -> Output:
    """Logits [B, T, V], the last layer's output [B, T, D], keys and values; `options` of `hidden`, prefix as a list."""
    graph, params = nnx.split(model)
    params = jax.tree.map(np.asarray, params)  # wherever they live: one program for all
    with jax.default_matmul_precision("highest"):
        logits, hidden, kv = _run(graph, params, given, how=how, **options)
    return np.asarray(logits), np.asarray(hidden), kv


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    return dict(arrays_file.load(DECODER))


def worst(model: Decoder, name: str, golden: dict[str, Any], how: Attend = "rows") -> float:
    return float(np.abs(run(model, golden["tokens"], how)[0][:, golden["places"]] - golden[name]).max())


@pytest.mark.parametrize("name", VARIANTS)
def test_equals_transformers(name: str, golden: dict[str, Any]) -> None:
    with safe_open(DECODER, "numpy") as file:
        assert json.loads(file.metadata()[name]) == VARIANTS[name], "run make_decoder_golden.py again"
    assert golden[name].std() > 1
    assert worst(made(name), name, golden) <= 1e-4


def test_many_positions_of_a_row_are_read_in_any_order() -> None:
    # More than a block of them, as for a long target in training: each sees all that precedes it.
    model, given = made("llama3"), tokens(3, (2, 320))
    read = np.random.default_rng(0).integers(0, 320, (2, 300)).astype(np.int32)
    whole = run(model, given)[1]
    for how in ("rows", "blocks"):
        found = run(model, given, how, read=read)[1]
        np.testing.assert_allclose(found, np.take_along_axis(whole, read[:, :, None], 1), atol=1e-4)


@pytest.mark.parametrize("cap", [0.0, 3.0])
@pytest.mark.parametrize("how", ["rows", "blocks"])
def test_attentions_gradients_are_those_of_its_formula(how: Attend, cap: float) -> None:
    B, T, S, N, K, H = 2, 5, 7, 4, 2, 8
    draw = np.random.default_rng(0).normal
    given = [jnp.asarray(draw(size=shape), "float32") for shape in ((B, T, N, H), (B, S, K, H), (B, S, K, H))]
    visible = jnp.asarray(draw(size=(B, T, S)) > 0).at[..., 0].set(True)

    def formula(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        k, v = (jnp.repeat(x, N // K, 2) for x in (k, v))
        scores = 0.3 * jnp.einsum("btnh,bsnh->bnts", q, k)
        scores = cap * jnp.tanh(scores / cap) if cap else scores
        return jnp.einsum("bnts,bsnh->btnh", jax.nn.softmax(scores, where=visible[:, None]), v)

    def slopes(f: Any) -> Any:
        return jax.jit(jax.grad(lambda given: jnp.sin(f(*given)).sum()))(given)

    for got, want in zip(
        slopes(partial(attend, visible=visible, scale=0.3, cap=cap, how=how)), slopes(formula), strict=True
    ):
        np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.full
@pytest.mark.parametrize("name", [pytest.param("mistral", marks=pytest.mark.full), "gemma2_caps"])
def test_attention_in_blocks_has_the_same_gradients(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flame_rank.model.decoder._BLOCK", 16)  # of 40 tokens
    graph, params = nnx.split(made(name))

    @partial(jax.jit, static_argnums=0)
    def gradients(how: Attend, params: Any) -> Any:
        def loss(params: Any) -> Any:
            return jax.numpy.square(nnx.merge(graph, params)(tokens(0), how=how)).mean()

        return jax.value_and_grad(loss)(params)

    blocks, whole = (jax.tree.leaves(gradients(how, params)) for how in ("blocks", "rows"))
    for one, other in zip(blocks, whole, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5 * max(1.0, float(np.abs(other).max())))


@pytest.mark.parametrize("name", ["llama3", "mistral", "gemma2_caps"])
def test_so_do_the_other_attentions(name: str, golden: dict[str, Any]) -> None:
    assert worst(made(name), name, golden, "xla") <= 1e-4


def _fault(name: str, change: Callable[[DecoderConfig], DecoderConfig]) -> Any:
    return pytest.param(name, change, id=name)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        _fault("mistral", lambda c: replace(c, windows=(17, 17))),
        _fault("llama3_v5", lambda c: replace(c, ropes=tuple(replace(rope, low=1.1) for rope in c.ropes))),
        _fault("llama2", lambda c: replace(c, rms_norm_eps=1e-3)),
        _fault("gemma2_caps", lambda c: replace(c, attention_cap=0.51)),
        _fault("gemma3", lambda c: replace(c, ropes=(c.ropes[0],) * 7)),
    ],
)
def test_the_golden_would_show_a_fault(
    name: str, change: Callable[[DecoderConfig], DecoderConfig], golden: dict[str, Any]
) -> None:
    config = change(made(name).config)
    graph, _ = nnx.split(nnx.eval_shape(lambda: Decoder(config, nnx.Rngs(0))))
    assert worst(nnx.merge(graph, nnx.state(made(name))), name, golden) > 1e-3


@pytest.mark.parametrize("name", FAMILIES)
def test_after_a_prefix_as_in_the_whole(name: str) -> None:
    model, given = made(name), tokens(0)
    _, whole, kv = run(model, given)
    before, T, S = np.array([13, 20], np.int32), 19, 24
    rest = np.stack([row[n : n + T] for row, n in zip(given, before, strict=True)])
    outside = np.arange(S)[None, :, None, None] >= before[:, None, None, None]
    known = [tuple(np.where(outside, np.float32(1e4), np.asarray(x)[:, :S]) for x in layer) for layer in kv]
    _, hidden, new = run(model, rest, before=before, prefix=known)
    for b, n in enumerate(before):
        assert np.abs(hidden[b] - whole[b, n : n + T]).max() <= 1e-5
        for ours, theirs in zip(new, kv, strict=True):
            for x, y in zip(ours, theirs, strict=True):
                assert np.abs(np.asarray(x)[b] - np.asarray(y)[b, n : n + T]).max() <= 1e-4


@pytest.mark.parametrize("name", ["llama2", "gemma2"])  # whose last layer sees all, and a window
def test_what_is_read_is_picked_from_the_whole(name: str) -> None:
    model, given = made(name), tokens(0)
    places = np.array([[0, 39, 17], [38, 38, 5]], np.int32)
    _, whole, kv = run(model, given)
    _, hidden, same = run(model, given, read=places)
    assert np.abs(hidden - np.take_along_axis(whole, places[:, :, None], 1)).max() <= 1e-5
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), same, kv)


@pytest.mark.parametrize("name", VARIANTS)
def test_what_stands_behind_changes_nothing_before(name: str) -> None:
    given = tokens(0)
    padded = np.where(np.arange(40) < 25, given, 0)
    assert (padded != given).any()
    one, other = (run(made(name), text)[1] for text in (given, padded))
    assert np.abs(one - other)[:, :25].max() <= 1e-6
    assert np.abs(one - other)[:, 25:].max() > 0.1


@pytest.mark.live
@pytest.mark.parametrize("name", VARIANTS)
def test_reads_what_transformers_saves(name: str, tmp_path: Path) -> None:
    theirs = reference(VARIANTS[name], tmp_path, tokens(1))
    ours = _from_directory(tmp_path / "theirs")
    assert ours.config == read(VARIANTS[name])
    assert np.abs(run(ours, tokens(1))[0] - theirs).max() <= 1e-4


@pytest.mark.live
@pytest.mark.parametrize("name", VARIANTS)
def test_transformers_reads_what_is_saved(name: str, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the live comparison needs PyTorch")
    pytest.importorskip("transformers", reason="the live comparison needs transformers")
    import make_decoder_golden as golden

    state = nnx.state(made(name), nnx.Param)
    weight_files.save(tmp_path / "ours", VARIANTS[name], by_name(state), max_shard_bytes=20_000)
    assert (tmp_path / "ours" / weight_files.INDEX).exists()
    theirs = golden.reference(golden.load(tmp_path / "ours"), tokens(1))
    assert np.abs(run(made(name), tokens(1))[0] - theirs).max() <= 1e-4


def _from_directory(folder: Path) -> Decoder:
    stated = json.loads((folder / "config.json").read_text())
    if stated["model_type"] == "ministral":  # as transformers calls a Mistral with layer_types
        stated["model_type"] = "mistral"
    config = read(stated)
    graph, params = nnx.split(nnx.eval_shape(lambda: Decoder(config, nnx.Rngs(0))))
    return nnx.merge(graph, weights.fill(params, weight_files.WeightFiles.open(folder)))


@pytest.mark.live
def test_reads_the_text_model_of_one_with_vision(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the live comparison needs PyTorch")
    transformers = pytest.importorskip("transformers", reason="the live comparison needs transformers")
    eyes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    eyes |= {"image_size": 8, "patch_size": 4, "vision_use_head": False}
    stated = transformers.Gemma3Config(text_config=VARIANTS["gemma3"], vision_config=eyes, mm_tokens_per_image=4)
    torch.manual_seed(0)
    model = transformers.Gemma3ForConditionalGeneration(stated).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
        theirs = model(input_ids=torch.tensor(tokens(1)).long()).logits.numpy()
    model.save_pretrained(tmp_path)
    ours = _from_directory(tmp_path)
    assert ours.config == read(VARIANTS["gemma3"])
    assert theirs.std() > 0.5
    assert np.abs(run(ours, tokens(1))[0] - theirs).max() <= 1e-4


@pytest.mark.full
@pytest.mark.live
@pytest.mark.parametrize("name", VARIANTS)
def test_equals_transformers_at_the_longest(name: str, tmp_path: Path) -> None:
    config = {key: value for key, value in VARIANTS[name].items() if key != "max_position_embeddings"}
    given = tokens(2, (1, 2048))
    theirs = reference(config, tmp_path, given)
    ours, _, _ = run(decoder(config), given)
    assert np.abs(ours - theirs).max() <= 1e-4


def reference(config: dict[str, Any], folder: Path, given: Any) -> Any:
    """transformers' logits for folder/ours, and folder/theirs as it saves that."""
    pytest.importorskip("torch", reason="the live comparison needs PyTorch")
    pytest.importorskip("transformers", reason="the live comparison needs transformers")
    import make_decoder_golden as golden

    write_checkpoint(folder / "ours", config)
    model = golden.load(folder / "ours")
    model.save_pretrained(folder / "theirs")
    return golden.reference(model, given)
