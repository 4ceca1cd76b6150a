"""Text to token ids: against transformers, and what a candidate must not be able to do."""

import base64
import json
import random
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers_tiny import write_byte_bpe, write_metaspace_bpe, write_sentencepiece, write_unigram

from flame_rank.model import text

WRITE: dict[str, Callable[[Path], int]] = {
    "qwen": write_byte_bpe,
    "llama3": lambda folder: write_byte_bpe(folder, bos=True),
    "llama2": write_metaspace_bpe,
    "unigram": write_unigram,
    "llama": lambda folder: write_sentencepiece(folder, "llama"),
    "gemma": lambda folder: write_sentencepiece(folder, "gemma"),
    "t5": lambda folder: write_sentencepiece(folder, "t5"),
}
BYTES = ["qwen", "llama3", "llama2", "llama", "gemma"]  # T5's vocabulary has no bytes to fall back on
# kind: BOS, EOS, the other special tokens but the unknown one
SPECIAL = {
    "qwen": (None, "<|im_end|>", ["<|begin_of_text|>", "<|end_of_text|>", "<|im_start|>"]),
    "llama3": ("<|begin_of_text|>", "<|im_end|>", ["<|end_of_text|>", "<|im_start|>"]),
    "llama2": ("<s>", "</s>", []),
    "unigram": (None, "</s>", ["<pad>", "<extra_id_0>", "<extra_id_99>"]),
    "llama": ("<s>", "</s>", []),
    "gemma": ("<bos>", "<eos>", ["<pad>", "<start_of_turn>", "<end_of_turn>"]),
    "t5": (None, "</s>", ["<pad>", "<extra_id_0>", "<extra_id_99>"]),
}
FRAGMENTS = [
    *(
        "hello",
        "response",
        "def f(x):\n    return x",
        "0",
        "123",
        " A",
        " B",
        ".",
        ",",
        "'s",
        "\\n",
        "<0x0A>",
        "</",
        "<",
    ),
    *(" ", "  ", "\t", "\n", "\r\n", "\0", "\u3000", "\u00a0", "\u200b", "\u2028", "\ufeff", " " * 40, "x" * 50),
    *("é", "e\u0301", "Zürich", "🙂", "👩\u200d👩\u200d👧", "שלום", "مرحبا", "日本語", "ﬁ", "①", "▁", "\u0301"),
]


def strings(count: int) -> list[str]:
    """Unicode, emoji, code, white space, right to left, combining marks, repetitions, and the empty one."""
    chance = random.Random(0)
    mixed = ["".join(chance.choices(FRAGMENTS, k=chance.randint(1, 12))) for _ in range(count - len(FRAGMENTS) - 1)]
    return ["", *FRAGMENTS, *mixed]


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {kind: tmp_path_factory.mktemp(kind) for kind in WRITE}
    for kind, folder in made.items():
        WRITE[kind](folder)
    return made


@pytest.fixture(scope="session")
def tokenizers(folders: dict[str, Path]) -> dict[str, text.TextTokenizer]:
    return {kind: text.load(folder) for kind, folder in folders.items()}


@pytest.fixture
def copy(folders: dict[str, Path], tmp_path: Path) -> Callable[..., Path]:
    """A copy of a folder, with other settings in its tokenizer_config.json; None takes one out."""

    def make(kind: str, **changes: Any) -> Path:
        folder = Path(shutil.copytree(folders[kind], tmp_path / kind, dirs_exist_ok=True))
        path = folder / "tokenizer_config.json"
        config = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
        return folder

    return make


def one(tokenizer: text.TextTokenizer, token: str) -> int:
    """The id of a special token."""
    [ids] = tokenizer.encode([token], special=True)
    assert len(ids) == 1, (token, ids)
    return ids[0]


def special_ids(tokenizer: text.TextTokenizer, kind: str) -> set[int]:
    bos, eos, others = SPECIAL[kind]
    return {one(tokenizer, token) for token in (bos, eos, *others) if token}


# --- what every kind does -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WRITE)
def test_knows_its_ends_and_size(kind: str, tmp_path: Path) -> None:
    size = WRITE[kind](tmp_path)
    tokenizer = text.load(tmp_path)
    bos, eos, _ = SPECIAL[kind]
    assert tokenizer.bos == (one(tokenizer, bos) if bos else None)
    assert tokenizer.eos == {one(tokenizer, eos)}
    assert tokenizer.size == size
    assert all(token < size for ids in tokenizer.encode(strings(100)) for token in ids)


