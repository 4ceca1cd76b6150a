"""T5's kernel: of a path in pieces it says what the model says of the whole text. And what it compiles."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from flame_rank.model import programs, sharding, t5, t5_kernel
from flame_rank.model.nodes import Ids, Path
from flame_rank.model.t5_kernel import T5Kernel
from tests.flame_rank.model.test_t5 import forward, small

WORDS, EOS, START = 61, 1, 3


@pytest.fixture(scope="module")
def model() -> t5.T5:
    return small(eos_token_id=EOS, decoder_start_token_id=START, relative_attention_max_distance=24)


def kernel(model: t5.T5, *, max_length: int = 128, tokens: int | None = None) -> T5Kernel:
    return T5Kernel(
        model, mesh=sharding.mesh(devices=jax.devices()[:1]), max_length=max_length, max_batch_tokens=tokens
    )


@pytest.fixture(scope="module")
def shared(model: t5.T5) -> T5Kernel:
    return kernel(model, tokens=256)


def text(random: np.random.RandomState, length: int) -> Ids:
    return tuple(random.randint(4, WORDS, length).tolist())


def pairs(seed: int, prompt: int, candidates: Sequence[int]) -> list[Path]:
    """All ordered pairs of a problem, with a cue and the end of text behind."""
    random = np.random.RandomState(seed)
    asked, answers = text(random, prompt), [text(random, n) for n in candidates]
    return [(asked, a, (*b, 5, 6, EOS)) for a in answers for b in answers if a is not b]


def plain(model: t5.T5, paths: Sequence[Path], answer: Ids = ()) -> Any:
    """The log-probabilities [R, V] of what follows an answer, each path alone and whole."""
    found = []
    for path in paths:
        ids = np.concatenate(path)
        tokens, targets = np.zeros((1, 128), np.int32), np.zeros((1, 8), np.int32)  # one shape, one program
        tokens[0, : len(ids)], targets[0, : len(answer) + 1] = ids, (START, *answer)
        logits = forward(model, tokens, np.array([len(ids)], np.int32), targets)
        found.append(jax.nn.log_softmax(logits[0, len(answer)]))
    return np.array(found)


@pytest.mark.parametrize("tokens", [1, 128, None])
def test_pieces_say_what_the_whole_text_says(model: t5.T5, tokens: int | None) -> None:
    paths = [*pairs(1, 20, [5, 9, 11]), *pairs(2, 31, [7, 20])]
    whole = plain(model, paths)[:, [7, 8]]
    found = kernel(model, tokens=tokens).log_probs(paths, [7, 8])
    assert found.shape == (8, 2) and found.dtype == np.float64
    assert np.abs(found - whole).max() <= 1e-4
    assert np.ptp(found[:, 0] - found[:, 1]) > 1e-2  # the candidates make a difference


def test_the_order_of_paths_moves_nothing(model: t5.T5, shared: T5Kernel) -> None:
    paths = [*pairs(1, 20, [5, 9, 11]), *pairs(2, 31, [7, 20])]
    order = np.random.RandomState(3).permutation(len(paths))
    found = shared.log_probs([paths[i] for i in order], [7, 8])
    assert np.abs(found - shared.log_probs(paths, [7, 8])[order]).max() <= 1e-5
    joined = [(tuple(token for piece in path for token in piece),) for path in paths]  # nor do the joints of its pieces
    assert (shared.log_probs(joined, [7, 8]) == shared.log_probs(paths, [7, 8])).all()


def test_behind_the_end_of_text_the_answer_begins(model: t5.T5, shared: T5Kernel) -> None:
    paths = pairs(4, 20, [5, 9, 11])
    begun: list[Path] = [(*path, (9, 12)) for path in paths]
    found = shared.log_probs(begun, [7, 8])
    assert np.abs(found - plain(model, paths, (9, 12))[:, [7, 8]]).max() <= 1e-4
    assert np.abs(found - shared.log_probs(paths, [7, 8])).max() > 1e-2
    with pytest.raises(ValueError, match="different lengths"):
        shared.log_probs([begun[0], paths[1]], [7, 8])
    with pytest.raises(ValueError, match="a begun answer"):
        shared.generate(begun, limit=3, eos=[])


@pytest.mark.parametrize("begun", [(), (9,)])
def test_labels_of_several_tokens(model: t5.T5, shared: T5Kernel, begun: Ids) -> None:
    paths = [pairs(5, 20, [5, 9])[0], pairs(6, 22, [9, 8])[0]]  # the longer one is computed first
    labels: list[Ids] = [(7,), (8, 9), (8, 10, 11)]
    found = shared.log_likelihoods([(*path, begun) for path in paths], labels)
    assert found.shape == (2, 3)
    for c, label in enumerate(labels):
        steps = [plain(model, paths, (*begun, *label[:k]))[:, token] for k, token in enumerate(label)]
        assert np.abs(found[:, c] - np.sum(steps, 0)).max() <= 1e-4


def token_by_token(model: t5.T5, path: Path, label: Ids) -> Any:
    """The log-probabilities [len(label)] of a label's tokens, the path whole and alone; what stands behind its end of
    text is read by the decoder."""
    ids = [token for piece in path for token in piece]
    end = ids.index(EOS) + 1 if EOS in ids else len(ids)
    answer = [*ids[end:], *label]
    tokens, targets = np.zeros((1, 128), np.int32), np.zeros((1, 64), np.int32)  # one shape, one program
    tokens[0, :end], targets[0, : len(answer)] = ids[:end], (START, *answer[:-1])
    logits = forward(model, tokens, np.array([end], np.int32), targets)
    places = np.arange(len(answer) - len(label), len(answer))
    return np.asarray(jax.nn.log_softmax(logits[0]))[places, answer[-len(label) :]]


@pytest.mark.parametrize("most", [1, *(pytest.param(most, marks=pytest.mark.full) for most in (512, None))])
def test_likelihoods_token_by_token(model: t5.T5, most: int | None) -> None:
    random = np.random.RandomState(9)
    first, second, third = text(random, 20), text(random, 45), text(random, 30)
    paths: list[Path] = [
        ((*first, EOS),),
        (second, (5, EOS)),
        (first, (EOS,)),
        (third,),  # without an end of text
        (second, (5, EOS), (9, 12)),  # with a begun answer
        ((*first, EOS),),
    ]
    labels = [text(random, n) for n in (33, 5, 1, 40, 31, 7)]
    found = kernel(model, tokens=most).token_log_probs(paths, labels)
    for path, label, row in zip(paths, labels, found, strict=True):
        assert row.shape == (len(label),) and row.dtype == np.float64
        assert np.abs(row - token_by_token(model, path, label)).max() <= 1e-4


def test_words_are_read_in_chunks(model: t5.T5, shared: T5Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.RandomState(10)
    paths: list[Path] = [((*text(random, 20), EOS),)] * 3
    labels = [text(random, n) for n in (33, 5, 40)]
    whole = shared.token_log_probs(paths, labels)
    monkeypatch.setattr(programs, "CHUNK", 32)
    for row, one in zip(shared.token_log_probs(paths, labels), whole, strict=True):
        assert np.abs(row - one).max() <= 1e-5


def test_likelihoods_encode_each_text_once(model: t5.T5) -> None:
    judge = kernel(model, tokens=512)
    random = np.random.RandomState(11)
    asked, other, labels = text(random, 20), text(random, 40), [text(random, n) for n in (3, 33, 34, 60)]
    judge.token_log_probs([((*asked, EOS),)] * 3 + [(other, (EOS,))], labels)
    assert judge.usage.tokens == 21 + 41 + 3 + 33 + 34 + 60
    assert {shape for shape in judge.usage.shapes if shape[0] == "encode"} == {("encode", 64, 0, 2)}
    before = judge.usage.tokens
    judge.log_likelihoods([((*asked, EOS), (9,))], [(7,), (8, 9)])  # the decoder reads what is begun with each label
    assert judge.usage.tokens - before == 21 + (1 + 1) + (1 + 2)


def test_labels_of_any_length_of_a_bucket_share_their_programs(model: t5.T5) -> None:
    judge = kernel(model, tokens=1024)
    random = np.random.RandomState(12)
    judge.token_log_probs([((*text(random, 40), EOS),)] * 4, [text(random, n) for n in (33, 40, 50, 64)])
    assert judge.programs == 4  # the encoder, the decoder, its places and the words
    judge.token_log_probs([((*text(random, 50), EOS),)] * 4, [text(random, n) for n in (35, 36, 37, 63)])
    assert judge.programs == 4


def test_generating_is_taking_the_likeliest_again_and_again(model: t5.T5) -> None:
    judge = kernel(model, tokens=64)  # several batches
    paths = [*pairs(6, 20, [5, 9, 30]), *pairs(7, 40, [3, 4])]
    expected: list[list[int]] = []
    for path in paths:
        written: list[int] = []
        while len(written) < 5:
            written.append(int(plain(model, [path], tuple(written))[0].argmax()))
        expected.append(written)
    assert judge.generate(paths, limit=5, eos=[]) == expected
    stop = expected[0][2]
    cut = [row[: row.index(stop)] if stop in row else row for row in expected]
    assert {len(row) for row in cut} != {5}
    assert judge.generate(paths, limit=5, eos=[stop]) == cut


def test_what_does_not_fit_is_refused(model: t5.T5) -> None:
    judge = kernel(model, max_length=64)
    for ask in (
        lambda paths: judge.log_probs(paths, [7, 8]),
        lambda paths: judge.log_likelihoods(paths, [(7,), (8, 9)]),
        lambda paths: judge.generate(paths, limit=3, eos=[EOS]),
    ):
        with pytest.raises(ValueError, match="a path of 65 tokens, more than max_length 64"):
            ask([((5,) * 40, (6,) * 24, (EOS,))])
    with pytest.raises(ValueError, match="a path without a token"):
        judge.log_probs([((5, EOS),), ((), ())], [7, 8])
    with pytest.raises(ValueError, match="an answer of 65 tokens, more than max_length 64"):
        judge.token_log_probs([((5, EOS), (9,))], [(7,) * 64])
    with pytest.raises(ValueError, match="a label without a token"):
        judge.token_log_probs([((5, EOS),)] * 2, [(7,), ()])
    assert judge.programs == 0
    assert judge.log_probs([], [7, 8]).shape == (0, 2)
    assert judge.log_likelihoods([], [(7,), (8, 9)]).shape == (0, 2)
    assert judge.token_log_probs([], []) == []
    assert judge.generate([], limit=3, eos=[]) == []


def test_programs_are_as_many_as_shapes_in_use(model: t5.T5) -> None:
    judge = kernel(model, tokens=256)
    labels: list[Ids] = [(7,), (8, 9)]
    for prompt, candidates in ((20, [5, 9]), (40, [10, 15])):
        judge.log_probs(pairs(8, prompt, candidates), [7, 8])
        judge.log_likelihoods(pairs(8, prompt, candidates), labels)
        of_labels = [shape for shape in judge.usage.shapes if shape[0] == "label"]
        # A label has its decoder and its places, and all of them the words.
        assert 0 < judge.programs <= len(judge.usage.shapes) + len(of_labels) + 1
    before = judge.programs
    for prompt, candidates in ((19, [6, 8]), (41, [9, 16])):  # the same buckets
        judge.log_probs(pairs(9, prompt, candidates), [7, 8])
        judge.log_likelihoods(pairs(9, prompt, candidates), labels)
    assert judge.programs == before


def test_usage_counts_what_is_encoded(shared: T5Kernel) -> None:
    tokens, padded = shared.usage.tokens, shared.usage.padded
    shared.log_probs([(*path, (9, 12)) for path in pairs(8, 20, [5, 9, 11])], [7, 8])
    assert shared.usage.tokens - tokens == 6 * (20 + 3) + 4 * (5 + 9 + 11)
    # Of 39 and 43 tokens; the four longest first.
    assert shared.usage.padded - padded == 4 * 64 + 2 * 64


def label(
    model: t5.T5, tokens: jax.Array, lengths: jax.Array, answers: jax.Array, places: jax.Array, targets: jax.Array
) -> jax.Array:
    """The programs of a label's likelihood, one after the other."""
    hidden = model.decode(answers, model.encode(tokens, lengths), lengths)
    return t5_kernel._words(model, programs.at_places(hidden, places), targets)


# Each with the shapes of its arrays, all of them int32.
PROGRAMS: dict[str, tuple[Callable[..., jax.Array], tuple[tuple[int, ...], ...]]] = {
    "next": (t5_kernel._next, ((4, 64), (4,), (4, 1), (4, 2))),
    "label": (label, ((4, 64), (4,), (4, 32), (256,), (256,))),
    "generate": (lambda *args: t5.generate(*args, eos=(EOS,), limit=8), ((4, 64), (4,))),
}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_programs_lower_for_every_platform(model: t5.T5, program: str, dtype: str) -> None:
    run, shapes = PROGRAMS[program]
    graph, params = nnx.split(model)
    weights = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.dtype(dtype)), params)
    given = [jax.ShapeDtypeStruct(shape, jnp.int32) for shape in shapes]
    whole = jax.jit(lambda params, *arrays: run(nnx.merge(graph, params), *arrays))
    exported = jax.export.export(whole, platforms=["tpu", "cuda", "cpu"])(weights, *given)
    assert exported.platforms == ("tpu", "cuda", "cpu")
