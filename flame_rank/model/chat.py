"""A checkpoint's chat template, for judge and trainer alike. It must render as transformers does, with the same Jinja
settings, filters and functions."""

import json
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from functools import wraps
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox

from flame_rank.io.json_file import one_line
from flame_rank.messages import Messages
from flame_rank.model.gguf import tokenizer as gguf_tokenizer
from flame_rank.model.gguf.file import is_gguf
from flame_rank.model.gguf.file import read as read_header
from flame_rank.model.tokenizer_settings import CONFIG, Settings

_FILE = "chat_template.jinja"
_LARGE = 10_000_000  # characters, or a number that makes as many
_SECONDS = 5.0
# A message that no template writes itself, with what a careless one would alter.
_MARKER = "INSTRUCTIONS:\n  the  'one' \"message\" & <no> {{ other }}\n\nEVALUATION: 1"
# What a template may read about thinking, for a model that is not to think and for one that is: Qwen 3, GLM and Gemma
# read enable_thinking, DeepSeek and Granite thinking. Servers take the same.
THINKING: dict[bool, dict[str, Any]] = {think: {"enable_thinking": think, "thinking": think} for think in (False, True)}
_TODAY = date(2024, 7, 26)  # for templates that ask; Llama's use this day if they are given none


class Written(NamedTuple):
    """A conversation as a template writes it.

    Attributes:
      around: the template's own text before, between and after the contents; it includes tool calls.
      contents: the texts of messages as the template writes them, in its order.
      message: the index of the message that each content belongs to.
    """

    around: tuple[str, ...]
    contents: tuple[str, ...]
    message: tuple[int, ...]


