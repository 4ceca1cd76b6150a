"""What every format makes of a line, and how texts and messages in its fields are read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import msgspec

from flame_rank import messages

Raw = msgspec.Raw
Fields: TypeAlias = Mapping[str, Raw]  # the fields of a line, undecoded

RAWS = msgspec.json.Decoder(list[Raw])
OBJECT = msgspec.json.Decoder(dict[str, Raw])
_STRING = msgspec.json.Decoder(str)
_ANY = msgspec.json.Decoder()
_MESSAGES = msgspec.json.Decoder(list[dict[str, Any]])
_KINDS = {"{": "an object", "[": "a list", '"': "a string", "t": "true", "f": "false", "n": "null"}


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """A line as any format reads it.

    Attributes:
      prompt: the prompt, as the judge reads it.
      candidates: the candidates' texts; only one if the line is a sample.
      originals: each candidate as it is in the line: a string, messages or an object.
      messages: the prompt as it is in the line, if it is a list of messages; None if it is a text.
      implicit: whether the prompt is the common start of the candidates' messages.
      name: the problem's name in the line; None if it has none.
    """

    prompt: str
    candidates: Sequence[str]
    originals: Sequence[Raw]
    messages: Raw | None = None
    implicit: bool = False
    name: str | int | None = None


class Format(Protocol):
    """The lines of one tool."""

    @property
    def name(self) -> str:
        """The format's name for `--from`."""

    def fits(self, fields: Fields) -> bool:
        """Tells whether a line has the fields of this format."""

    def flat(self, fields: Fields) -> bool:
        """Tells whether a line is one sample; the lines with the same prompt then make a problem."""

    def parse(self, fields: Fields) -> Parsed:
        """Reads a line.

        Raises:
          ValueError: the line does not fit the format; the message says what to do.
        """


def kind_of(raw: Raw) -> str:
    """Names the type of a JSON value, by its first character."""
    return _KINDS.get(chr(memoryview(raw)[0]), "a number")


def decoded(raw: Raw) -> Any:
    """Decodes a JSON value."""
    return _ANY.decode(raw)


def needed(fields: Fields, key: str, tool: str) -> Raw:
    """Returns the value of a field that every line of this tool has.

    Raises:
      ValueError: the field is missing.
    """
    if key not in fields:
        raise ValueError(f'no "{key}", which a line of {tool} has; mend or remove the line')
    return fields[key]


def strings(raw: Raw, what: str) -> list[str]:
    """Decodes a list of strings, which must not be empty."""
    if kind_of(raw) != "a list":
        raise ValueError(f"{what} is {kind_of(raw)}, not a list of strings; mend or remove the line")
    texts = []
    for i, item in enumerate(RAWS.decode(raw)):
        if kind_of(item) != "a string":
            raise ValueError(f"{what}[{i}] is {kind_of(item)}, not a string; remove it, or the line")
        texts.append(_STRING.decode(item))
    if not texts:
        raise ValueError(f"{what} is empty; remove the line")
    return texts


def text(raw: Raw, what: str) -> str:
    """Decodes a string, or a list of messages, which becomes one text."""
    if kind_of(raw) == "a string":
        return _STRING.decode(raw)
    if kind_of(raw) == "a list":
        return conversation(_messages(raw, what), what)
    raise ValueError(f"{what} is {kind_of(raw)}; it must be a string or a list of messages")


def conversation(given: list[dict[str, Any]], what: str) -> str:
    """Writes messages as one text; the text of a single message is its content."""
    try:
        return messages.to_text(given)
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None


def start_in_common(first: Raw, second: Raw, what: str) -> tuple[str, str, str]:
    """Returns the common start of two conversations as a text, and the rest of each."""
    first_turns, second_turns = _messages(first, what), _messages(second, what)
    shared = 0
    while shared < min(len(first_turns), len(second_turns)) - 1 and first_turns[shared] == second_turns[shared]:
        shared += 1
    if not shared:
        raise ValueError(f'{what}: the two conversations begin differently, and there is no "prompt"; add one')
    return (
        conversation(first_turns[:shared], what),
        conversation(first_turns[shared:], what),
        conversation(second_turns[shared:], what),
    )


def _messages(raw: Raw, what: str) -> list[dict[str, Any]]:
    try:
        given: list[dict[str, Any]] = _MESSAGES.decode(raw)
    except msgspec.ValidationError:
        raise ValueError(f'{what} is a list, but not of messages ({{"role": ..., "content": ...}})') from None
    if not messages.is_messages(given):
        missing = 'has a message without a "role"' if given else "has no message"
        raise ValueError(f'{what} {missing}; a message is {{"role": ..., "content": ...}}')
    return given
