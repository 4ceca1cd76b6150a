"""The kernel: of a text in pieces it says what the plain computation says of the whole. And what it compiles."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checkpoints import VARIANTS, decoder
from flax import nnx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flame_rank.model import compiled, sharding
from flame_rank.model.choices import Attend
from flame_rank.model.decoder import Decoder, views
from flame_rank.model.generation import BegunTexts, Sampling, draw, generate
from flame_rank.model.kernel import Kernel
from flame_rank.model.nodes import Ids
from flame_rank.model.programs import begin, read, verdicts, words, write

FAMILIES = ["llama2", "llama3", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3"]
WORDS = 97  # the vocabulary of the tiny checkpoints


def kernel(model: Decoder, *, max_length: int = 512, tokens: int | None = None, how: Attend | None = None) -> Kernel:
    one = sharding.mesh(devices=jax.devices()[:1])
    return Kernel(model, mesh=one, max_length=max_length, max_batch_tokens=tokens, how=how)


@pytest.fixture(scope="module")
def small() -> Decoder:
    """Quick to compile: two layers."""
    return decoder({**VARIANTS["qwen2"], "num_hidden_layers": 2})


def text(rng: np.random.Generator, length: int) -> Ids:
    return tuple(int(token) for token in rng.integers(0, WORDS, length))


def pairs(rng: np.random.Generator, prompt: int, candidates: list[int]) -> list[tuple[Ids, Ids, Ids]]:
    """All ordered pairs of a problem as paths, with a cue behind."""
    asked, answers = text(rng, prompt), [text(rng, n) for n in candidates]
    return [(asked, a, (*b, 5, 6)) for a in answers for b in answers if a is not b]


def plain(model: Decoder, paths: Sequence[Sequence[Ids]], targets: list[int]) -> np.ndarray:
    """The log-probabilities [R, C] of the plain computation: every path whole, without padding between its pieces."""
    whole = [[token for piece in path for token in piece] for path in paths]
    # Few shapes: eight rows at a time, and lengths that fit most tests.
    longest = max(map(len, whole))
    padded = next(size for size in (128, 640, 2048) if longest <= size)
    found = []
    for start in range(0, len(whole), 8):
        tokens, last = np.zeros((8, padded), np.int32), np.zeros(8, np.int32)
        for b, ids in enumerate(whole[start : start + 8]):
            tokens[b, : len(ids)], last[b] = ids, len(ids) - 1
        graph, params = nnx.split(model)
        found.append(_plain(graph, params, tokens, last)[: len(whole) - start])
    return np.concatenate(found)[:, targets]


@partial(jax.jit, static_argnums=0)
def _plain(graph: nnx.GraphDef[Decoder], params: Any, tokens: jax.Array, last: jax.Array) -> jax.Array:
    model = nnx.merge(graph, params)
    hidden, _ = model.hidden(tokens)
    return jax.nn.log_softmax(model.logits(hidden[jnp.arange(len(tokens)), last]))


def log_odds(log_probs: np.ndarray) -> np.ndarray:
    return np.asarray(log_probs[:, 0] - log_probs[:, 1])


QUICK = ("llama3", "gemma3")  # the other families differ from one of these in little, and compile for long


@pytest.mark.parametrize("family", [f if f in QUICK else pytest.param(f, marks=pytest.mark.full) for f in FAMILIES])
def test_shared_prefixes_say_what_whole_texts_say(family: str) -> None:
    model = decoder(VARIANTS[family])
    paths = pairs(np.random.default_rng(1), 37, [5, 30, 33])
    with jax.default_matmul_precision("highest"):
        shared = kernel(model).log_probs(paths, [7, 8])
        whole = plain(model, paths, [7, 8])
    assert np.abs(log_odds(shared) - log_odds(whole)).max() <= 1e-4
    assert np.abs(shared - whole).max() <= 1e-4
    assert np.ptp(log_odds(whole)) > 1e-2  # the candidates make a difference


EDGES = [(1, 1), (31, 33), (33, 31)]
MORE_EDGES = [(32, 32), (64, 96), (65, 1), (256, 64), (257, 255)]


@pytest.mark.parametrize("lengths", [*EDGES, *(pytest.param(edge, marks=pytest.mark.full) for edge in MORE_EDGES)])
def test_at_the_edges_of_buckets(small: Decoder, lengths: tuple[int, int]) -> None:
    paths = pairs(np.random.default_rng(2), lengths[0], [lengths[1], lengths[1] + 1])
    found = kernel(small, max_length=1024).log_probs(paths, [7, 8])
    assert np.abs(found - plain(small, paths, [7, 8])).max() <= 1e-4


@pytest.mark.full
@given(data=st.data())
@settings(deadline=None, max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_batch_and_any_order(small: Decoder, data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    candidates = st.lists(st.integers(1, 62), min_size=2, max_size=3)
    problems = data.draw(st.lists(st.tuples(st.integers(1, 32), candidates), min_size=1, max_size=3))
    paths = [path for prompt, lengths in problems for path in pairs(rng, prompt, lengths)]
    shuffled = data.draw(st.permutations(range(len(paths))))
    tokens = data.draw(st.sampled_from([64, 256]))
    judge = SHARED.setdefault(str(tokens), kernel(small, tokens=tokens))
    found = np.empty((len(paths), 2))
    found[shuffled] = judge.log_probs([paths[i] for i in shuffled], [7, 8])
    assert np.abs(found - plain(small, paths, [7, 8])).max() <= 1e-4


SHARED: dict[str, Kernel] = {}  # hypothesis calls a test many times; its programs are compiled once


@pytest.mark.full
@pytest.mark.parametrize("family", FAMILIES)
@given(data=st.data())
@settings(deadline=None, max_examples=6)
def test_any_lengths_of_any_family(family: str, data: st.DataObject) -> None:
    model = MODELS.setdefault(family, decoder(VARIANTS[family]))
    judge = SHARED.setdefault(family, kernel(model, max_length=2048))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    prompt = data.draw(st.integers(1, 1500))
    candidates = data.draw(st.lists(st.integers(1, (2046 - prompt) // 2), min_size=2, max_size=3))
    paths = pairs(rng, prompt, candidates)
    order = data.draw(st.permutations(range(len(paths))))
    paths = [paths[i] for i in order]
    with jax.default_matmul_precision("highest"):
        shared, whole = judge.log_probs(paths, [7, 8]), plain(model, paths, [7, 8])
    assert np.abs(log_odds(shared) - log_odds(whole)).max() <= 1e-4


MODELS: dict[str, Decoder] = {}


def test_a_cache_that_is_full_starts_anew(small: Decoder) -> None:
    rng = np.random.default_rng(3)
    judge = kernel(small, max_length=128)
    judge.capacity = 4 * 128  # the least that it may have
    paths = [path for _ in range(6) for path in pairs(rng, 40, [30, 20, 25])]
    found = judge.log_probs(paths, [7, 8])
    assert np.abs(found - plain(small, paths, [7, 8])).max() <= 1e-4
    assert judge._used <= judge.capacity
    again = judge.log_probs(paths[::-1], [7, 8])[::-1]
    assert np.abs(found - again).max() <= 1e-5


def test_a_full_cache_of_short_texts(small: Decoder) -> None:
    # Windows are wider than the texts, and the last ones begin near the cache's end.
    rng = np.random.default_rng(16)
    judge = kernel(small, max_length=32)
    judge.capacity = 250
    paths = [(text(rng, 8), text(rng, int(rng.integers(1, 20))), (5, 6)) for _ in range(40)]
    found = judge.log_probs(paths, [7, 8])
    assert np.abs(found - plain(small, paths, [7, 8])).max() <= 1e-4


def test_a_path_of_many_pieces_takes_more_than_the_cache(small: Decoder) -> None:
    # Each prefix is kept whole: 26 candidates in one prompt take 13 times the prompt.
    rng = np.random.default_rng(18)
    judge = kernel(small, max_length=128)
    judge.capacity = 4 * 128
    paths = [tuple(text(rng, 4) for _ in range(30)) for _ in range(3)]
    found = judge.log_probs(paths, [7, 8])
    assert np.abs(found - plain(small, paths, [7, 8])).max() <= 1e-4
    written = judge.generate(paths, limit=2, eos=[])
    whole = [(tuple(token for piece in path for token in piece),) for path in paths]
    assert written == judge.generate(whole, limit=2, eos=[])


def test_what_the_cache_knows_is_not_encoded_again(small: Decoder) -> None:
    judge = kernel(small)
    paths = pairs(np.random.default_rng(4), 50, [20, 21, 22])
    judge.log_probs(paths[:3], [7, 8])
    once = judge.usage.tokens
    first = judge.log_probs(paths[:3], [7, 8])
    leaves = sum(len(path[-1]) for path in paths[:3])
    assert judge.usage.tokens == once + leaves
    assert np.abs(first - plain(small, paths[:3], [7, 8])).max() <= 1e-4


def test_each_piece_is_encoded_once(small: Decoder) -> None:
    judge = kernel(small)
    judge.log_probs(pairs(np.random.default_rng(5), 50, [20, 21, 22]), [7, 8])
    assert judge.usage.tokens == 50 + (20 + 21 + 22) + 2 * (22 + 23 + 24)


@pytest.mark.full
def test_programs_are_as_many_as_shapes_in_use(small: Decoder) -> None:
    judge = kernel(small)
    rng = np.random.default_rng(6)
    for prompt, candidates in ((40, [20, 21, 50]), (70, [33, 40]), (41, [10, 64, 70, 71])):
        judge.log_probs(pairs(rng, prompt, candidates), [7, 8])
        # Of a batch's shape: its beginning, its layers, the last of them where it differs, and the verdict.
        assert judge.programs <= 4 * len(judge.usage.shapes)
    before = judge.programs
    for prompt, candidates in ((39, [19, 22, 49]), (69, [34, 41]), (42, [11, 63, 69, 72])):  # the same buckets
        judge.log_probs(pairs(rng, prompt, candidates), [7, 8])
    assert judge.programs == before


def test_programs_are_dropped_before_the_maps_of_the_process_run_out(
    small: Decoder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    used, allowed = tmp_path / "maps", tmp_path / "max_map_count"
    used.write_text("a map\n" * 10)
    allowed.write_text("20\n")
    monkeypatch.setattr(compiled, "_USED", used)
    monkeypatch.setattr(compiled, "_ALLOWED", allowed)
    rng, judge, other = np.random.default_rng(6), kernel(small), kernel(small)
    paths = [pairs(rng, length, [20, 33]) for length in (20, 150)]
    expected = [judge.log_probs(some, [7, 8]) for some in paths]
    other.log_probs(paths[0], [7, 8])
    kept = judge.programs
    assert kept > 4, "half of the maps are free"
    used.write_text("a map\n" * 11)
    for some, scores in zip(paths, expected, strict=True):
        judge.forget()
        assert np.array_equal(judge.log_probs(some, [7, 8]), scores)
        assert 0 < judge.programs < kept / 2
    assert other.programs == 0, "the limit is of the process"
    used.unlink()
    judge.log_probs(pairs(rng, 100, [50]), [7, 8])  # where there is no such file there is no limit


@pytest.mark.skipif(not compiled._USED.exists(), reason="the maps of a process are known on Linux only")
def test_maps_of_this_process_are_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert not compiled.maps_are_scarce()
    (tmp_path / "allowed").write_text("100")
    monkeypatch.setattr(compiled, "_ALLOWED", tmp_path / "allowed")
    assert compiled.maps_are_scarce(), "with jax loaded there are hundreds"


def test_after_an_interruption_the_cache_is_made_anew(small: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = kernel(small)
    rng = np.random.default_rng(7)
    paths = pairs(rng, 40, [20, 21])
    judge.log_probs(paths, [7, 8])

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(judge._programs, "extend", interrupted)
        with pytest.raises(KeyboardInterrupt):
            judge.log_probs(pairs(rng, 30, [20, 21]), [7, 8])
    assert np.abs(judge.log_probs(paths, [7, 8]) - plain(small, paths, [7, 8])).max() <= 1e-4


def test_what_does_not_fit_is_refused(small: Decoder) -> None:
    judge = kernel(small, max_length=64)
    with pytest.raises(ValueError, match="65 tokens, more than max_length 64"):
        judge.log_probs([((1,) * 40, (1,) * 25)], [7, 8])
    with pytest.raises(ValueError, match="no token"):
        judge.log_probs([((1, 2), ())], [7, 8])
    assert judge.log_probs([], [7, 8]).shape == (0, 2)


def test_labels_of_several_tokens(small: Decoder) -> None:
    judge = kernel(small)
    rng = np.random.default_rng(8)
    paths: list[tuple[Ids, ...]] = [*pairs(rng, 30, [10, 12]), (text(rng, 9), (4,))]
    labels: list[Ids] = [(7,), (8, 9), (8, 10, 11)]
    found = judge.log_likelihoods(paths, labels)
    for r, path in enumerate(paths):
        for c, label in enumerate(labels):
            heads = [(*path, label[:k]) if k else path for k in range(len(label))]
            steps = [plain(small, [head], [label[k]])[0, 0] for k, head in enumerate(heads)]
            assert abs(found[r, c] - sum(steps)) <= 1e-4
    single = judge.log_likelihoods(paths, [(7,), (8,)])
    assert np.abs(single - plain(small, paths, [7, 8])).max() <= 1e-4


def token_by_token(model: Decoder, path: Sequence[Ids], label: Ids) -> list[float]:
    """The log-probability of each token of a label by the plain computation, each behind a text of its own."""
    heads = [(*path, label[:k]) if k else path for k in range(len(label))]
    return [float(plain(model, [head], [token])[0, 0]) for head, token in zip(heads, label, strict=True)]


@pytest.mark.parametrize("family", [pytest.param("llama3", marks=pytest.mark.full), "gemma3"])
def test_likelihoods_token_by_token(family: str) -> None:
    model = decoder(VARIANTS[family])
    rng = np.random.default_rng(11)
    asked, other = text(rng, 37), text(rng, 5)
    paths: list[tuple[Ids, ...]] = [(asked,), (asked,), (other, (3,)), ((4,),)]
    labels = [text(rng, n) for n in (33, 5, 1, 40)]
    with jax.default_matmul_precision("highest"):
        found = kernel(model).token_log_probs(paths, labels)
        for path, label, row in zip(paths, labels, found, strict=True):
            assert np.abs(row - token_by_token(model, path, label)).max() <= 1e-4


def test_likelihoods_encode_a_prompt_and_each_label_once(small: Decoder) -> None:
    judge = kernel(small)
    rng = np.random.default_rng(12)
    asked, labels = text(rng, 50), [text(rng, n) for n in (20, 33, 34, 60)]
    judge.token_log_probs([(asked,)] * 4, labels)
    assert judge.usage.tokens == 49 + 20 + 33 + 34 + 60  # the prompt's last token is read with each label


def test_labels_of_any_length_of_a_bucket_share_their_programs(small: Decoder) -> None:
    judge = kernel(small)
    rng = np.random.default_rng(13)
    judge.token_log_probs([(text(rng, 40),)] * 4, [text(rng, n) for n in (33, 40, 50, 64)])
    before = judge.programs
    judge.token_log_probs([(text(rng, 50),)] * 4, [text(rng, n) for n in (35, 36, 37, 63)])
    assert judge.programs == before


@pytest.mark.full
def test_layers_of_one_kind_are_one_program() -> None:
    counts = []
    for layers in (2, 6):
        judge = kernel(decoder({**VARIANTS["qwen2"], "num_hidden_layers": layers}))
        judge.log_probs(pairs(np.random.default_rng(14), 40, [20, 33]), [7, 8])
        counts.append(judge.programs)
    assert counts[0] == counts[1]


@pytest.mark.parametrize("family", ["qwen2", pytest.param("gemma2", marks=pytest.mark.full)])
def test_generating_is_taking_the_likeliest_again_and_again(family: str) -> None:
    model = decoder(VARIANTS[family])
    judge = kernel(model, tokens=128)
    rng = np.random.default_rng(9)
    paths = [(text(rng, 30), text(rng, 3)), (text(rng, 50),), (text(rng, 29), text(rng, 2))]
    expected = []
    for path in paths:
        ids = [token for piece in path for token in piece]
        for _ in range(6):
            ids.append(int(plain(model, [(tuple(ids),)], list(range(WORDS)))[0].argmax()))
        expected.append(ids[-6:])
    assert judge.generate(paths, limit=6, eos=[]) == expected
    stop = expected[0][3]
    cut = [row[: row.index(stop)] if stop in row else row for row in expected]
    assert judge.generate(paths, limit=6, eos=[stop]) == cut


def test_generating_ends_with_the_last_text(small: Decoder) -> None:
    rng = np.random.default_rng(17)
    judge, seen = kernel(small), []
    generate_them = judge._programs.generate

    def spy(*args: Any, **options: Any) -> Any:
        seen.append(generate_them(*args, **options))
        return seen[-1]

    judge._programs.generate = spy  # type: ignore[method-assign]
    paths = [(text(rng, 30), text(rng, 3)) for _ in range(3)]  # a batch of four rows
    [*first] = {row[0] for row in judge.generate(paths, limit=1, eos=[])}
    assert judge.generate(paths, limit=9, eos=first) == [[], [], []]
    assert (np.asarray(seen[-1][0])[:, 1:] == 0).all()


def drawn(judge: Kernel, paths: Sequence[Any], seeds: list[tuple[int, int]], **options: Any) -> list[Any]:
    sampling = Sampling(**options) if options else None
    return judge.write(paths, limit=5, eos=[], sampling=sampling, seeds=seeds, targets=[7, 8])


def test_samples_share_what_their_paths_have_in_common(small: Decoder) -> None:
    judge, rng = kernel(small), np.random.default_rng(15)
    shared, ends = text(rng, 40), [text(rng, 9), text(rng, 12)]
    paths = [(shared, end) for end in ends for _ in range(4)]
    seeds = [(k, 1) for k in range(8)]
    written = drawn(judge, paths, seeds, temperature=8.0)
    assert judge.usage.tokens == 40 + 8 + 11 + 8 * 5  # the last token of a path is read with what is written
    assert len({tuple(row.ids) for row in written}) > 4
    # neither the other rows nor the batches matter, and equal seeds draw equal texts
    small_batches = kernel(small)
    small_batches.capacity = 120
    for k in (5, 0):
        [alone] = drawn(judge, paths[k : k + 1], seeds[k : k + 1], temperature=8.0)
        assert alone.ids == written[k].ids and np.abs(alone.scores - written[k].scores).max() < 1e-4
    assert [row.ids for row in drawn(small_batches, paths, seeds, temperature=8.0)] == [row.ids for row in written]
    assert len({tuple(row.ids) for row in drawn(judge, paths[:4], [(3, 3)] * 4, temperature=8.0)}) == 1


def test_log_probabilities_of_targets_beside_what_is_written(small: Decoder) -> None:
    judge, rng = kernel(small), np.random.default_rng(16)
    path = (text(rng, 30), text(rng, 4))
    [written] = drawn(judge, [path], [(1, 2)], temperature=2.0)
    whole = [token for piece in path for token in piece] + written.ids
    expected = plain(small, [(tuple(whole[: 34 + k]),) for k in range(5)], [7, 8])
    np.testing.assert_allclose(written.scores, expected, atol=1e-4)


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))
    keys = np.stack([np.arange(4000), np.zeros(4000)], 1).astype(np.uint32)
    for sampling, expected in (
        (Sampling(), [0.5, 0.3, 0.15, 0.05]),
        (Sampling(top_p=0.7), [0.625, 0.375, 0, 0]),
        (Sampling(top_p=0.5), [1, 0, 0, 0]),
        (Sampling(temperature=0.5), np.array([0.25, 0.09, 0.0225, 0.0025]) / 0.365),
        (None, [1, 0, 0, 0]),
    ):
        tokens = np.asarray(draw(jnp.tile(logits, (4000, 1)), jnp.asarray(keys), jnp.int32(3), sampling))
        np.testing.assert_allclose(np.bincount(tokens, minlength=4) / 4000, expected, atol=0.03)
    again = np.asarray(draw(jnp.tile(logits, (4000, 1)), jnp.asarray(keys), jnp.int32(4), Sampling()))
    first = np.asarray(draw(jnp.tile(logits, (4000, 1)), jnp.asarray(keys), jnp.int32(3), Sampling()))
    assert (again != first).mean() > 0.4  # another place, another choice


def test_what_cannot_be_continued(small: Decoder) -> None:
    for path, reason in ((((5,),), "one token"), (((5, 6), ()), "no token"), ((tuple(range(90)) * 6,), "max_length")):
        with pytest.raises(ValueError, match=reason):
            kernel(small).generate([path], limit=2, eos=[])


@pytest.mark.parametrize("how", ["rows", "xla"])
def test_both_attentions_agree(small: Decoder, how: Attend) -> None:
    paths = pairs(np.random.default_rng(10), 40, [20, 33])
    found = kernel(small, how=how).log_probs(paths, [7, 8])
    assert np.abs(found - plain(small, paths, [7, 8])).max() <= 1e-4


@pytest.mark.parametrize(("family", "dtype"), [("qwen2", "float32"), ("gemma2", "bfloat16"), ("gemma3", "bfloat16")])
@pytest.mark.parametrize("program", ["begin", "write", "read", "verdicts", "words", "generate"])
def test_programs_lower_for_every_platform(program: str, family: str, dtype: str) -> None:
    model = decoder(VARIANTS[family])
    config = model.config
    B, T, S, P, D = 4, 32, 64, 16, config.hidden_size

    def ints(*shape: int) -> Any:
        return jax.ShapeDtypeStruct(shape, jnp.int32)

    def numbers(*shape: int) -> Any:
        return jax.ShapeDtypeStruct(shape, jnp.dtype(dtype))

    cache, x = numbers(2, 512, config.num_key_value_heads, config.head_dim), numbers(B, T, D)
    view = jax.eval_shape(lambda before: views(config, before, T, S, jnp.dtype(dtype)), ints(B))[0]
    keys: Any = jax.ShapeDtypeStruct((B, 2), jnp.uint32)
    programs: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "begin": (partial(begin, S=S), (ints(B, T), ints(B))),
        "write": (partial(write, S=S, how="xla"), (cache, x, view, ints(B), ints(B), ints(B))),
        "read": (partial(read, S=S, how="xla"), (cache, x, view, ints(B), ints(B, 1))),
        "verdicts": (verdicts, (numbers(B, 1, D), ints(2))),
        "words": (partial(words, how="xla"), (numbers(P, D), ints(P))),
        "generate": (
            partial(generate, S=S, limit=8, sampling=Sampling(temperature=0.7, top_p=0.9), how="xla"),
            ([cache] * config.num_hidden_layers, BegunTexts(ints(B), ints(B), ints(B), keys), ints(1), ints(2)),
        ),
    }
    run, arrays = programs[program]
    graph, params = nnx.split(model.model.layers[0] if program in ("write", "read") else model)
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.dtype(dtype)), params)
    lowered = jax.jit(lambda params, *given: run(nnx.merge(graph, params), *given))
    exported = jax.export.export(lowered, platforms=["tpu", "cuda", "cpu"])(shapes, *arrays)
    assert exported.platforms == ("tpu", "cuda", "cpu")
