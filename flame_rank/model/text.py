"""Converts text to a checkpoint's token ids and back, for judge and trainer alike. Must agree with transformers, except
if transformers disagrees with the library with which the checkpoint was trained."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import msgspec
from tokenizers import Tokenizer

from flame_rank.io.json_file import one_line
from flame_rank.model.gguf import file as gguf_file
from flame_rank.model.gguf import tokenizer as gguf_tokenizer
from flame_rank.model.tokenizer_settings import CONFIG, Settings, read

_JSON, _SENTENCEPIECE = "tokenizer.json", ("tokenizer.model", "spiece.model")
_FILES = (_JSON, *_SENTENCEPIECE, CONFIG, "vocab.json", "added_tokens.json", "chat_template.jinja")
# A serialised protocol buffer may be continued: these bytes are a normalizer_spec with add_dummy_prefix false.
_NO_PREFIX = b"\x1a\x02\x18\x00"
# Before a token's name. It is out of reach since spaces have become "▁" or "Ġ", or are gone, when pieces are looked up.
_OUT_OF_REACH = " "


class TextTokenizer(Protocol):
    """How a checkpoint turns text into tokens.

    Attributes:
      bos: the id that the checkpoint wants before every text; None if it wants none (Qwen, T5).
      eos: the ids that end a generation.
      size: the largest id plus one.
    """

    bos: int | None
    eos: frozenset[int]
    size: int

    def encode(self, texts: Sequence[str], *, special: bool = False) -> list[list[int]]:
        """Encodes texts; nothing is added before or after them.

        Args:
          special: read special tokens in a text as such: for trusted text only, such as a chat template. Otherwise they
            are plain text, so that a candidate that contains "<|im_end|>" cannot close its turn: the result has no
            special token except the unknown one, for characters that the vocabulary lacks. A token is special if the
            tokenizer's file or tokenizer_config.json says so, or if it is an added token that ends a generation; a
            single character never is. Added tokens that are not special (Qwen3's "<think>") are always read as
            tokens, as in transformers.
        """

    def count(self, texts: Sequence[str]) -> list[int]:
        """Counts the ids that `encode` makes of each text."""

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of token ids, without special tokens and without ids past the vocabulary."""


def is_here(folder: Path) -> bool:
    """Tells whether a folder holds a tokenizer, or a part of it."""
    return any((folder / name).exists() for name in _FILES)


def load(folder: Path, model: Path | None = None) -> TextTokenizer:
    """Reads a checkpoint's tokenizer: tokenizer.json, else tokenizer.model or spiece.model, or that of a GGUF file.

    Args:
      model: the model's folder or file, if its tokenizer is elsewhere.

    Raises:
      OSError: a file is unreadable.
      ValueError: there is no tokenizer, or it is broken; the message names the file.
    """
    if gguf_file.is_gguf(folder):
        header = gguf_file.read(folder)
        settings = gguf_tokenizer.settings(header)
        if gguf_tokenizer.is_sentencepiece(header):
            return _SentencePiece(folder, gguf_tokenizer.sentencepiece_model(header, settings), settings)
        return _Json(folder, gguf_tokenizer.tokenizer_json(header, settings), settings)
    path = folder / _JSON
    if path.exists():
        return _Json(path, read(path, dict[str, Any]), Settings.read(folder, model))
    for name in _SENTENCEPIECE:
        path = folder / name
        if path.exists():
            return _SentencePiece(path, path.read_bytes(), Settings.read(folder, model), t5=name == _SENTENCEPIECE[1])
    if (folder / "vocab.json").exists() and (folder / "merges.txt").exists():
        remedy = "transformers' AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR) makes one of them"
        raise ValueError(f"{folder}: vocab.json and merges.txt, but no {_JSON}; {remedy}")
    raise ValueError(f"{folder}: no {_JSON}, {' or '.join(_SENTENCEPIECE)}; copy them from the source of the weights")


def within(tokenizer: TextTokenizer, size: int) -> TextTokenizer:
    """Limits a tokenizer to ids below `size`: some checkpoints have tokens beyond their model's vocabulary (Gemma 3 1B,
    CodeLlama, a padding token added later), which is harmless as long as none of them occurs.

    Raises:
      ValueError: a token that begins or ends every text is beyond `size`.
    """
    if tokenizer.size <= size:
        return tokenizer
    begins, ends = tokenizer.bos or 0, tokenizer.eos
    if begins >= size or (ends and min(ends) >= size):
        raise ValueError(f"its tokenizer has {tokenizer.size} ids, but its model has {size}")
    return _Within(tokenizer, size)


class _Within:
    def __init__(self, tokenizer: TextTokenizer, size: int):
        self._tokenizer = tokenizer
        self.size = size
        self.bos = tokenizer.bos
        self.eos = frozenset(token for token in tokenizer.eos if token < size)

    def encode(self, texts: Sequence[str], *, special: bool = False) -> list[list[int]]:
        encoded = self._tokenizer.encode(texts, special=special)
        for ids in encoded:
            if ids and max(ids) >= self.size:
                raise ValueError(f"a text has token {max(ids)}, but the model has only {self.size} tokens")
        return encoded

    def count(self, texts: Sequence[str]) -> list[int]:
        return self._tokenizer.count(texts)

    def decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(ids)


class _Json:
    """`tokenizer.json`, read by the library `tokenizers`."""

    def __init__(self, path: Path, file: dict[str, Any], settings: Settings):
        self._path = path
        with _errors_name(path):
            special = _mark(file, settings.special, settings.eos)
            self._trusted = Tokenizer.from_str(msgspec.json.encode(file).decode())
            _hide(file, special)
            self._plain = Tokenizer.from_str(msgspec.json.encode(file).decode())
            whole = self._trusted.encode("a")
        self._plain.encode_special_tokens = True  # that is: as plain text
        for tokenizer in (self._trusted, self._plain):
            tokenizer.no_padding()
            tokenizer.no_truncation()
        self.size = 1 + max(self._trusted.get_vocab(with_added_tokens=True).values(), default=-1)
        wanted = settings.config.add_bos_token
        if wanted is None:
            put = whole.special_tokens_mask
            front = whole.ids[: put.index(0)] if 0 in put else []
            if len(front) > 1:
                raise ValueError(f"{path}: puts {len(front)} tokens before a text; at most one is supported")
            self.bos = front[0] if front else None
        else:
            self.bos = self._trusted.token_to_id(settings.named.get("bos_token", "")) if wanted else None
        end = self._trusted.token_to_id(settings.named.get("eos_token", ""))
        self.eos = frozenset(settings.eos or ([] if end is None else [end]))

    def encode(self, texts: Sequence[str], *, special: bool = False) -> list[list[int]]:
        with _errors_name(self._path):
            tokenizer = self._trusted if special else self._plain
            return [encoded.ids for encoded in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    def count(self, texts: Sequence[str]) -> list[int]:
        with _errors_name(self._path):
            return [len(encoded) for encoded in self._plain.encode_batch_fast(list(texts), add_special_tokens=False)]

    def decode(self, ids: Sequence[int]) -> str:
        with _errors_name(self._path):
            return str(self._trusted.decode(list(ids), skip_special_tokens=True))


@contextmanager
def _errors_name(path: Path) -> Iterator[None]:
    """Turns everything that the library raises, also panics of its Rust code, into an error that names the file."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ValueError(f"{path}: not a tokenizer ({one_line(error)})") from error


def _mark(file: dict[str, Any], special: Iterable[str], eos: Iterable[int]) -> set[str]:
    """Marks special tokens in a parsed tokenizer.json, also those that only tokenizer_config.json calls special.
    Returns the special tokens of more than one character."""
    added = {token["content"]: token for token in file.get("added_tokens") or []}
    vocabulary = file["model"]["vocab"]
    ids = vocabulary if isinstance(vocabulary, dict) else {piece: i for i, (piece, _) in enumerate(vocabulary)}
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    for content in special:
        if content not in added and content in ids:
            added[content] = {"id": ids[content], "content": content, **plain, "special": True}
    for content, token in added.items():
        token["special"] = token["special"] or content in special or token["id"] in eos
    file["added_tokens"] = sorted(added.values(), key=lambda token: int(token["id"]))
    return {content for content, token in added.items() if token["special"] and len(content) > 1}


def _hide(file: dict[str, Any], special: set[str]) -> None:
    """Renames the special tokens in a parsed tokenizer.json so that no text can produce them: a unigram model regards
    "</s>" as a piece like any other, and merges may lead to it too."""
    model = file["model"]

    def name(piece: str) -> str:
        return _OUT_OF_REACH + piece if piece in special else piece

    for token in file["added_tokens"]:
        token["content"] = name(token["content"])
    if isinstance(model["vocab"], dict):
        model["vocab"] = {name(piece): i for piece, i in model["vocab"].items()}
    else:
        model["vocab"] = [[name(piece), score] for piece, score in model["vocab"]]
    if model.get("unk_token") is not None:
        model["unk_token"] = name(model["unk_token"])
    if model.get("merges"):
        merges = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
        model["merges"] = [merge for merge in merges if special.isdisjoint((*merge, "".join(merge)))]
    file["post_processor"] = None  # knows the tokens by their names


class _SentencePiece:
    """`tokenizer.model` or `spiece.model`, read by the library `sentencepiece`, with the tokens that are added to it.

    If the classes of transformers 5 disagree, sentencepiece is followed, since the weights were trained with it. For
    Llama the official tokenizer.json agrees with it: a text that begins with a space or "▁" gets one more in front, and
    merges rank by score ("▁▁▁", "▁return", not "▁▁▁▁", "return"). For T5, U+0085 is not white space, and a combining
    mark after a character that NFKC replaces is not lost.
    """

    def __init__(self, path: Path, model: bytes, settings: Settings, *, t5: bool = False):
        from sentencepiece import SentencePieceProcessor  # the default judge does without

        try:
            if not model:
                raise RuntimeError("it is empty")
            self._first = SentencePieceProcessor(model_proto=model)
            self._rest = SentencePieceProcessor(model_proto=model + _NO_PREFIX)
            if not _is_whole(model):
                raise RuntimeError("it is cut off")
        except (RuntimeError, IndexError) as error:
            raise ValueError(f"{path}: not a SentencePiece model ({one_line(error)})") from error
        pieces = self._first.get_piece_size()
        # After a special token, Llama's newer checkpoints continue without a space; older ones and T5 with a space.
        self._after = self._first if t5 or settings.config.legacy else self._rest

        added = settings.added
        if t5 and not any(token.startswith("<extra_id_") for token in added):
            extra = settings.config.extra_ids
            added |= {f"<extra_id_{i}>": pieces + extra - 1 - i for i in range(extra)}
        control = {i for i in range(pieces) if self._first.is_control(i) or self._first.is_unknown(i)}
        known = {self._first.id_to_piece(i): i for i in range(pieces)}
        special = {token for token, i in added.items() if i in settings.eos or token.startswith("<extra_id_")}
        special |= {token for token in settings.special if token in added or token in known}
        special |= {self._first.id_to_piece(i) for i in control}
        ids = known | added

        self._tokens = {token: ids[token] for token in special | added.keys()}
        self._special = {self._tokens[token] for token in special}
        self._names = {i: token for token, i in added.items() if i not in self._special}
        self._any, self._open = _either(self._tokens), _either(self._names.values())
        # User-defined pieces match in any text: if they are special, the text is cut inside them.
        defined = {t for t in special if t in known and known[t] not in control and len(t) > 1}
        self._cut = re.compile(f"(?={'|'.join(map(re.escape, sorted(defined)))})") if defined else None

        self.size = max(pieces, 1 + max(added.values(), default=-1))
        bos = ids.get(settings.named.get("bos_token", ""), self._first.bos_id())
        self.bos = bos if bos >= 0 and settings.config.add_bos_token is not False else None
        end = ids.get(settings.named.get("eos_token", ""), self._first.eos_id())
        self.eos = frozenset(settings.eos or ([end] if end >= 0 else []))

    def encode(self, texts: Sequence[str], *, special: bool = False) -> list[list[int]]:
        return [self._encode(text, special) for text in texts]

    def count(self, texts: Sequence[str]) -> list[int]:
        return [len(self._encode(text, False)) for text in texts]

    def _encode(self, text: str, special: bool) -> list[int]:
        tokens, cut = (self._any, None) if special else (self._open, self._cut)
        ids: list[int] = []
        for i, part in enumerate(tokens.split(text) if tokens else [text]):
            if i % 2:
                ids.append(self._tokens[part])
                continue
            start, processor = 0, self._after if i else self._first
            for match in cut.finditer(part) if cut else ():
                ids += processor.encode(part[start : match.start() + 1])
                start, processor = match.start() + 1, self._rest
            ids += processor.encode(part[start:])
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        texts: list[str] = []
        run: list[int] = []
        for token in [*ids, -1]:
            if token in self._names or token < 0:
                texts.append((self._rest if texts else self._first).decode(run))
                texts.append(self._names.get(token, ""))
                run = []
            elif token not in self._special and token < self._first.get_piece_size():
                run.append(int(token))
        return "".join(texts)


def _is_whole(model: bytes) -> bool:
    """Tells whether a SentencePiece model is complete. The library reads one that is cut between two pieces as a
    model with fewer pieces, so the presence of the pieces (field 1), the training (2) and the normalisation (3) is
    checked."""
    at = 0
    while model[at : at + 1] in (b"\x0a", b"\x12"):
        size, shift, more = 0, 0, True
        while more:
            at += 1
            size |= (model[at] & 0x7F) << shift
            shift, more = shift + 7, model[at] > 0x7F
        at += 1 + size
    return model[at : at + 1] == b"\x1a"


def _either(texts: Iterable[str]) -> re.Pattern[str] | None:
    longest_first = sorted(filter(None, texts), key=len, reverse=True)
    return re.compile(f"({'|'.join(map(re.escape, longest_first))})") if longest_first else None