@pytest.mark.parametrize("kind", WRITE)
def test_puts_nothing_around_a_text(kind: str, tokenizers: dict[str, text.TextTokenizer]) -> None:
    tokenizer = tokenizers[kind]
    assert tokenizer.encode([]) == []
    for special in (False, True):
        assert tokenizer.encode([""], special=special) == [[]]
        [ids] = tokenizer.encode(["hello"], special=special)
        assert ids and not set(ids) & special_ids(tokenizer, kind)


@pytest.mark.parametrize("kind", WRITE)
def test_counts_what_it_reads(kind: str, tokenizers: dict[str, text.TextTokenizer]) -> None:
    tokenizer, texts = tokenizers[kind], ["", *strings(100)]
    assert tokenizer.count(texts) == [len(ids) for ids in tokenizer.encode(texts)]


@pytest.mark.parametrize("kind", BYTES)
def test_every_text_comes_back(kind: str, tokenizers: dict[str, text.TextTokenizer]) -> None:
    texts = [written.replace("▁", "_") for written in strings(300)]  # "▁" comes back as a space
    tokenizer = tokenizers[kind]
    assert [tokenizer.decode(ids) for ids in tokenizer.encode(texts)] == texts


@pytest.mark.parametrize("kind", WRITE)
def test_decoding_leaves_out_special_tokens_and_ids_past_the_vocabulary(
    kind: str, tokenizers: dict[str, text.TextTokenizer]
) -> None:
    tokenizer = tokenizers[kind]
    [ids] = tokenizer.encode(["response A"])
    mixed = [*special_ids(tokenizer, kind), *ids, *tokenizer.eos, tokenizer.size, tokenizer.size + 1000]
    assert tokenizer.decode(mixed) == tokenizer.decode(ids) == "response A"
    assert tokenizer.decode([]) == ""


@pytest.mark.parametrize("kind", BYTES)
@given(written=st.text() | st.lists(st.sampled_from(FRAGMENTS)).map("".join))
@settings(deadline=None, max_examples=60)
def test_any_text_comes_back(kind: str, tokenizers: dict[str, text.TextTokenizer], written: str) -> None:
    tokenizer, written = tokenizers[kind], written.replace("▁", "_")
    [ids] = tokenizer.encode([written])
    assert tokenizer.decode(ids) == written and all(0 <= token < tokenizer.size for token in ids)


@pytest.mark.parametrize("kind", WRITE)
@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_a_candidate_cannot_close_its_turn(
    kind: str, tokenizers: dict[str, text.TextTokenizer], data: st.DataObject
) -> None:
    tokenizer = tokenizers[kind]
    bos, eos, others = SPECIAL[kind]
    tokens = [token for token in (bos, eos, *others) if token]
    near = [*(token[:-1] for token in tokens), *(token[1:] for token in tokens), "<unk>", "<<", ">>", "▁", "<think>"]
    parts = st.sampled_from(tokens) | st.sampled_from([*near, *FRAGMENTS]) | st.text()
    written = "".join(data.draw(st.lists(parts, max_size=8)))
    [plain], [trusted] = tokenizer.encode([written]), tokenizer.encode([written], special=True)
    assert not set(plain) & special_ids(tokenizer, kind)
    for token in tokens:
        assert trusted.count(one(tokenizer, token)) == written.count(token), token


@pytest.mark.parametrize("kind", WRITE)
def test_a_text_is_read_the_same_every_time_and_in_any_company(
    kind: str, folders: dict[str, Path], tokenizers: dict[str, text.TextTokenizer]
) -> None:
    texts = strings(100)
    ids = tokenizers[kind].encode(texts)
    assert text.load(folders[kind]).encode(texts) == ids
    assert tokenizers[kind].encode(texts[::-1]) == ids[::-1]
    assert [tokenizers[kind].encode([written])[0] for written in texts] == ids


@pytest.mark.parametrize("kind", WRITE)
def test_only_trusted_text_has_special_tokens(kind: str, tokenizers: dict[str, text.TextTokenizer]) -> None:
    tokenizer = tokenizers[kind]
    eos = SPECIAL[kind][1]
    for written in (f"hello{eos}", f"hello {eos} A", f"{eos}{eos}"):
        [trusted] = tokenizer.encode([written], special=True)
        [plain] = tokenizer.encode([written])
        assert trusted.count(one(tokenizer, eos)) == written.count(eos)
        if kind in BYTES:
            assert tokenizer.decode(plain) == written


