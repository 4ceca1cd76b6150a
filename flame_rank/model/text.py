"""Text to token ids and back for a Hugging Face checkpoint, and its chat template, in one place for judge and trainer.
Must agree with transformers, where that agrees with the library that the checkpoint was trained with.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

import msgspec

_JSON, _SENTENCEPIECE = "tokenizer.json", ("tokenizer.model", "spiece.model")
_CONFIG, _TEMPLATE = "tokenizer_config.json", "chat_template.jinja"
T = TypeVar("T")

# A serialised protocol buffer may be continued: these bytes are a normalizer_spec with add_dummy_prefix false.
_NO_PREFIX = b"\x1a\x02\x18\x00"
# Before a token's name: spaces are "▁" or "Ġ" or gone by the time that a model looks for its pieces.
_OUT_OF_REACH = " "
_TODAY = (2024, 7, 26)  # for templates that ask; Llama's take this day where they are given none


class TextTokenizer(Protocol):
    """What a checkpoint makes of text.

    Attributes:
      bos: the id that the checkpoint wants before everything; None where it wants none (Qwen, T5).
      eos: the ids that end a generation.
      size: the largest id plus one.
    """

    bos: int | None
    eos: frozenset[int]
    size: int

    def encode(self, texts: Sequence[str], *, special: bool = False) -> list[list[int]]:
        """Reads texts; nothing is put before or behind them.

        Args:
          special: special tokens in a text are read as such. For trusted text only, such as a chat template. Otherwise
            they are plain text, so that a candidate with "<|im_end|>" in it cannot close its turn: no special token
            comes out, but the unknown one, for characters that the vocabulary lacks. Special is what the tokenizer's
            file or tokenizer_config.json says is, and an added token that ends a generation; a single character never
            is. Added tokens that are not special (Qwen3's "<think>") are read as tokens either way, as in transformers.
        """

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, without special tokens and without ids past the vocabulary."""


def load(folder: Path) -> TextTokenizer:
    """Reads a checkpoint's tokenizer: tokenizer.json, else tokenizer.model or spiece.model.

    Raises:
      OSError: a file is unreadable.
      ValueError: there is none, or it is broken, or the library for it is missing; the message names the file.
    """
    if (folder / _JSON).exists():
        return _Json(folder)
    for name in _SENTENCEPIECE:
        if (folder / name).exists():
            return _SentencePiece(folder, name)
    raise ValueError(f"{folder}: no {_JSON}, {' or '.join(_SENTENCEPIECE)}; copy them from where the weights are from")


class _Json:
    """`tokenizer.json`, read by the library `tokenizers`."""

    def __init__(self, folder: Path):
        from tokenizers import Tokenizer

        path = folder / _JSON
        settings, file = _Settings(folder), _read(path, dict[str, Any])
        try:
            special = _mark(file, settings.special, settings.eos)
            self._trusted = Tokenizer.from_str(msgspec.json.encode(file).decode())
            _hide(file, special)
            self._plain = Tokenizer.from_str(msgspec.json.encode(file).decode())
        except Exception as error:  # the library raises nothing more special
            raise ValueError(f"{path}: not a tokenizer ({_line(error)})") from error
        self._plain.encode_special_tokens = True  # that is: as plain text
        for tokenizer in (self._trusted, self._plain):
            tokenizer.no_padding()
            tokenizer.no_truncation()
        self.size = 1 + max(self._trusted.get_vocab(with_added_tokens=True).values(), default=-1)
        wanted = settings.config.add_bos_token
        if wanted is None:
            bare, full = (self._trusted.encode("a", add_special_tokens=add).ids for add in (False, True))
            front = full[: _find(full, bare)]
            if len(front) > 1:
                raise ValueError(f"{path}: puts {len(front)} tokens before a text; at most one is supported")
            self.bos = front[0] if front else None
        else:
            self.bos = self._trusted.token_to_id(settings.named.get("bos_token", "")) if wanted else None
        end = self._trusted.token_to_id(settings.named.get("eos_token", ""))
        self.eos = frozenset(settings.eos or ([] if end is None else [end]))

    def encode(self, texts: Sequence[str], *, special: bool = False) -> list[list[int]]:
        tokenizer = self._trusted if special else self._plain
        return [encoded.ids for encoded in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._trusted.decode(list(ids), skip_special_tokens=True))


def _mark(file: dict[str, Any], special: Iterable[str], eos: Iterable[int]) -> set[str]:
    """Flags special tokens in a parsed tokenizer.json, also those that only tokenizer_config.json calls so. Returns all
    of more than one character."""
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
    """Renames the special tokens in a parsed tokenizer.json so that no text comes near them: a unigram model takes
    "</s>" for a piece like any other, and merges may lead to it as well."""
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

    Two readings are those of sentencepiece, which the weights were trained with, and not of transformers 5: Llama's of
    a text that begins with a space or "▁" (one more is put in front, as the official tokenizer.json does), and T5's of
    U+0085 (no white space) and of combining marks after a sign that NFKC replaces.
    """

    def __init__(self, folder: Path, name: str):
        try:
            from sentencepiece import SentencePieceProcessor
        except ImportError as error:
            raise ValueError(f"{folder / name}: needs the library sentencepiece (pip install sentencepiece)") from error
        path, settings = folder / name, _Settings(folder)
        model = path.read_bytes()
        try:
            if not model:
                raise RuntimeError("it is empty")
            self._first = SentencePieceProcessor(model_proto=model)
            self._rest = SentencePieceProcessor(model_proto=model + _NO_PREFIX)
        except RuntimeError as error:
            raise ValueError(f"{path}: not a SentencePiece model ({_line(error)})") from error
        pieces = self._first.get_piece_size()
        t5 = name == _SENTENCEPIECE[1]
        # After a special token Llama's newer checkpoints go on without a space, older ones and T5 with one.
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
        # Pieces that users define are found in any text: where they are special, the text is cut inside them.
        found = {t for t in special if t in known and known[t] not in control and len(t) > 1}
        self._cut = re.compile(f"(?={'|'.join(map(re.escape, sorted(found)))})") if found else None

        self.size = max(pieces, 1 + max(added.values(), default=-1))
        bos = ids.get(settings.named.get("bos_token", ""), self._first.bos_id())
        self.bos = bos if bos >= 0 and settings.config.add_bos_token is not False else None
        end = ids.get(settings.named.get("eos_token", ""), self._first.eos_id())
        self.eos = frozenset(settings.eos or ([end] if end >= 0 else []))

    def encode(self, texts: Sequence[str], *, special: bool = False) -> list[list[int]]:
        return [self._encode(text, special) for text in texts]

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


class ChatTemplate:
    """A checkpoint's own way to put a message to it.

    The text around a message is trusted and read with `special=True`. It holds the BOS where the template wants one:
    with a template the caller puts no `bos` in front; without a template it does.
    """

    def __init__(self, path: Path, source: str, tokens: Mapping[str, str]):
        """Args:
        path: the file that it is from, for messages.
        source: Jinja, as transformers reads it.
        tokens: what it may name, such as {"bos_token": "<s>"}.

        Raises:
          ValueError: it is no Jinja, or the library is missing.
        """
        self.path, self._tokens = path, dict(tokens)
        self._template = _compile(path, source)

    def render(self, content: str) -> str:
        """The text of one user message up to where the answer begins. Templates that ask for the date get the same one
        every day, those that can think are told not to (for Qwen3 an empty thinking block is part of the text).

        Raises:
          ValueError: the template fails, or refuses a lone user message.
        """
        try:
            return str(
                self._template.render(
                    messages=[{"role": "user", "content": content}],
                    add_generation_prompt=True,
                    enable_thinking=False,
                    tools=None,
                    documents=None,
                    **self._tokens,
                )
            )
        except Exception as error:  # a template can divide by zero
            raise ValueError(f"{self.path}: the chat template refuses a lone user message ({_line(error)})") from error

    def around(self) -> tuple[str, str]:
        """The text before and after the content of a user message.

        Raises:
          ValueError: as `render`, or the template alters or loses the content.
        """
        marker = "INSTRUCTIONS:\n  the  'one' \"message\" & <no> {{ other }}\n\nEVALUATION: 1"
        before, *after = self.render(marker).split(marker)
        if len(after) != 1:
            how = "repeats" if after else "alters or leaves out"
            raise ValueError(f"{self.path}: the chat template {how} the content of a user message")
        return before, after[0]


def chat_template(folder: Path) -> ChatTemplate | None:
    """A checkpoint's chat template, from chat_template.jinja or tokenizer_config.json; None where it has none.

    Raises:
      OSError: a file is unreadable.
      ValueError: the template cannot be used; the message names the file.
    """
    settings, path = _Settings(folder), folder / _TEMPLATE
    if path.exists():
        try:
            return ChatTemplate(path, path.read_text(encoding="utf-8"), settings.named)
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: not UTF-8 ({_line(error)})") from error
    path, source = folder / _CONFIG, settings.config.chat_template
    if isinstance(source, list):
        named = {one.name: one.template for one in source}
        source = named.get("default")
        if named and source is None:
            raise ValueError(f'{path}: none of its chat templates has the name "default"')
    return ChatTemplate(path, source, settings.named) if source else None


def _compile(path: Path, source: str) -> Any:
    import json
    from datetime import date

    try:
        import jinja2.ext
        import jinja2.sandbox
    except ImportError as error:
        raise ValueError(f"{path}: its chat template needs the library jinja2 (pip install jinja2)") from error

    class Generation(jinja2.ext.Extension):
        """{% generation %}: marks what a trainer learns; says nothing here."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    def tojson(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, **options)  # jinja's own escapes HTML

    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols, Generation]
    )
    environment.filters["tojson"] = tojson
    environment.globals |= {"raise_exception": raise_exception, "strftime_now": date(*_TODAY).strftime}
    try:
        return environment.from_string(source)
    except Exception as error:  # TemplateSyntaxError, and RecursionError for one nested too deep
        raise ValueError(f"{path}: the chat template is no Jinja ({_line(error)})") from error


