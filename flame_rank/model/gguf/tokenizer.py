"""Makes a tokenizer from the metadata of a GGUF file, in a form that model/text.py reads: a tokenizer.json or a
SentencePiece model. Must agree with llama.cpp (src/llama-vocab.cpp) or, if llama.cpp ignores a setting of the
checkpoint, with the checkpoint."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from flame_rank.model.gguf.file import Header
from flame_rank.model.tokenizer_settings import CONFIG, Config, Settings

# The format's types of tokens.
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = range(1, 7)
_BPE, _SENTENCEPIECE = "gpt2", "llama"
_ROLES = {
    "bos": "bos_token",
    "eos": "eos_token",
    "unknown": "unk_token",
    "seperator": "sep_token",  # the format's spelling
    "padding": "pad_token",
    "mask": "mask_token",
}
_ENDS = ("eos", "eot", "eom")
_SENTENCEPIECE_IDS = {"unknown": 0, "bos": 1, "eos": 2}  # for a file that does not state them

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
_WORD = r"[^\r\n\p{L}\p{N}]?"
# How text is split before merging: the expressions in the checkpoints' own tokenizer.json.
_LLAMA3 = rf"{_CONTRACTIONS}|{_WORD}\p{{L}}+|\p{{N}}{{1,3}}|{_TAIL}"
_QWEN2 = rf"{_CONTRACTIONS}|{_WORD}\p{{L}}+|\p{{N}}|{_TAIL}"
_TEKKEN = (
    rf"{_WORD}[{_UPPER}]*[{_LOWER}]+|{_WORD}[{_UPPER}]+[{_LOWER}]*|\p{{N}}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def _bytes(*, words: bool = False) -> dict[str, Any]:
    """Writes bytes as letters; with `words`, splits text as GPT-2 does."""
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": words}


_DIGITS = {"type": "Digits", "individual_digits": True}
# How text is split, by tokenizer.ggml.pre, for the families that are read here.
_CUTS: dict[str, list[dict[str, Any]]] = {
    "gpt-2": [_bytes(words=True)],
    "smollm": [_DIGITS, _bytes(words=True)],
    "qwen2": [_split(_QWEN2), _bytes()],
    **{name: [_split(_LLAMA3), _bytes()] for name in ("llama-bpe", "llama3", "llama-v3")},
    "tekken": [_split(_TEKKEN), _bytes()],
    # llama.cpp's own, for files whose tokenizer was not known to its converter.
    "default": [
        *(
            _split(r"[\p{P}\$\+<=>\^~\|]+"),
            _split(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"),
        ),
        *(_split(r"\p{N}+"), _split("[0-9][0-9][0-9]"), _bytes()),
    ],
}
# Here a word that is a token stays whole, whatever the merges are; and BOS precedes a text unless the file denies it.
_WHOLE_WORDS = frozenset({"llama-bpe", "llama3", "llama-v3", "tekken"})
_NORMALIZERS = {"qwen2": {"type": "NFC"}}


def is_sentencepiece(header: Header) -> bool:
    """Tells whether a file's tokenizer is a SentencePiece model instead of byte-level BPE.

    Raises:
      ValueError: the tokenizer is of another kind, or the file has none.
    """
    kind = header.get("tokenizer.ggml.model", str)
    if kind not in (_BPE, _SENTENCEPIECE):
        kinds = f"{_BPE} (byte-level BPE) and {_SENTENCEPIECE} (SentencePiece)"
        raise ValueError(f"{header.path}: tokenizer.ggml.model {kind!r} is not supported, only {kinds}")
    return bool(kind == _SENTENCEPIECE)


def settings(header: Header) -> Settings:
    """Returns the special tokens and the chat template that a file states.

    Raises:
      ValueError: there is no tokenizer, or it is broken; the message names the file.
    """
    spm = is_sentencepiece(header)
    tokens, types = _tokens(header), _types(header)
    ids: dict[str, int] = {}
    for name in (*_ROLES, *_ENDS):
        key = f"tokenizer.ggml.{name}_token_id"
        token_id = header.get(key, int, _SENTENCEPIECE_IDS.get(name) if spm else None)
        if token_id is not None and not 0 <= token_id < len(tokens):
            raise ValueError(f"{header.path}: {key} = {token_id}, but there are only {len(tokens)} tokens")
        if token_id is not None:
            ids[name] = token_id
    eos = [ids[name] for name in _ENDS if name in ids]
    named = {role: tokens[ids[name]] for name, role in _ROLES.items() if name in ids}
    special = (
        {tokens[i] for i in eos} | {*named.values()} | {tokens[i] for i, kind in enumerate(types) if kind == _CONTROL}
    )
    bos = spm or header.get("tokenizer.ggml.pre", str) in _WHOLE_WORDS
    return Settings(
        config=Config(
            add_bos_token=header.get("tokenizer.ggml.add_bos_token", bool, bos),
            legacy=True,  # a space after a special token too, as in llama.cpp: the files do not state it
            chat_template=header.get("tokenizer.chat_template", str),
        ),
        named=named,
        special={token for token in special if len(token) > 1},
        added={},
        eos=sorted({*eos}),
    )


def _tokens(header: Header) -> list[str]:
    tokens: list[str] = header.get("tokenizer.ggml.tokens", list, [])
    if not tokens:
        raise ValueError(f"{header.path}: the metadata lacks tokenizer.ggml.tokens")
    return tokens


def _types(header: Header) -> list[int]:
    count = len(_tokens(header))
    types: list[int] = header.get("tokenizer.ggml.token_type", np.ndarray, np.full(count, _NORMAL)).tolist()
    if len(types) != count:
        raise ValueError(f"{header.path}: tokenizer.ggml.token_type has {len(types)} entries for {count} tokens")
    return types


def tokenizer_json(header: Header, settings: Settings) -> dict[str, Any]:
    """Makes a parsed tokenizer.json.

    Raises:
      ValueError: its way of splitting text is not supported, or the tokenizer is broken.
    """
    path, pre = header.path, header.get("tokenizer.ggml.pre", str)
    if pre not in _CUTS:
        raise ValueError(f"{path}: tokenizer.ggml.pre {pre!r} is not supported, only {', '.join(_CUTS)}")
    if header.get("tokenizer.ggml.add_space_prefix", bool, False):
        raise ValueError(f"{path}: tokenizer.ggml.add_space_prefix is not supported for {_BPE}")
    tokens, types = _tokens(header), _types(header)
    vocabulary = {token: i for i, token in enumerate(tokens) if token}
    if len(vocabulary) < len([*filter(None, tokens)]):
        raise ValueError(f"{path}: tokenizer.ggml.tokens has a token twice")
    merges = [merge.split(" ") for merge in header.get("tokenizer.ggml.merges", list, [])]
    if not merges or any(len(merge) != 2 for merge in merges):
        raise ValueError(f"{path}: tokenizer.ggml.merges is missing, or is not a list of pairs")
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    added = {i for token, i in vocabulary.items() if types[i] in (_CONTROL, _USER_DEFINED) or token in settings.special}
    return {
        "version": "1.0",
        "added_tokens": [
            {"id": i, "content": tokens[i], **plain, "special": types[i] == _CONTROL or tokens[i] in settings.special}
            for i in sorted(added)
        ],
        "normalizer": _NORMALIZERS.get(pre),
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": _CUTS[pre]},
        "decoder": _bytes(),
        "model": {
            "type": "BPE",
            "byte_fallback": False,
            "fuse_unk": False,
            "ignore_merges": pre in _WHOLE_WORDS,
            "vocab": vocabulary,
            "merges": merges,
        },
    }


def save(header: Header, folder: Path) -> list[Path]:
    """Writes the tokenizer and the chat template as files of a Hugging Face checkpoint, and returns their paths.

    Raises:
      OSError: a file cannot be written.
      ValueError: as in `settings`, `tokenizer_json` and `sentencepiece_model`.
    """
    known = settings(header)
    stated: dict[str, Any] = {**known.named, "add_bos_token": known.config.add_bos_token}
    if known.config.chat_template is not None:
        stated["chat_template"] = known.config.chat_template
    if is_sentencepiece(header):
        family = header.get("general.architecture", str, "llama")
        stated |= {"tokenizer_class": "GemmaTokenizer" if family.startswith("gemma") else "LlamaTokenizer"}
        stated |= {"legacy": known.config.legacy}
        content = {"tokenizer.model": sentencepiece_model(header, known)}
    else:
        stated["tokenizer_class"] = "PreTrainedTokenizerFast"
        file = tokenizer_json(header, known)
        if known.config.add_bos_token and (bos := known.named.get("bos_token")):
            file["post_processor"] = _bos_first(bos, file["model"]["vocab"][bos])
        content = {"tokenizer.json": json.dumps(file, ensure_ascii=False).encode()}
    content[CONFIG] = json.dumps(stated, indent=2, ensure_ascii=False).encode() + b"\n"
    for name, data in content.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in content]


def _bos_first(bos: str, number: int) -> dict[str, Any]:
    """Makes transformers put BOS before a text; this package reads that from tokenizer_config.json."""
    before, text = {"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    return {
        "type": "TemplateProcessing",
        "single": [before, text],
        "pair": [before, text, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {bos: {"id": bos, "ids": [number], "tokens": [bos]}},
    }


def sentencepiece_model(header: Header, settings: Settings) -> bytes:
    """Makes a serialised SentencePiece model (sentencepiece_model.proto).

    Raises:
      ValueError: the tokenizer is broken, or its normalisation of text is not supported.
    """
    tokens, types = _tokens(header), _types(header)
    scores = header.get("tokenizer.ggml.scores", np.ndarray, np.empty(0))
    if len(scores) != len(tokens) or scores.dtype.kind != "f":
        raise ValueError(f"{header.path}: tokenizer.ggml.scores has {len(scores)} entries for {len(tokens)} tokens")
    if len(header.metadata.get("tokenizer.ggml.precompiled_charsmap", ())):
        raise ValueError(f"{header.path}: tokenizer.ggml.precompiled_charsmap is not supported")
    if _UNKNOWN not in types:  # an older file, without types
        types[tokens.index(settings.named["unk_token"])] = _UNKNOWN
    names = [("unk_token", 45), ("bos_token", 46), ("eos_token", 47), ("pad_token", 48)]
    trainer = [
        _varint(3, 2),  # model_type: BPE
        _varint(35, int(_BYTE in types)),  # byte_fallback
        *(_chunk(field, settings.named[role].encode()) for role, field in names if role in settings.named),
    ]
    normalizer = [
        _chunk(1, b"identity"),
        _varint(3, int(header.get("tokenizer.ggml.add_space_prefix", bool, True))),  # add_dummy_prefix
        _varint(4, int(header.get("tokenizer.ggml.remove_extra_whitespaces", bool, False))),
        _varint(5, 1),  # escape_whitespaces
    ]
    return b"".join([*_pieces(tokens, types, scores), _chunk(2, b"".join(trainer)), _chunk(3, b"".join(normalizer))])


def _pieces(tokens: list[str], types: list[int], scores: Any) -> Iterator[bytes]:
    for token, kind, score in zip(tokens, types, scores.tolist(), strict=True):
        # The converter writes spaces in user-defined tokens as spaces.
        piece = token.replace(" ", "▁") if kind == _USER_DEFINED else token
        known = kind if _NORMAL <= kind <= _BYTE else _NORMAL
        yield _chunk(1, _chunk(1, piece.encode()) + b"\x15" + struct.pack("<f", score) + _varint(3, known))


def _chunk(field: int, content: bytes) -> bytes:
    """Serialises a field of a protocol buffer that is a string or a message."""
    return _number(field << 3 | 2) + _number(len(content)) + content


def _varint(field: int, value: int) -> bytes:
    """Serialises a field of a protocol buffer that is a whole number."""
    return _number(field << 3) + _number(value)


def _number(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])