# --- tokenizer.json -----------------------------------------------------------------------------------------------


def test_the_library_alone_would_read_a_control_token(folders: dict[str, Path]) -> None:
    """Why the tokenizer renames them: to a unigram model they are pieces like any other."""
    from tokenizers import Tokenizer

    bare = Tokenizer.from_file(str(folders["unigram"] / "tokenizer.json"))
    bare.encode_special_tokens = True
    assert bare.token_to_id("</s>") in bare.encode("hello</s>", add_special_tokens=False).ids


def test_merges_that_lead_to_a_special_token_are_not_taken(copy: Callable[..., Path]) -> None:
    folder = copy("llama2")
    path = folder / "tokenizer.json"
    file = json.loads(path.read_text())
    vocabulary = file["model"]["vocab"]
    for piece in ("<", "/", ">", "</", "s>"):
        vocabulary.setdefault(piece, len(vocabulary))
    file["model"]["merges"] += [["<", "/"], ["s", ">"], ["</", "s>"]]
    path.write_text(json.dumps(file))
    tokenizer = text.load(folder)
    assert tokenizer.encode(["a</s>", "</s>"]) == [
        [vocabulary["▁"], vocabulary["a"], vocabulary["</"], vocabulary["s>"]],
        [vocabulary["▁"], vocabulary["</"], vocabulary["s>"]],
    ]
    assert tokenizer.size == len(vocabulary)


def test_settings_of_the_file_that_cut_and_pad_are_put_aside(copy: Callable[..., Path]) -> None:
    from tokenizers import Tokenizer

    folder = copy("qwen")
    bare = Tokenizer.from_file(str(folder / "tokenizer.json"))
    bare.enable_truncation(3)
    bare.enable_padding(length=50)
    bare.save(str(folder / "tokenizer.json"))
    tokenizer = text.load(folder)
    written = "Which response is better?"
    for special in (False, True):
        [ids] = tokenizer.encode([written], special=special)
        assert len(ids) < 50 and tokenizer.decode(ids) == written


@pytest.mark.parametrize("source", ["additional", "added", "map", "eos"])
def test_tokens_that_only_another_file_calls_special(source: str, copy: Callable[..., Path]) -> None:
    folder = copy("qwen")
    think = one(text.load(folder), "<think>")
    assert text.load(folder).encode(["<think>"]) == [[think]]  # not special: read as a token in any text
    if source == "additional":
        folder = copy("qwen", additional_special_tokens=["<think>"])
    elif source == "added":
        folder = copy("qwen", added_tokens_decoder={str(think): {"content": "<think>", "special": True}})
    elif source == "map":
        (folder / "special_tokens_map.json").write_text('{"mask_token": {"content": "<think>", "lstrip": false}}')
    else:
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": think}))
    tokenizer = text.load(folder)
    [ids] = tokenizer.encode(["<think>"])
    assert think not in ids and tokenizer.decode(ids) == "<think>" and tokenizer.decode([think]) == ""
    assert tokenizer.encode(["<think>"], special=True) == [[think]]


@pytest.mark.parametrize("kind", ["qwen", "llama2", "llama", "t5"])
def test_a_character_stays_text_though_the_checkpoint_pads_with_it(
    kind: str, tokenizers: dict[str, text.TextTokenizer], copy: Callable[..., Path]
) -> None:
    tokenizer = text.load(copy(kind, pad_token="A"))
    [ids] = tokenizer.encode(["response A"])
    assert [ids] == tokenizers[kind].encode(["response A"]) and tokenizer.decode(ids) == "response A"


@pytest.mark.parametrize(("kind", "wanted", "bos"), [("llama3", False, None), ("qwen", True, "<|begin_of_text|>")])
def test_the_configuration_has_the_last_word_on_bos(
    kind: str, wanted: bool, bos: str | None, copy: Callable[..., Path]
) -> None:
    tokenizer = text.load(copy(kind, add_bos_token=wanted, bos_token="<|begin_of_text|>"))
    assert tokenizer.bos == (one(tokenizer, bos) if bos else None)


def test_several_tokens_before_a_text_are_refused(copy: Callable[..., Path]) -> None:
    from tokenizers import Tokenizer, processors

    folder = copy("qwen")
    bare = Tokenizer.from_file(str(folder / "tokenizer.json"))
    bare.post_processor = processors.TemplateProcessing("<a> <b> $A", None, [("<a>", 3), ("<b>", 4)])
    bare.save(str(folder / "tokenizer.json"))
    with pytest.raises(ValueError, match=r"tokenizer\.json: puts 2 tokens before a text"):
        text.load(folder)