class _Token(msgspec.Struct, frozen=True):
    content: str
    special: bool = False


_Named: TypeAlias = str | _Token
_Several: TypeAlias = list[_Named] | dict[str, _Named] | None


class _Template(msgspec.Struct):
    name: str
    template: str


class _Config(msgspec.Struct):
    """What counts of tokenizer_config.json, and of the special_tokens_map.json of older checkpoints."""

    bos_token: _Named | None = None
    eos_token: _Named | None = None
    unk_token: _Named | None = None
    sep_token: _Named | None = None
    pad_token: _Named | None = None
    cls_token: _Named | None = None
    mask_token: _Named | None = None
    additional_special_tokens: _Several = None
    extra_special_tokens: _Several = None
    added_tokens_decoder: dict[int, _Token] = {}
    add_bos_token: bool | None = None
    legacy: bool | None = None
    extra_ids: int = 100
    chat_template: str | list[_Template] | None = None


class _Ends(msgspec.Struct):
    """What counts of generation_config.json and config.json."""

    eos_token_id: int | list[int] | None = None
    text_config: "_Ends | None" = None


class _Settings:
    """What the files beside a tokenizer say.

    Attributes:
      named: special tokens with a role, as {"bos_token": "<s>"}.
      special: all that are called special, whether the tokenizer has them or not.
      added: ids of the tokens that come on top of a SentencePiece model.
      eos: the ids that end a generation; [] where the model's files say nothing.
    """

    def __init__(self, folder: Path):
        self.config = _read(folder / _CONFIG, _Config)
        older = _read(folder / "special_tokens_map.json", _Config)
        roles = [role for role in _Config.__struct_fields__ if role.endswith("_token") and role != "add_bos_token"]
        found = {role: getattr(self.config, role) or getattr(older, role) for role in roles}
        self.named = {role: _content(token) for role, token in found.items() if token is not None}
        decoder = self.config.added_tokens_decoder
        self.added = _read(folder / "added_tokens.json", dict[str, int])
        self.added |= {token.content: i for i, token in decoder.items()}
        special = {*self.named.values(), *(token.content for token in decoder.values() if token.special)}
        for config in (self.config, older):
            for several in (config.additional_special_tokens, config.extra_special_tokens):
                special |= set(map(_content, several.values() if isinstance(several, dict) else several or ()))
        self.special = {token for token in special if len(token) > 1}  # some pad with "!" or "0": that stays text
        model = _read(folder / "config.json", _Ends)
        ends = [_read(folder / "generation_config.json", _Ends), model, model.text_config or _Ends()]
        eos = next((end.eos_token_id for end in ends if end.eos_token_id is not None), [])
        self.eos = [eos] if isinstance(eos, int) else eos


def _content(token: _Named) -> str:
    return token if isinstance(token, str) else token.content


def _read(path: Path, kind: type[T]) -> T:
    """A JSON object; an empty one where there is no such file."""
    if not path.exists():
        return kind()
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {_line(error)}") from error


def _find(ids: Sequence[int], part: Sequence[int]) -> int:
    """Where `part` begins in `ids`."""
    return next((i for i in range(len(ids)) if ids[i : i + len(part)] == part), 0)


def _either(texts: Iterable[str]) -> re.Pattern[str] | None:
    longest_first = sorted(filter(None, texts), key=len, reverse=True)
    return re.compile(f"({'|'.join(map(re.escape, longest_first))})") if longest_first else None


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
