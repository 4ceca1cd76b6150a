"""Reads the values of a JSON object that make a problem: prompts, candidates, conversations."""

from collections.abc import Mapping
from dataclasses import replace

import msgspec

from flame_rank.io.formats.base import kind_of, text
from flame_rank.records import TEXT_KEYS, Candidate, RawFields

Raw = msgspec.Raw
MESSAGES_KEYS = ("messages", "conversations")  # the prompt as messages, if there is no "prompt"
_OBJECT = msgspec.json.Decoder(dict[str, Raw])
_RAWS = msgspec.json.Decoder(list[Raw])
_STRINGS = msgspec.json.Decoder(list[str])
_STRING = msgspec.json.Decoder(str)


def other_format(fields: Mapping[str, Raw]) -> str | None:
    """Describes a line in a common format that is not a problem; None for any other line."""
    if "custom_id" in fields and "body" in fields:
        return "a request of a batch, without its answers; name the batch's output, and this file by --requests"
    if "messages" in fields or "conversations" in fields:
        return 'a conversation, without answers to choose from; give the answers as a list, "candidates"'
    return None


def read_candidates(raw: Raw) -> list[str | Candidate]:
    """Reads the candidates of a grouped line: strings, or objects with a text."""
    try:
        return list(_STRINGS.decode(raw))
    except msgspec.ValidationError:
        pass
    candidates: list[str | Candidate] = []
    for i, item in enumerate(_RAWS.decode(raw)):
        kind = kind_of(item)
        if kind == "a string":
            candidates.append(_STRING.decode(item))
        elif kind == "a list":
            candidates.append(read_answer(item, f"candidate {i}"))
        elif kind == "an object":
            try:
                candidates.append(read_candidate(_OBJECT.decode(item)))
            except ValueError as error:
                raise ValueError(f"candidate {i}: {error}") from None
        else:
            raise ValueError(f'candidate {i} is {kind}; it must be a string, chat messages or an object with "text"')
    return candidates


def read_turns(fields: Mapping[str, Raw]) -> str | None:
    """Returns the name of the field that holds the prompt as chat messages; None if there is none. Rows of a table have
    null in the columns of other rows, so null counts only if there is nothing else."""
    there = [key for key in ("prompt", *MESSAGES_KEYS) if key in fields]
    key = next((key for key in there if kind_of(fields[key]) != "null"), there[0] if there else None)
    return None if key == "prompt" and kind_of(fields[key]) != "a list" else key


def raw_messages(fields: Mapping[str, Raw]) -> Raw | None:
    """Returns the prompt's messages, undecoded; None if the prompt is a text."""
    turns = read_turns(fields)
    return None if turns is None else fields[turns]


def read_answer(raw: Raw, what: str) -> Candidate:
    """Makes a candidate from a list of messages."""
    return Candidate(text=text(raw, what), fields=RawFields({"messages": raw}))


def read_candidate(fields: Mapping[str, Raw]) -> Candidate:
    """Makes a candidate from an object with a text, or from a message."""
    key = next((key for key in TEXT_KEYS if key in fields), None)
    if key is not None and kind_of(fields[key]) == "a list":
        answer = read_answer(fields[key], f'"{key}"')
        return replace(answer, fields=RawFields({name: value for name, value in fields.items() if name != key}))
    if key is None and "role" in fields and "content" in fields:
        raw = Raw(b"[" + msgspec.json.encode(dict(fields)) + b"]")
        return read_answer(raw, "the message")
    if key is None:
        raise ValueError(f"no text; give it as {either(TEXT_KEYS)}")
    rest = {name: value for name, value in fields.items() if name != key}
    return Candidate(text=read_string(fields, key, "; make it one, or remove it"), fields=RawFields(rest), key=key)


def read_string(fields: Mapping[str, Raw], key: str, remedy: str) -> str:
    try:
        return _STRING.decode(fields[key])
    except msgspec.ValidationError:
        raise ValueError(f'"{key}" is {kind_of(fields[key])}, not a string{remedy}') from None


def either(names: tuple[str, ...]) -> str:
    return ", ".join(f'"{name}"' for name in names[:-1]) + f' or "{names[-1]}"'