class ChatTemplate:
    """How a checkpoint wants messages to be written.

    The text around messages is trusted and read with `special=True`. It contains the BOS if the template wants one:
    the caller adds a `bos` only if there is no template.
    """

    def __init__(self, path: Path, source: str, tokens: Mapping[str, str]):
        """Args:
        path: the template's file, for messages.
        source: Jinja, as transformers reads it.
        tokens: the special tokens that it may use, such as {"bos_token": "<s>"}.

        Raises:
          ValueError: `source` is not a Jinja template.
        """
        self.path, self._tokens = path, dict(tokens)
        try:
            self._template = _environment().from_string(source)
        except Exception as error:  # TemplateSyntaxError, and RecursionError for one nested too deep
            raise ValueError(f"{path}: the chat template is not Jinja ({one_line(error)})") from error

    def render(self, messages: Messages, *, reply: bool, thinking: bool = False) -> str:
        """Renders a conversation. Templates that ask for the date get the same date every day.

        Args:
          messages: as OpenAI has them; the arguments of a tool call may be a text.
          reply: end where an answer is due.
          thinking: whether the model is told to think before it answers; Qwen3's text holds an empty thinking block if
            it is not.

        Raises:
          ValueError: the template fails, or refuses these messages.
        """
        pieces, size = [], 0
        given = {"tools": None, "documents": None, "add_generation_prompt": reply, **THINKING[thinking]}
        try:
            with _in_time():
                for piece in self._template.generate(messages=_parsed(messages), **given, **self._tokens):
                    pieces.append(piece)
                    size += len(piece)
                    if size > _LARGE:
                        raise jinja2.TemplateError(f"it writes more than {_LARGE:,} characters")
        except Exception as error:  # a template can divide by zero
            roles = ", ".join(str(message["role"]) for message in messages)
            what = f"a lone {roles} message" if len(messages) == 1 else f"the messages {roles}"
            raise ValueError(f"{self.path}: the chat template refuses {what} ({one_line(error)})") from error
        return "".join(pieces)

    def write(self, messages: Messages, *, reply: bool = False) -> Written:
        """Renders a conversation and keeps each content separate, so that it can be read as plain text. A message that
        has only tool calls has no content.

        Raises:
          ValueError: the template refuses, loses or repeats a message, or writes other text around this content.
        """
        places = [i for i, message in enumerate(messages) if message["content"] or not message.get("tool_calls")]
        marks = {i: f"MESSAGE{i}MARK" for i in places}

        def shown(marked: Collection[int]) -> str:
            return self.render(
                [{**m, "content": marks[i]} if i in marked else m for i, m in enumerate(messages)], reply=reply
            )

        around: list[str] = []
        rest = shown(places)
        order = [i for _, i in sorted((rest.find(marks[i]), i) for i in places)]
        for i in order:
            before, *after = rest.split(marks[i])
            if len(after) != 1:
                how = "repeats" if after else "alters or leaves out"
                raise ValueError(f"{self.path}: the chat template {how} the content of message {i}")
            around.append(before)
            rest = after[0]
        around.append(rest)
        self._check_calls(messages, "".join(around))
        contents = [str(messages[i]["content"]) for i in order]
        if shown(()) != _joined(around, contents):  # many templates strip white space
            for k, i in enumerate(order):
                start = _joined(around[: k + 1], [marks[j] for j in order[:k]])
                end = _joined(around[k + 1 :], [marks[j] for j in order[k + 1 :]])
                own = shown([j for j in places if j != i])
                if not own.startswith(start) or not own.endswith(end) or len(own) < len(start) + len(end):
                    raise ValueError(f"{self.path}: the chat template does not write the same text around all messages")
                contents[k] = own[len(start) : len(own) - len(end)]
        return Written(tuple(around), tuple(contents), tuple(order))

    def _check_calls(self, messages: Messages, around: str) -> None:
        """Raises a ValueError if tool calls are not in the template's own text."""
        for message in _parsed(messages):
            for call in message.get("tool_calls", ()):
                for word in (call["function"]["name"], *_words(call["function"]["arguments"])):
                    if word not in around and json.dumps(word, ensure_ascii=False)[1:-1] not in around:
                        raise ValueError(f"{self.path}: the chat template leaves out a tool call")

    def around(self, *, thinking: bool = False) -> tuple[str, str]:
        """Returns the text before and after the content of a user message, up to where the answer begins.

        Raises:
          ValueError: as in `render`, or the template alters, loses or repeats the content.
        """
        shown = self.render([{"role": "user", "content": _MARKER}], reply=True, thinking=thinking)
        before, *after = shown.split(_MARKER)
        if len(after) != 1:
            how = "repeats" if after else "alters or leaves out"
            raise ValueError(f"{self.path}: the chat template {how} the content of a user message")
        return before, after[0]

    def lead(self) -> str:
        """Returns the white space that the template puts before an answer (Mistral, Llama 2 and Vicuna: a space),
        which may be part of the answer's first token. It is empty if the template does not render answers, or if what
        it puts before an answer is not the cue for one."""
        asked, answered = "QUESTION: 1", "ANSWER: 2"
        messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
        try:
            shown = self.render(messages, reply=False)
        except ValueError:  # a template that knows no answers
            return ""
        between = shown.partition(asked)[2].partition(answered)
        behind = self.around()[1]
        space = between[0].removeprefix(behind)
        return space if between[1] and between[0].startswith(behind) and space.isspace() else ""


def _joined(around: Sequence[str], between: Sequence[str]) -> str:
    """Texts with others between them, one less."""
    return "".join(before + text for before, text in zip_longest(around, between, fillvalue=""))


def _parsed(messages: Messages) -> list[dict[str, Any]]:
    """Messages with the arguments of tool calls as objects, as transformers passes them to a template."""
    return [
        {**message, "tool_calls": [_with_object(call) for call in message["tool_calls"]]}
        if "tool_calls" in message
        else dict(message)
        for message in messages
    ]