@pytest.mark.parametrize("kind", ["qwen", "llama"])
def test_the_model_s_files_say_what_ends_a_generation(kind: str, copy: Callable[..., Path]) -> None:
    folder = copy(kind)
    (folder / "config.json").write_text('{"text_config": {"eos_token_id": 7}, "vocab_size": 400}')
    assert text.load(folder).eos == {7}
    (folder / "config.json").write_text('{"eos_token_id": 5}')
    assert text.load(folder).eos == {5}
    (folder / "generation_config.json").write_text('{"eos_token_id": [3, 4]}')
    assert text.load(folder).eos == {3, 4}
    (folder / "generation_config.json").write_text('{"eos_token_id": null}')
    assert text.load(folder).eos == {5}


def test_the_settings_name_the_ends(copy: Callable[..., Path]) -> None:
    begin, end = "<|begin_of_text|>", "<|end_of_text|>"
    folder = copy("qwen", eos_token=None)
    assert text.load(folder).eos == frozenset()
    (folder / "special_tokens_map.json").write_text(json.dumps({"bos_token": begin, "eos_token": {"content": end}}))
    tokenizer = text.load(folder)
    assert tokenizer.eos == {one(tokenizer, end)} and tokenizer.bos is None  # named is not yet wanted
    tokenizer = text.load(copy("qwen", eos_token={"content": "<|im_end|>", "rstrip": False}, add_bos_token=True))
    assert tokenizer.eos == {one(tokenizer, "<|im_end|>")}
    assert tokenizer.bos == one(tokenizer, begin)  # the older file speaks where tokenizer_config.json does not


# --- SentencePiece ------------------------------------------------------------------------------------------------


def test_reads_texts_as_sentencepiece_does(folders: dict[str, Path], tokenizers: dict[str, text.TextTokenizer]) -> None:
    from sentencepiece import SentencePieceProcessor

    for kind, name in (("llama", "tokenizer.model"), ("gemma", "tokenizer.model"), ("t5", "spiece.model")):
        bare = SentencePieceProcessor(model_file=str(folders[kind] / name))
        texts = strings(1000)
        assert tokenizers[kind].encode(texts) == bare.encode(texts)


