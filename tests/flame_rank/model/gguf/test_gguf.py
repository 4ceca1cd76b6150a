"""GGUF files of every family: the same judgements as from the Hugging Face directory, and what is said of a file that
cannot be read."""

import json
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gguf
import gguf_files
import jax
import numpy as np
import pytest
from checkpoints import VARIANTS, tensors, write_checkpoint
from flax import nnx
from gguf import GGMLQuantizationType
from gguf_files import CONTROL, NORMAL, USER_DEFINED
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers_tiny import CHATML, SENTENCES, TURNS, write_byte_bpe, write_config, write_sentencepiece

import flame_rank
from flame_rank.errors import UserError
from flame_rank.judges.language_model import LanguageModelJudge
from flame_rank.model import chat, config, text
from flame_rank.model.decoder import Decoder
from flame_rank.model.gguf import file as gguf_file
from flame_rank.model.gguf import tokenizer as gguf_tokenizer
from flame_rank.model.gguf.config import read as read_config
from flame_rank.model.gguf.weights import READABLE, GgufWeights
from flame_rank.model.scorer import load_scorer
from flame_rank.model.weight_files import WeightFiles
from flame_rank.model.weights import Weights, fill

_LINEAR = {"rope_scaling": {"rope_type": "linear", "factor": 8.0}}
# Gemma's files do not hold by what queries are scaled: it follows from the size of a head.
FAMILIES: dict[str, dict[str, Any]] = {
    **{name: VARIANTS[name] for name in ("llama2", "llama3", "llama_biases", "qwen2", "qwen3", "gemma")},
    "gemma2": VARIANTS["gemma2"] | {"query_pre_attn_scalar": 16},
    "gemma3": VARIANTS["gemma3"] | {"query_pre_attn_scalar": 16, "rope_theta": 5000.0, **_LINEAR},
}
SMALL = {**VARIANTS["llama2"], "hidden_size": 256, "intermediate_size": 256, "num_hidden_layers": 1}


def weights_of(stated: dict[str, Any]) -> dict[str, Any]:
    """Tensors whose norms survive the addition and subtraction of 1."""
    found = tensors(stated)
    if stated["model_type"].startswith("gemma"):
        found |= {name: t + 1 - np.float32(1) for name, t in found.items() if name.endswith("norm.weight")}
    return found


def write(path: Path, stated: dict[str, Any], metadata: dict[str, Any] | None = None, **more: Any) -> Path:
    """A file with the weights of a config.json. `metadata`: on top; None takes a key away."""
    held = gguf_files.converted(stated, weights_of(stated))
    held |= more.get("tensors", {})
    entries = gguf_files.parameters(stated) | (metadata or {})
    arch = gguf_files.architecture(stated)
    gguf_files.write(path, arch, entries, {name: t for name, t in held.items() if t is not None})
    return path


@pytest.fixture(scope="module")
def bpe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bpe")
    write_byte_bpe(folder, template=CHATML)
    return folder


