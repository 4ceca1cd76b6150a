"""Reads the files beside a tokenizer, as transformers writes them: tokenizer_config.json, the older
special_tokens_map.json and added_tokens.json, and the ids that end a generation from the model's files.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeAlias, TypeVar

import msgspec

from flame_rank.io import json_file

CONFIG = "tokenizer_config.json"
T = TypeVar("T")


class Token(msgspec.Struct, frozen=True):
    content: str
    special: bool = False


_Named: TypeAlias = str | Token
_Several: TypeAlias = list[_Named] | dict[str, _Named] | None


class Template(msgspec.Struct):
    name: str
    template: str


class Config(msgspec.Struct):
    """The keys of tokenizer_config.json and special_tokens_map.json that are used."""

    bos_token: _Named | None = None
    eos_token: _Named | None = None
    unk_token: _Named | None = None
    sep_token: _Named | None = None
    pad_token: _Named | None = None
    cls_token: _Named | None = None
    mask_token: _Named | None = None
    additional_special_tokens: _Several = None
    extra_special_tokens: _Several = None
    added_tokens_decoder: dict[int, Token] = {}
    add_bos_token: bool | None = None
    legacy: bool | None = None
    extra_ids: int = 100
    chat_template: str | list[Template] | None = None


_ROLES = [name for name in Config.__struct_fields__ if name.endswith("_token") and name != "add_bos_token"]


class _Ends(msgspec.Struct):
    """The keys of generation_config.json and config.json that are used."""

    eos_token_id: int | list[int] | None = None
    text_config: "_Ends | None" = None


@dataclass(kw_only=True)
class Settings:
    """The settings in the files beside a tokenizer.

    Attributes:
      config: tokenizer_config.json.
      named: special tokens with a role, such as {"bos_token": "<s>"}.
      special: all tokens that a file calls special, even if the tokenizer lacks them.
      added: the ids of the tokens that are added to a SentencePiece model.
      eos: the ids that end a generation; [] if the model's files do not state them.
    """

    config: Config
    named: dict[str, str]
    special: set[str]
    added: dict[str, int]
    eos: list[int]

    @classmethod
    def read(cls, folder: Path, model: Path | None = None) -> Self:
        """Reads the files of a checkpoint directory.

        Args:
          model: the model's folder or file, if its tokenizer is elsewhere.

        Raises:
          OSError: a file is unreadable.
          ValueError: a file is broken; the message names it.
        """
        config = read(folder / CONFIG, Config)
        older = read(folder / "special_tokens_map.json", Config)
        tokens = {role: getattr(config, role) or getattr(older, role) for role in _ROLES}
        named = {role: _content(token) for role, token in tokens.items() if token is not None}
        decoder = config.added_tokens_decoder
        added = read(folder / "added_tokens.json", dict[str, int])
        added |= {token.content: i for i, token in decoder.items()}
        special = {*named.values(), *(token.content for token in decoder.values() if token.special)}
        for stated in (config, older):
            for several in (stated.additional_special_tokens, stated.extra_special_tokens):
                special |= set(map(_content, several.values() if isinstance(several, dict) else several or ()))
        place = model or folder
        own = read(place / "config.json", _Ends)
        ends = [read(place / "generation_config.json", _Ends), own, own.text_config or _Ends()]
        eos = next((end.eos_token_id for end in ends if end.eos_token_id is not None), [])
        return cls(
            config=config,
            named=named,
            special={
                token for token in special if len(token) > 1
            },  # some checkpoints pad with "!" or "0", which stays text
            added=added,
            eos=[eos] if isinstance(eos, int) else eos,
        )


def _content(token: _Named) -> str:
    return token if isinstance(token, str) else token.content


def read(path: Path, kind: type[T]) -> T:
    """Reads a JSON object; an empty one if there is no such file.

    Raises:
      OSError: the file is unreadable.
      ValueError: the file is not a JSON object of this type; the message names it.
    """
    return json_file.read(path, kind) if path.exists() else kind()
