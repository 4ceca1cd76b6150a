"""What the lines of all formats come to, and the values that their fields have in common: texts and messages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import msgspec

from flame_rank import messages

Raw = msgspec.Raw
Fields: TypeAlias = Mapping[str, Raw]  # of a line, undecoded

RAWS = msgspec.json.Decoder(list[Raw])
OBJECT = msgspec.json.Decoder(dict[str, Raw])
_STRING = msgspec.json.Decoder(str)
_ANY = msgspec.json.Decoder()
_MESSAGES = msgspec.json.Decoder(list[dict[str, Any]])
_KINDS = {"{": "an object", "[": "a list", '"': "a string", "t": "true", "f": "false", "n": "null"}


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """What a line holds.

    Attributes:
      prompt: the prompt, as the judge reads it.
      candidates: the candidates' texts; a single one if the line is a sample.
      originals: each candidate as the line has it: a string, messages or an object.
      messages: the prompt as the line has it, if that is a list of messages; None if it is a text.
      implicit: the prompt is the start of each candidate's messages.
      name: what the line calls the problem; None if it has no name.
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
        """What `--from` calls it."""

    def fits(self, fields: Fields) -> bool:
        """Says whether a line has the shape of this format."""

    def flat(self, fields: Fields) -> bool:
        """Says whether a line is a sample, whose problem is all lines with its prompt."""

    def parse(self, fields: Fields) -> Parsed:
        """Makes sense of a line.

        Raises:
          ValueError: it is not what this format has; the message says what to do.
        """


def kind(raw: Raw) -> str:
    """What a JSON value is, by its first character."""
    return _KINDS.get(chr(memoryview(raw)[0]), "a number")


def decoded(raw: Raw) -> Any:
    """Decodes a JSON value."""
    return _ANY.decode(raw)


def needed(fields: Fields, key: str, tool: str) -> Raw:
    """The value of a field that a line of this tool has."""
    if key not in fields:
        raise ValueError(f'no "{key}", which a line of {tool} has; mend or remove the line')
    return fields[key]


def strings(raw: Raw, what: str) -> list[str]:
    """The strings of a list, of which there is at least one."""
    if kind(raw) != "a list":
        raise ValueError(f"{what} is {kind(raw)}, not a list of strings; mend or remove the line")
    texts = []
    for i, item in enumerate(RAWS.decode(raw)):
        if kind(item) != "a string":
            raise ValueError(f"{what}[{i}] is {kind(item)}, not a string; remove it, or the line")
        texts.append(_STRING.decode(item))
    if not texts:
        raise ValueError(f"{what} is empty; remove the line")
    return texts


def text(raw: Raw, what: str) -> str:
    """A string, or a list of messages as a text."""
    if kind(raw) == "a string":
        return _STRING.decode(raw)
    if kind(raw) == "a list":
        return conversation(_messages(raw, what), what)
    raise ValueError(f"{what} is {kind(raw)}; it is a string or a list of messages")


def conversation(given: list[dict[str, Any]], what: str) -> str:
    """Messages as a text; of a single message, its content."""
    try:
        return messages.to_text(given)
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None


def start_in_common(first: Raw, second: Raw, what: str) -> tuple[str, str, str]:
    """The messages that two conversations begin with, as a text, and what each one goes on with."""
    one, other = _messages(first, what), _messages(second, what)
    shared = 0
    while shared < min(len(one), len(other)) - 1 and one[shared] == other[shared]:
        shared += 1
    if not shared:
        raise ValueError(f'{what}: the two conversations do not begin alike, and there is no "prompt"; add one')
    return (
        conversation(one[:shared], what),
        conversation(one[shared:], what),
        conversation(other[shared:], what),
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