def test_llama_reads_as_the_official_tokenizer_json_does(
    folders: dict[str, Path], tokenizers: dict[str, text.TextTokenizer]
) -> None:
    """Llama 2 carries both files: the other has a normaliser for the spaces, and merges that rank by score."""
    from sentencepiece import SentencePieceProcessor
    from tokenizers import Tokenizer, models, normalizers

    bare = SentencePieceProcessor(model_file=str(folders["llama"] / "tokenizer.model"))
    pieces = {bare.id_to_piece(i): i for i in range(bare.get_piece_size())}
    normal = {piece: i for piece, i in pieces.items() if not (bare.is_control(i) or bare.is_byte(i) or i == 0)}
    splits = [(piece[:i], piece[i:]) for piece in normal for i in range(1, len(piece))]
    merges = [split for split in splits if split[0] in normal and split[1] in normal]
    merges.sort(key=lambda split: -bare.get_score(normal["".join(split)]))
    other = Tokenizer(models.BPE(pieces, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    other.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    texts = strings(1000)
    wanted = [encoded.ids for encoded in other.encode_batch(texts, add_special_tokens=False)]
    assert tokenizers["llama"].encode(texts) == wanted


@pytest.mark.parametrize(("legacy", "prefix"), [(True, True), (False, False), (None, False)])
def test_whether_a_space_follows_a_special_token(legacy: bool | None, prefix: bool, copy: Callable[..., Path]) -> None:
    tokenizer = text.load(copy("llama", legacy=legacy))
    [[space, *letters]] = tokenizer.encode(["hello"])
    assert tokenizer.decode([*letters, space]) == "hello "
    [first, last] = one(tokenizer, "<s>"), one(tokenizer, "</s>")
    rest = [space, *letters] if prefix else letters
    assert tokenizer.encode(["hello</s>hello", "<s>hello"], special=True) == [
        [space, *letters, last, *rest],
        [first, *rest],
    ]


def test_special_pieces_of_the_model_s_user_are_cut(tokenizers: dict[str, text.TextTokenizer]) -> None:
    """Gemma's turns are found by sentencepiece in any text."""
    gemma = tokenizers["gemma"]
    written = "a<start_of_turn><end_of_turn> <<end_of_turn>"
    [ids] = gemma.encode([written])
    assert gemma.decode(ids) == written
    assert gemma.decode(gemma.encode([written], special=True)[0]) == "a <"


def test_t5_has_sentinels_behind_its_pieces(copy: Callable[..., Path]) -> None:
    tokenizer = text.load(copy("t5", extra_ids=5))
    assert one(tokenizer, "<extra_id_0>") == tokenizer.size - 1
    assert one(tokenizer, "<extra_id_4>") == tokenizer.size - 5
    stated = {"150": {"content": "<extra_id_0>", "special": True}}
    assert one(text.load(copy("t5", added_tokens_decoder=stated)), "<extra_id_0>") == 150


def test_added_tokens(copy: Callable[..., Path]) -> None:
    folder = copy("llama", added_tokens_decoder={"400": {"content": "<turn>", "special": True}})
    (folder / "added_tokens.json").write_text('{"<tool>": 401, "<tool>s": 402}')
    tokenizer = text.load(folder)
    assert tokenizer.size == 403
    [ids] = tokenizer.encode(["hello <tool> A<tool>s<turn>"])
    assert 400 not in ids and 401 in ids and 402 in ids
    assert tokenizer.decode(ids) == "hello <tool> A<tool>s<turn>"
    [trusted] = tokenizer.encode(["hello <tool><turn>"], special=True)
    assert trusted[-2:] == [401, 400] and tokenizer.decode(trusted) == "hello <tool>"


def test_the_ends_of_a_sentencepiece_model(copy: Callable[..., Path]) -> None:
    bare = text.load(copy("llama", bos_token=None, eos_token=None))  # the model's own
    assert bare.bos == 1 and bare.eos == {2}
    turns = text.load(copy("gemma", eos_token="<end_of_turn>"))
    assert turns.bos == 2 and turns.eos == {one(turns, "<end_of_turn>")}
    assert text.load(copy("llama", add_bos_token=True)).bos == 1
    assert text.load(copy("llama", add_bos_token=False)).bos is None
    assert text.load(copy("t5", add_bos_token=True)).bos is None


# --- files that cannot be used ------------------------------------------------------------------------------------


def refused(folder: Path, file: str) -> str:
    """The one line that says why a folder is refused; it begins with the file."""
    with pytest.raises(ValueError) as caught:
        text.load(folder)
    message = str(caught.value)
    assert message.startswith(f"{folder / file}: ") and "\n" not in message
    return message


def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no tokenizer\.json, tokenizer\.model or spiece\.model; copy") as caught:
        text.load(tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("kind", ["qwen", "llama2", "unigram"])
def test_a_tokenizer_json_that_is_cut(kind: str, copy: Callable[..., Path]) -> None:
    folder = copy(kind)
    path = folder / "tokenizer.json"
    whole = path.read_bytes()
    for size in {0, 1, *range(7, len(whole), len(whole) // 20), len(whole) - 1}:
        path.write_bytes(whole[:size])
        refused(folder, path.name)


@pytest.mark.parametrize("kind", ["llama", "gemma", "t5"])
def test_a_sentencepiece_model_that_is_cut(kind: str, copy: Callable[..., Path]) -> None:
    """Also between two pieces, where the library takes it for a model with fewer of them."""
    folder = copy(kind)
    path = folder / ("spiece.model" if kind == "t5" else "tokenizer.model")
    whole = path.read_bytes()
    for size in (*range(0, 1200, 1 if kind == "t5" else 20), *range(len(whole) - 40, len(whole))):
        path.write_bytes(whole[:size])
        refused(folder, path.name)


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer.model", "spiece.model"])
@pytest.mark.parametrize("content", [b"", b"\0" * 40, b"version https://git-lfs", b"[1]", b"{}", b"\xff\xfe", b"null"])
def test_garbage(file: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / file).write_bytes(content)
    refused(tmp_path, file)


def test_a_tokenizer_json_that_lacks_a_part(copy: Callable[..., Path]) -> None:
    folder = copy("qwen")
    path = folder / "tokenizer.json"
    file = json.loads(path.read_text())
    for change in (
        {"model": None},
        {"model": {"type": "BPE"}},
        {"model": file["model"] | {"type": "Other"}},
        {"added_tokens": [{"id": 1}]},
        {"added_tokens": ["<s>"]},
        {"pre_tokenizer": {"type": "Other"}},
    ):
        path.write_text(json.dumps(file | change))
        assert "not a tokenizer (" in refused(folder, path.name)


@pytest.mark.parametrize("numbers", [2, 0x70])  # of the table, which has to have one for each byte of a text
def test_a_panic_of_the_library_is_an_error(numbers: int, copy: Callable[..., Path]) -> None:
    """Its Rust raises a BaseException: at once for a table without "a", else when a text needs what it lacks."""
    folder = copy("unigram")
    path = folder / "tokenizer.json"
    table = base64.b64encode(struct.pack("<I", 4 * numbers) + b"\0\0\0\0" * numbers).decode()
    normalizer = {"type": "Precompiled", "precompiled_charsmap": table}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"normalizer": normalizer}))
    if numbers == 2:
        assert "not a tokenizer (index out of bounds" in refused(folder, path.name)
        return
    tokenizer = text.load(folder)
    for read in (tokenizer.encode, tokenizer.count):
        with pytest.raises(ValueError, match=r"tokenizer\.json: not a tokenizer \(index out of bounds"):
            read(["a", "é"])


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("tokenizer_config.json", '{"eos_token": 7}'),
        ("tokenizer_config.json", '{"eos_token": "<s>"'),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"x": {"content": "<s>"}}}'),
        ("special_tokens_map.json", "[]"),
        ("added_tokens.json", '{"<s>": "1"}'),
        ("generation_config.json", '{"eos_token_id": "</s>"}'),
        ("config.json", ""),
    ],
)
@pytest.mark.parametrize("kind", ["qwen", "llama"])
def test_settings_that_are_broken(kind: str, file: str, content: str, copy: Callable[..., Path]) -> None:
    folder = copy(kind)
    (folder / file).write_text(content)
    refused(folder, file)