def _with_object(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    try:
        arguments = json.loads(function["arguments"])
    except (ValueError, RecursionError):
        return dict(call)
    return {**call, "function": {**function, "arguments": arguments}} if isinstance(arguments, dict) else dict(call)


def _words(value: Any) -> list[str]:
    """Returns the texts in a JSON value, names of fields included."""
    if isinstance(value, dict):
        return [*value, *(word for part in value.values() for word in _words(part))]
    if isinstance(value, list):
        return [word for part in value for word in _words(part)]
    return [value] if isinstance(value, str) else []


def call_texts(message: Mapping[str, Any]) -> list[str]:
    """Returns the texts that a template may write of a message's tool calls: names and arguments, as they are stated,
    decoded, and as JSON again."""
    texts = []
    for stated, call in zip(message.get("tool_calls", ()), _parsed([message])[0].get("tool_calls", ()), strict=True):
        function = call["function"]
        again = json.dumps(function["arguments"], ensure_ascii=False)
        texts += [function["name"], stated["function"]["arguments"], again, *_words(function["arguments"])]
    return texts


def chat_template(folder: Path) -> ChatTemplate | None:
    """Reads a checkpoint's chat template from chat_template.jinja or tokenizer_config.json, or from the metadata of a
    GGUF file; None if it has none.

    Raises:
      OSError: a file is unreadable.
      ValueError: the template cannot be used; the message names the file.
    """
    if is_gguf(folder):
        settings = gguf_tokenizer.settings(read_header(folder))
        source = settings.config.chat_template
        return ChatTemplate(folder, source, settings.named) if isinstance(source, str) and source else None
    settings, path = Settings.read(folder), folder / _FILE
    if path.exists():
        try:
            return ChatTemplate(path, path.read_text(encoding="utf-8"), settings.named)
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: not UTF-8 ({one_line(error)})") from error
    path, source = folder / CONFIG, settings.config.chat_template
    if isinstance(source, list):
        named = {template.name: template.template for template in source}
        if named and "default" not in named:
            raise ValueError(f'{path}: none of its chat templates has the name "default"')
        source = named.get("default")
    return ChatTemplate(path, source, settings.named) if source else None


class _Generation(jinja2.ext.Extension):
    """{% generation %}, which marks the text that is trained on; it has no effect here."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """Limits the time and memory of a template, because it may come from an untrusted download."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        _small(left, right)
        if operator == "**":
            _small(abs(right) * 64 if isinstance(right, int) else 0)
        for some, times in ((left, right), (right, left)):
            if operator == "*" and isinstance(some, str | list | tuple) and isinstance(times, int):
                _small(len(some) * times)
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, obj: Any, *arguments: Any, **named: Any) -> Any:
        _small(*arguments, *named.values())
        return super().call(context, obj, *arguments, **named)


def _small(*values: Any) -> None:
    for value in values:
        if (isinstance(value, int) and abs(value) > _LARGE) or (isinstance(value, str) and len(value) > _LARGE):
            raise jinja2.TemplateError("it computes with values that are too large")


def _guarded(do: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a filter that refuses large values."""

    @wraps(do)
    def instead(*arguments: Any, **named: Any) -> Any:
        _small(*arguments, *named.values())
        return do(*arguments, **named)

    return instead


@contextmanager
def _in_time() -> Iterator[None]:
    """Ends a template that runs for longer than `_SECONDS`; the time is checked at every line, in this thread only."""
    end, before = time.monotonic() + _SECONDS, sys.gettrace()

    def watch(frame: Any, event: str, argument: Any) -> Any:
        if time.monotonic() > end:
            raise jinja2.TemplateError(f"it runs for more than {_SECONDS} s")
        return watch

    sys.settrace(watch)
    try:
        yield
    finally:
        sys.settrace(before)


def _environment() -> jinja2.Environment:
    environment = _Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols, _Generation])
    for name in ("center", "format", "indent", "batch", "slice", "wordwrap", "truncate", "round"):
        environment.filters[name] = _guarded(environment.filters[name])
    environment.filters["tojson"] = _tojson
    environment.globals |= {"raise_exception": _raise_exception, "strftime_now": _TODAY.strftime}
    return environment


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _tojson(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)  # jinja's own escapes HTML
