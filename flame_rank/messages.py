"""Writes chat messages as one text, in the form that judges read, and reads that form.

A single message of a user is written as its content, and any other conversation is written message by message:

    [system]
    You answer in one word.

    [user]
    What is the weather in Oslo?

    [assistant]

    [call id="call_1" name="weather"]
    {"city": "Oslo"}

    [tool id="call_1"]
    rain

A line of a message that looks like such a heading has a backslash in front of it.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

Messages: TypeAlias = Sequence[Mapping[str, Any]]
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_SHARE_GPT = {
    "human": "user",
    "gpt": "assistant",
    "bing": "assistant",
    "observation": "tool",
    "function_call": "assistant",
}
_CONTENTS = ("content", "value", "refusal", "tool_calls", "function_call")  # a message has one of them
_TEXT_PARTS = ("text", "input_text", "output_text", "refusal")
_HEADING = rf"\[(?:{'|'.join(ROLES)}|call)(?: [^\]\n]*)?\]"
_LINE = re.compile(rf"^(\\*)(?={_HEADING}$)", re.MULTILINE)
_BLOCK = re.compile(rf"(?:\A|\n\n)({_HEADING})\n")
_FIELD = re.compile(r' (\w+)=("(?:[^"\\]|\\.)*")')


def is_messages(given: object) -> bool:
    """Tells whether a value is a list of chat messages: mappings with "role", or with "from" as ShareGPT has them."""
    return (
        isinstance(given, Sequence)
        and not isinstance(given, str | bytes)
        and bool(given)
        and all(isinstance(message, Mapping) and ("role" in message or "from" in message) for message in given)
    )


def to_text(messages: Messages) -> str:
    """Writes messages as one text.

    Args:
      messages: OpenAI's: role and content (a text, or parts of type text), tool_calls and tool_call_id; or ShareGPT's:
        from and value.

    Raises:
      ValueError: there are no messages, or a message has no content, content that is not text, such as an image, or an
        unknown role.
    """
    normal = normalised(messages)
    if len(normal) == 1 and [*normal[0]] == ["role", "content"] and normal[0]["role"] in ("user", "assistant"):
        content: str = normal[0]["content"]
        if normal[0]["role"] == "assistant" or not _LINE.search(content):
            return content
    return _written(normal)


def _written(normal: Sequence[Mapping[str, Any]]) -> str:
    blocks = []
    for message in normal:
        fields = {"id": message.get("tool_call_id"), "name": message.get("name")}
        blocks.append(f"{_heading(message['role'], fields)}\n{_LINE.sub(_escaped, message['content'])}")
        for call in message.get("tool_calls", ()):
            heading = _heading("call", {"id": call.get("id"), "name": call["function"]["name"]})
            blocks.append(f"{heading}\n{_LINE.sub(_escaped, call['function']['arguments'])}")
    return "\n\n".join(blocks)


def _heading(kind: str, fields: Mapping[str, str | None]) -> str:
    given = "".join(f" {name}={_quoted(value)}" for name, value in fields.items() if value is not None)
    return f"[{kind}{given}]"


def _quoted(value: str) -> str:
    return json.dumps(value).replace("]", "\\u005d")


def _escaped(line: re.Match[str]) -> str:
    return f"\\{line[1]}"


def from_text(text: str) -> list[dict[str, Any]]:
    """Reads a text that `to_text` has written; a text without headings is a message of a user."""
    if not _BLOCK.match(text):
        return [{"role": "user", "content": text}]
    _, *parts = _BLOCK.split(text)
    messages: list[dict[str, Any]] = []
    for heading, body in zip(parts[::2], parts[1::2], strict=True):
        kind = re.match(r"\[(\w+)", heading)
        assert kind is not None, "a heading has a kind"
        try:
            fields = {name: json.loads(value) for name, value in _FIELD.findall(heading)}
        except ValueError:  # a user's own text, which to_text has not written
            return [{"role": "user", "content": text}]
        content = _LINE.sub(lambda line: line[1][1:], body)
        if kind[1] == "call" and messages:
            own = {"id": fields["id"]} if "id" in fields else {}
            function = {"name": fields.get("name", ""), "arguments": content}
            messages[-1].setdefault("tool_calls", []).append({**own, "type": "function", "function": function})
            continue
        message = {"role": kind[1], "content": content}
        if "id" in fields:
            message["tool_call_id"] = fields["id"]
        if "name" in fields:
            message["name"] = fields["name"]
        messages.append(message)
    return messages


def normalised(messages: Messages) -> list[dict[str, Any]]:
    """Reduces messages to the fields that are judged: role, content as a text, tool calls, and the call that a result
    answers.

    Raises:
      ValueError: as in `to_text`.
    """
    if not is_messages(messages):
        raise ValueError('not a list of messages; a message is {"role": ..., "content": ...}')
    return [_normal(message, i) for i, message in enumerate(messages)]


def _normal(given: Mapping[str, Any], i: int) -> dict[str, Any]:
    share_gpt = "role" not in given
    role = given["from" if share_gpt else "role"]
    role = _SHARE_GPT.get(role, role) if share_gpt else role
    if role not in ROLES:
        raise ValueError(f"message {i} has the role {role!r}; it must be one of {', '.join(ROLES)}")
    message: dict[str, Any] = {"role": role, "content": content(given, f"message {i}")}
    if not any(name in given for name in _CONTENTS):
        raise ValueError(f'message {i} has no "content"; add one, a text')
    calls = given.get("tool_calls") or ([{"function": given["function_call"]}] if given.get("function_call") else [])
    if not isinstance(calls, list):
        raise ValueError(f'message {i}: its "tool_calls" are a {type(calls).__name__}; they must be a list')
    if calls:
        message["tool_calls"] = [_call(call, i) for call in calls]
    for name in ("tool_call_id", "name"):
        if isinstance(given.get(name), str):
            message[name] = given[name]
    return message


def content(message: Mapping[str, Any], what: str) -> str:
    """Returns a message's content as a text, or its refusal if it has no content.

    Raises:
      ValueError: the message has content that is not text, such as an image.
    """
    stated = message.get("content", message.get("value"))
    if stated is None:
        stated = message.get("refusal") or ""
    if isinstance(stated, str):
        return stated
    if not isinstance(stated, Sequence):
        raise ValueError(f"{what}: its content is a {type(stated).__name__}; it must be a text or a list of parts")
    pieces = []
    for part in stated:
        kind = str(part.get("type", "text") if isinstance(part, Mapping) else type(part).__name__)
        text = part.get("text", part.get("refusal")) if isinstance(part, Mapping) and kind in _TEXT_PARTS else None
        if not isinstance(text, str):
            article = "an" if "image" in kind or "audio" in kind else "a"
            noun = "image" if "image" in kind else "audio" if "audio" in kind else f"part of type {kind!r}"
            raise ValueError(f"{what} has {article} {noun} in it; only text is judged: leave it out, or describe it")
        pieces.append(text)
    return "".join(pieces)


def _call(given: Any, i: int) -> dict[str, Any]:
    function = given.get("function", given) if isinstance(given, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise ValueError(f'message {i} has a tool call without a function\'s "name"')
    arguments = function.get("arguments", "")
    own = {"id": given["id"]} if isinstance(given.get("id"), str) else {}
    written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return {**own, "type": "function", "function": {"name": function["name"], "arguments": written}}