# --- against transformers -----------------------------------------------------------------------------------------

# Texts that transformers 5 reads otherwise than sentencepiece, which T5 and Llama were trained with: they are left out
# here and compared with sentencepiece itself above. Of the strings, those with an accent behind a sign that NFKC
# replaces (T5), and those that begin with a space (Llama).
OTHERWISE = {
    "llama": re.compile("^[ ▁]"),
    "t5": re.compile("[①ﬁé▁\u0301\u00a0\u3000][\0\u200b\ufeff]*\u0301"),
}


@pytest.mark.live
@pytest.mark.parametrize("kind", WRITE)
def test_equals_transformers(kind: str, folders: dict[str, Path], tokenizers: dict[str, text.TextTokenizer]) -> None:
    transformers = pytest.importorskip("transformers", reason="compares with transformers, an optional package")
    theirs, ours = transformers.AutoTokenizer.from_pretrained(str(folders[kind])), tokenizers[kind]
    other = OTHERWISE.get(kind)
    texts = [written for written in strings(1500) if not (other and other.search(written))][:1000]
    assert len(texts) == 1000 and "" in texts
    wanted = theirs(texts, add_special_tokens=False)["input_ids"]
    differ = [pair for pair in zip(texts, wanted, ours.encode(texts), strict=True) if pair[1] != pair[2]]
    assert not differ, differ[:3]
    if kind in BYTES:
        assert [ours.decode(ids) for ids in wanted] == theirs.batch_decode(wanted, skip_special_tokens=True)
    bos, eos, others = SPECIAL[kind]
    trusted = "".join(f"hello {token}A\n{token} B" for token in (bos, eos, *others) if token)
    assert ours.encode([trusted], special=True) == [theirs(trusted, add_special_tokens=False)["input_ids"]]
    if kind in ("qwen", "llama3", "llama2"):  # the others are told by transformers' own defaults, which vary
        assert theirs("A")["input_ids"] == [token for token in [ours.bos] if token is not None] + ours.encode(["A"])[0]


@pytest.mark.parametrize(("bos", "eos", "fits"), [(10, {2}, False), (1, {9}, False), (1, {2, 9}, True)])
def test_what_begins_or_ends_every_text_is_in_the_vocabulary(bos: int, eos: set[int], fits: bool) -> None:
    class Tokenizer:
        def __init__(self) -> None:
            self.bos, self.eos, self.size = bos, frozenset(eos), 12

    tokenizer: Any = Tokenizer()
    if fits:
        assert text.within(tokenizer, 5).eos == {2}
    else:
        with pytest.raises(ValueError, match="12 ids, but its model has 5"):
            text.within(tokenizer, 5)