@pytest.fixture(scope="module")
def whole(bpe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A judge in a file."""
    return write(tmp_path_factory.mktemp("whole") / "judge.gguf", judge_config(bpe), gguf_files.byte_bpe(bpe, "gpt-2"))


def judge_config(folder: Path) -> dict[str, Any]:
    return VARIANTS["llama2"] | {"vocab_size": text.load(folder).size, "num_hidden_layers": 1}


@pytest.mark.parametrize("name", FAMILIES)
def test_computes_what_the_directory_does(name: str, tmp_path: Path) -> None:
    stated = FAMILIES[name]
    write_checkpoint(tmp_path / "hf", stated)
    save_file(weights_of(stated), tmp_path / "hf" / "model.safetensors")
    path = write(tmp_path / "m.gguf", stated)
    assert config.read(read_config(path)) == config.read(stated)
    theirs, ours = (logits(files, stated) for files in (WeightFiles.open(tmp_path / "hf"), GgufWeights.open(path)))
    assert theirs.std() > 0.5
    assert np.abs(ours - theirs).max() <= 1e-6


def logits(files: Weights, stated: dict[str, Any]) -> Any:
    """What follows some tokens, [2, 40, V]."""
    graph, params = nnx.split(nnx.eval_shape(lambda: Decoder(config.read(stated), nnx.Rngs(0))))
    fill(params, files, ignore=["lm_head.weight"] if config.read(stated).tie_word_embeddings else [])
    return np.asarray(_logits(graph, params, np.random.RandomState(0).randint(97, size=(2, 40))))


@partial(jax.jit, static_argnums=0)
def _logits(graph: Any, params: Any, tokens: Any) -> Any:
    return nnx.merge(graph, params)(tokens)


@pytest.mark.parametrize("word", sorted(READABLE))
def test_every_type_is_read(word: str, tmp_path: Path) -> None:
    kind = GGMLQuantizationType[word]
    matrices = {n: t for n, t in weights_of(SMALL).items() if t.ndim == 2}
    held = gguf_files.converted(SMALL, matrices)
    block, size = gguf.GGML_QUANT_SIZES[kind]
    try:
        raw = {n: gguf.quantize(t, kind) for n, t in held.items()}
    except NotImplementedError:  # K-quants: any bits of which the scales are numbers
        raw = {n: _blocks(word, (t.shape[0], t.shape[1] // block * size)) for n, t in held.items()}
    back = {n: gguf.dequantize(r, kind) for n, r in raw.items()}
    gguf_files.write(tmp_path / "m.gguf", "llama", gguf_files.parameters(SMALL), raw, lambda name: kind)
    files = GgufWeights.open(tmp_path / "m.gguf")
    assert files.keys() == matrices.keys()
    for name in files:
        theirs = back[gguf_files.name(name, "llama")]
        assert (files[name].shape, files[name].dtype) == (theirs.shape, word)
        # As the converter would reorder it, it is again what is stored.
        ours = gguf_files.converted(SMALL, {name: files.read(name)})[gguf_files.name(name, "llama")]
        np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(files.read(name, (slice(3, 9), slice(None))), files.read(name)[3:9])
        assert files.raw(name).tobytes() == raw[gguf_files.name(name, "llama")].tobytes()


def _blocks(word: str, shape: tuple[int, int]) -> Any:
    """Random bytes; the two bytes that are a scale in float16 are made small numbers."""
    size = gguf.GGML_QUANT_SIZES[GGMLQuantizationType[word]][1]
    raw = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8).reshape(-1, size)
    scales = {"Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}[word]
    for at in scales:
        raw[:, at + 1] = 0x20  # 0.0078 to 0.0156
    return raw.reshape(shape)


def test_a_part_of_a_reordered_tensor_is_the_part_of_the_whole(tmp_path: Path) -> None:
    files = GgufWeights.open(write(tmp_path / "m.gguf", VARIANTS["llama2"]))
    name = "model.layers.0.self_attn.q_proj.weight"
    np.testing.assert_array_equal(
        files.read(name, (slice(8, 16), slice(0, 5))), weights_of(VARIANTS["llama2"])[name][8:16, :5]
    )


def test_judges_as_the_directory_does(bpe: Path, whole: Path, tmp_path: Path) -> None:
    write_checkpoint(tmp_path, judge_config(bpe))
    for file in bpe.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    problem = flame_rank.Problem(prompt="Which is <|im_end|> 42?", candidates=["A naïve one", "return 1.5"])
    for template in (None, "plain"):
        theirs, ours = (flame_rank.load_judge(place, template=template) for place in (tmp_path, whole))
        assert ours.name.startswith("llama:") and ours.name != theirs.name
        assert isinstance(ours, LanguageModelJudge) and isinstance(theirs, LanguageModelJudge)
        assert ours.tokens(problem, 0, 1) == theirs.tokens(problem, 0, 1)
    found, expected = (judge.judge([(problem, np.array([[0, 1]]))])[0] for judge in (ours, theirs))
    assert abs(expected[0]) > 0.01
    assert np.abs(found - expected).max() <= 1e-6


def test_identity_follows_weights_and_metadata(bpe: Path, whole: Path, tmp_path: Path) -> None:
    names = {flame_rank.load_judge(whole).name, flame_rank.load_judge(str(whole)).name}
    copied = tmp_path / "another.GGUF"
    copied.write_bytes(whole.read_bytes())
    assert {flame_rank.load_judge(copied).name} == names and len(names) == 1
    data = bytearray(whole.read_bytes())
    data[-3] ^= 1
    copied.write_bytes(data)
    names.add(flame_rank.load_judge(copied).name)
    entries = gguf_files.byte_bpe(bpe, "gpt-2") | {"general.name": "another"}
    names.add(flame_rank.load_judge(write(tmp_path / "named.gguf", judge_config(bpe), entries)).name)
    assert len(names) == 3


# What is put to the tokenizers.
PIECES = [
    *("hello", "response", "def f(x):\n    return x", "0", "123", " A", ".", "'s", "'LL", "\\n", "<0x0A>", "</", "<"),
    *(" ", "  ", "\t", "\n", "\r\n", "\0", "\u3000", "\u00a0", "\u200b", "\u2028", "\ufeff", " " * 40, "x" * 50),
    *("é", "e\u0301", "Zürich", "🙂", "👩\u200d👩\u200d👧", "שלום", "日本語", "ﬁ", "①", "▁", "\u0301", "<s>", "<bos>"),
]
SPECIAL = [
    "<|im_start|>",
    "<|im_end|>",
    "<think>",
    "<|end_of_text|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "</s>",
    "<eos>",
]


def strings(count: int, pieces: list[str]) -> list[str]:
    draw = random.Random(0)
    return [*SENTENCES, *("".join(draw.choices(pieces, k=draw.randrange(9))) for _ in range(count))]


def same(ours: text.TextTokenizer, theirs: text.TextTokenizer) -> None:
    assert (ours.bos, ours.eos, ours.size) == (theirs.bos, theirs.eos, theirs.size)
    plain, any_text = strings(200, PIECES), strings(200, PIECES + SPECIAL)
    assert ours.encode(plain) == theirs.encode(plain)
    assert ours.encode(any_text, special=True) == theirs.encode(any_text, special=True)
    assert ours.count(any_text) == [len(ids) for ids in ours.encode(any_text)]
    for ids in theirs.encode(any_text, special=True):
        assert ours.decode(ids) == theirs.decode(ids)


def header(path: Path, entries: dict[str, Any]) -> Path:
    """A file without weights."""
    gguf_files.write(path, "llama", entries, {})
    return path


def test_byte_level_bpe(bpe: Path, tmp_path: Path) -> None:
    path = header(tmp_path / "m.gguf", gguf_files.byte_bpe(bpe, "gpt-2"))
    ours, theirs = text.load(path), text.load(bpe)
    same(ours, theirs)
    dangerous = strings(200, PIECES + SPECIAL)
    assert ours.encode(dangerous) == theirs.encode(dangerous)  # "<think>" is a token, "<|im_end|>" is not
    found = chat.chat_template(path)
    expected = chat.chat_template(bpe)
    assert found is not None and expected is not None and found.around() == expected.around()


@pytest.mark.parametrize("kind", ["gpt-2", "llama-bpe", "llama", "gemma"])
def test_a_tokenizer_is_written_as_hugging_face_has_it(kind: str, bpe: Path, tmp_path: Path) -> None:
    if kind in ("llama", "gemma"):
        write_sentencepiece(tmp_path, kind, template=TURNS)
        entries = gguf_files.sentencepiece(tmp_path)
    else:
        entries = gguf_files.byte_bpe(bpe, kind) | {"tokenizer.ggml.bos_token_id": 5}
    path = header(tmp_path / "m.gguf", entries)
    (tmp_path / "saved").mkdir()
    files = gguf_tokenizer.save(gguf_file.read(path), tmp_path / "saved")
    assert {*files} == {*(tmp_path / "saved").iterdir()}
    ours, theirs = text.load(tmp_path / "saved"), text.load(path)
    same(ours, theirs)
    dangerous = strings(200, PIECES + SPECIAL)
    assert ours.encode(dangerous) == theirs.encode(dangerous)
    saved, template = chat.chat_template(tmp_path / "saved"), chat.chat_template(path)
    assert saved is not None and template is not None and saved.around() == template.around()
    if kind in ("gpt-2", "llama-bpe"):  # the library itself, as transformers uses it
        whole = Tokenizer.from_file(str(tmp_path / "saved" / "tokenizer.json")).encode("hello").ids
        assert whole == [5] * (kind == "llama-bpe") + theirs.encode(["hello"])[0]


# How each cuts this text, written by hand from what the checkpoints' tokenizers do.
TEXT = "I'LL say don't 12345 ½\n\n  x!?\n'sHTTPServer café/"
CUTS = {
    "gpt-2": [
        "I",
        "'",
        "LL",
        " say",
        " don",
        "'t",
        " 12345",
        " ½",
        "\n\n ",
        " x",
        "!?",
        "\n",
        "'s",
        "HTTPServer",
        " café",
        "/",
    ],
    "smollm": [
        *("I", "'", "LL", " say", " don", "'t", " ", "1", "2", "3", "4", "5", " ", "½", "\n\n ", " x", "!?", "\n"),
        *("'s", "HTTPServer", " café", "/"),
    ],
    "qwen2": [
        *("I", "'LL", " say", " don", "'t", " ", "1", "2", "3", "4", "5", " ", "½", "\n\n", " ", " x", "!?\n"),
        *("'s", "HTTPServer", " café", "/"),
    ],
    "llama-bpe": [
        *("I", "'LL", " say", " don", "'t", " ", "123", "45", " ", "½", "\n\n", " ", " x", "!?\n"),
        *("'s", "HTTPServer", " café", "/"),
    ],
    "tekken": [
        *("I", "'LL", " say", " don", "'t", " ", "1", "2", "3", "4", "5", " ", "½", "\n\n", " ", " x", "!?\n"),
        *("'s", "HTTPServer", " café", "/"),
    ],
    "default": [
        *(
            "I",
            "'",
            "LL",
            " say",
            " don",
            "'",
            "t",
            " ",
            "123",
            "45",
            " ",
            "½",
            "\n\n ",
            " x",
            "!?",
            "\n",
            "'",
            "sHTTPServer",
        ),
        *(" café", "/"),
    ],
}


@pytest.mark.parametrize("pre", CUTS)
def test_text_is_cut_as_named(pre: str, bpe: Path, tmp_path: Path) -> None:
    found = gguf_file.read(header(tmp_path / "m.gguf", gguf_files.byte_bpe(bpe, pre)))
    built = gguf_tokenizer.tokenizer_json(found, gguf_tokenizer.settings(found))
    cut = Tokenizer.from_str(json.dumps(built)).pre_tokenizer
    assert [TEXT[start:end] for _, (start, end) in cut.pre_tokenize_str(TEXT)] == CUTS[pre]


def test_what_comes_with_a_cut(bpe: Path, tmp_path: Path) -> None:
    entries = gguf_files.byte_bpe(bpe, "qwen2") | {"tokenizer.ggml.bos_token_id": 5}
    qwen = text.load(header(tmp_path / "qwen.gguf", entries))
    llama = text.load(header(tmp_path / "llama.gguf", entries | {"tokenizer.ggml.pre": "llama-bpe"}))
    stated = text.load(
        header(tmp_path / "no.gguf", entries | {"tokenizer.ggml.pre": "tekken", "tokenizer.ggml.add_bos_token": False})
    )
    assert (qwen.bos, llama.bos, stated.bos) == (None, 5, None)
    assert qwen.encode(["e\u0301"]) == qwen.encode(["é"]) != llama.encode(["e\u0301"])
    # Llama 3 takes a word that is a token for one, even without a merge that leads to it.
    tokens, merges = entries["tokenizer.ggml.tokens"], entries["tokenizer.ggml.merges"]
    word = next(token for token in reversed(tokens) if token.isalpha() and len(token) > 3)
    fewer = entries | {"tokenizer.ggml.merges": [merge for merge in merges if merge.replace(" ", "") != word]}
    for pre, count in (("llama-bpe", 1), ("qwen2", 2)):
        tokenizer = text.load(header(tmp_path / f"{pre}.gguf", fewer | {"tokenizer.ggml.pre": pre}))
        assert (len(tokenizer.encode([word])[0]) > 1) == (count > 1)


def test_what_ends_a_generation(bpe: Path, tmp_path: Path) -> None:
    entries = gguf_files.byte_bpe(bpe, "gpt-2")
    think = entries["tokenizer.ggml.tokens"].index("<think>")
    eos = entries["tokenizer.ggml.eos_token_id"]
    tokenizer = text.load(header(tmp_path / "m.gguf", entries | {"tokenizer.ggml.eot_token_id": think}))
    assert tokenizer.eos == {eos, think}
    assert think not in tokenizer.encode(["<think>"])[0]  # it ends a turn, so no candidate may write it
    assert tokenizer.encode(["<think>"], special=True) == [[think]]
    unsaid = {key: value for key, value in entries.items() if not key.endswith("_token_id")}
    assert text.load(header(tmp_path / "none.gguf", unsaid)).eos == frozenset()


@pytest.mark.parametrize("kind", ["llama", "gemma"])
def test_sentencepiece(kind: str, tmp_path: Path) -> None:
    write_sentencepiece(tmp_path, kind, template=TURNS)
    stated = json.loads((tmp_path / "tokenizer_config.json").read_text())
    write_config(tmp_path, **stated | {"legacy": True})  # spaces after special tokens, as llama.cpp has it
    path = header(tmp_path / "m.gguf", gguf_files.sentencepiece(tmp_path))
    ours = text.load(path)
    same(ours, text.load(tmp_path))
    control = {
        ours.encode([token], special=True)[0][-1] for token in ("<start_of_turn>", "<eos>", "</s>", "<s>", "<bos>")
    }
    control &= {
        i for i, t in enumerate(gguf_files.sentencepiece(tmp_path)["tokenizer.ggml.token_type"]) if t == CONTROL
    }
    assert control
    dangerous = strings(200, PIECES + SPECIAL)
    for string, ids in zip(dangerous, ours.encode(dangerous), strict=True):
        assert control.isdisjoint(ids)
        assert ours.decode(ids) == string.replace("▁", " ")
    assert chat.chat_template(path) is not None


def test_sentencepiece_as_users_define_it(tmp_path: Path) -> None:
    write_sentencepiece(tmp_path, "llama")
    entries = gguf_files.sentencepiece(tmp_path)
    count = len(entries["tokenizer.ggml.tokens"])
    more = {
        "tokenizer.ggml.tokens": [*entries["tokenizer.ggml.tokens"], "    ", "<tool>", "[PAD]"],
        "tokenizer.ggml.scores": [*entries["tokenizer.ggml.scores"], 0.0, 0.0, 0.0],
        "tokenizer.ggml.token_type": [
            *entries["tokenizer.ggml.token_type"],
            USER_DEFINED,
            USER_DEFINED,
            gguf_files.UNUSED,
        ],
    }
    tokenizer = text.load(header(tmp_path / "m.gguf", entries | more))
    ids = tokenizer.encode(["x     y<tool>z[PAD]"])[0]
    assert count in ids and count + 1 in ids and count + 2 not in ids
    assert tokenizer.decode(ids) == "x     y<tool>z[PAD]"
    assert tokenizer.size == count + 3
    bare = {key: value for key, value in entries.items() if not key.endswith(("_token_id", "token_type"))}
    tokenizer = text.load(header(tmp_path / "old.gguf", bare))
    assert (tokenizer.bos, tokenizer.eos) == (1, frozenset({2}))
    assert {1, 2}.isdisjoint(tokenizer.encode(["<s>a</s>"])[0])
    assert tokenizer.encode(["<s>a</s>"], special=True)[0][0] == 1


def refused(path: Path, message: str, load: Callable[[Path], object] = flame_rank.load_judge) -> None:
    with pytest.raises((UserError, ValueError)) as caught:
        load(path)
    said = str(caught.value)
    assert message in said
    assert path.name in said and "\n" not in said


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"general.type": "adapter"}, "general.type = 'adapter', not a model"),
        ({"split.count": 3}, "one of 3 parts; join them"),
        ({"llama.block_count": None}, "lacks llama.block_count"),
        ({"llama.attention.layer_norm_rms_epsilon": None}, "lacks llama.attention.layer_norm_rms_epsilon"),
        ({"llama.block_count": "two"}, "llama.block_count = 'two' is of another type"),
        ({"llama.embedding_length": 0}, "hidden_size = 0, not a positive whole number"),
        ({"llama.attention.head_count": [4, 2]}, "llama.attention.head_count is not the same for all layers"),
        ({"llama.attention.head_count": 3}, "is not a multiple of num_key_value_heads"),
        ({"llama.expert_count": 8}, "llama.expert_count is not supported (8)"),
        ({"llama.new_thing": [1, 2]}, "llama.new_thing is not supported"),
        ({"llama.logit_scale": 0.5}, "llama.logit_scale is not supported"),
        ({"llama.attention.causal": False}, "llama.attention.causal is not supported (False)"),
        ({"llama.attention.sliding_window": 16}, "llama.attention.sliding_window = 16 is not supported"),
        ({"llama.rope.scaling.type": "yarn"}, "llama.rope.scaling.type 'yarn' is not supported"),
        (
            {"llama.rope.dimension_count": 4},
            "llama.rope.dimension_count = 4 is not supported with heads of 8 dimensions",
        ),
        ({"llama.attention.value_length": 4}, "llama.attention.value_length = 4"),
        ({"tokenizer.ggml.model": "bert"}, "tokenizer.ggml.model 'bert' is not supported"),
        ({"tokenizer.ggml.model": None}, "tokenizer.ggml.model None is not supported"),
        ({"tokenizer.ggml.pre": "dbrx"}, "tokenizer.ggml.pre 'dbrx' is not supported"),
        ({"tokenizer.ggml.pre": None}, "tokenizer.ggml.pre None is not supported"),
        ({"tokenizer.ggml.add_space_prefix": True}, "add_space_prefix is not supported for gpt2"),
        ({"tokenizer.ggml.tokens": None}, "lacks tokenizer.ggml.tokens"),
        ({"tokenizer.ggml.merges": None}, "tokenizer.ggml.merges is missing"),
        ({"tokenizer.ggml.merges": ["a b c"]}, "is not a list of pairs"),
        ({"tokenizer.ggml.merges": ["no such"]}, "not a tokenizer"),
        ({"tokenizer.ggml.token_type": [NORMAL]}, "token_type has 1 entries for"),
        ({"tokenizer.ggml.eos_token_id": 1000}, "tokenizer.ggml.eos_token_id = 1000, but there are only"),
        ({"tokenizer.chat_template": "{{"}, "the chat template is not Jinja"),
        ({"general.alignment": 3}, "general.alignment = 3, not a power of two"),
    ],
)
def test_metadata_that_is_refused(changed: dict[str, Any], message: str, bpe: Path, tmp_path: Path) -> None:
    entries = gguf_files.byte_bpe(bpe, "gpt-2") | changed
    refused(write(tmp_path / "m.gguf", judge_config(bpe), entries), message)


def test_metadata_that_is_harmless(bpe: Path, tmp_path: Path) -> None:
    more = {
        "llama.expert_count": 0,
        "llama.attention.causal": True,
        "llama.attention.sliding_window": 4096,
        "llama.attention.head_count": [4, 4],
        "llama.rope.scaling.type": "none",
        "general.file_type": 3,
        "quantize.imatrix.file": "x",
        "someone.quantized_by": "x",
        "split.count": 1,
    }
    path = write(tmp_path / "m.gguf", judge_config(bpe), gguf_files.byte_bpe(bpe, "gpt-2") | more)
    assert config.read(read_config(path)) == config.read(judge_config(bpe))


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        (
            "llama2",
            {"blk.0.ffn_gate_exps.weight": np.zeros((2, 2), np.float32)},
            "blk.0.ffn_gate_exps.weight is not a known tensor",
        ),
        (
            "llama2",
            {"blk.0.attn_q_norm.weight": np.ones(8, np.float32)},
            "self_attn.q_norm.weight is unknown",
        ),
        (
            "llama2",
            {"blk.9.attn_norm.weight": np.ones(32, np.float32)},
            "2 layers, but the weights have 10",
        ),
        (
            "llama2",
            {"blk.0.attn_v.weight": None},
            "no tensor model.layers.0.self_attn.v_proj.weight, which its metadata",
        ),
        (
            "llama2",
            {"blk.0.attn_v.weight": np.ones((8, 32), np.float32)},
            "has shape (8, 32), its metadata asks for (32, 32)",
        ),
        ("llama2", {"token_embd.weight": None}, "no tensor token_embd.weight"),
        (
            "llama2",
            {"blk.0.attn_norm.weight": np.ones(32, np.int32)},
            "blk.0.attn_norm.weight is I32; only BF16, F16, F32,",
        ),
        (
            "llama2",
            {"rope_freqs.weight": np.arange(1, 5, dtype=np.float32)},
            "rope_freqs.weight is not Llama 3's scaling",
        ),
        (
            "qwen2",
            {"rope_freqs.weight": np.arange(1, 5, dtype=np.float32)},
            "rope_freqs.weight is not supported for qwen2",
        ),
        ("gemma2", {"blk.0.post_norm.weight": np.ones(32, np.float32)}, "blk.0.post_norm.weight is not a known tensor"),
    ],
)
def test_tensors_that_are_refused(name: str, changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", FAMILIES[name], tensors=changed)
    refused(path, message, load_scorer)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"attn_logit_softcapping": 50.0}, "attn_logit_softcapping is not supported for gemma3_text"),
        ({"attention.sliding_window_pattern": "x"}, "sliding_window_pattern = 'x' is not supported"),
        ({"attention.scale": 0.1}, "gemma3.attention.scale is not supported"),
    ],
)
def test_gemma_that_is_refused(metadata: dict[str, Any], message: str, tmp_path: Path) -> None:
    entries = {f"gemma3.{key}": value for key, value in metadata.items()}
    refused(write(tmp_path / "m.gguf", FAMILIES["gemma3"], entries), message, read_config)


def test_what_gemma_does_not_state(tmp_path: Path) -> None:
    for pattern in (2, [True, False, True, True, True, False, True]):
        entries = {"gemma3.attention.sliding_window_pattern": pattern, "gemma3.rope.freq_base_swa": 2000.0}
        found = config.read(read_config(write(tmp_path / "m.gguf", FAMILIES["gemma3"], entries)))
        sees = [i % 2 == 0 for i in range(7)] if pattern == 2 else pattern
        assert [window is not None for window in found.windows] == sees
        assert [rope.theta for rope in found.ropes] == [2000.0 if local else 5000.0 for local in sees]
    # Only 27B scales queries by something else than its heads' size.
    for arch, layers in (("gemma2", 46), ("gemma3", 62)):
        found = config.read(read_config(write(tmp_path / "m.gguf", FAMILIES[arch], {f"{arch}.block_count": layers})))
        assert found.query_scale == (32 / 4) ** -0.5
        assert config.read(FAMILIES[arch]).query_scale == 16**-0.5


def test_files_that_are_no_gguf(whole: Path, tmp_path: Path) -> None:
    path, data = tmp_path / "m.gguf", whole.read_bytes()
    refused(path, "No such file")
    for content, message in (
        (b"", "not a GGUF file"),
        (b"GGML" + data[4:], "not a GGUF file"),
        (b"GGUF", "cut off in its header (4 bytes)"),
        (data[:4] + b"\1\0\0\0" + data[8:], "version 1 of GGUF, but only versions 2 and 3 are read"),
        (data[:4] + b"\0\0\0\3" + data[8:], "a big-endian GGUF file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (data[:-1], "download it again"),
        (data[: len(data) // 2], "download it again"),
        (data[:2000], "cut off in its header (2000 bytes)"),
    ):
        path.write_bytes(content)
        refused(path, message)
    version_2 = data[:4] + b"\2\0\0\0" + data[8:]
    path.write_bytes(version_2)
    flame_rank.load_judge(path)


def read_all(path: Path) -> None:
    """All that a judge reads but the weights themselves."""
    read_config(path)
    for name in (files := GgufWeights.open(path)):
        files.raw(name)
    text.load(path)
    chat.chat_template(path)


@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_a_cut_file_is_refused(whole: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    content = whole.read_bytes()
    start = gguf_file.read(whole).raw
    most = data.draw(st.sampled_from([64, len(start), len(content) - 1]))
    path = tmp_path_factory.mktemp("cut") / "m.gguf"
    path.write_bytes(content[: data.draw(st.integers(0, most))])
    refused(path, "", read_all)


@given(data=st.data())
@settings(deadline=None, max_examples=100)
def test_a_damaged_header_is_refused_or_read(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(whole.read_bytes())
    most = data.draw(st.sampled_from([64, 600, len(gguf_file.read(whole).raw) - 1]))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, most))] = data.draw(st.sampled_from([0, 1, 7, 9, 32, 127, 128, 255]))
    path = tmp_path_factory.mktemp("damaged") / "m.gguf"
    path.write_bytes(content)
    try:
        read_all(path)
    except ValueError as error:
        assert "m.gguf" in str(error) and "\n" not in str(error)
