"""A checkpoint's chat template, for judge and trainer alike. It must render as transformers does, with the same Jinja
settings, filters and functions.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from functools import wraps
from pathlib import Path
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox

from flame_rank.io.json_file import one_line
from flame_rank.model.gguf import tokenizer as gguf_tokenizer
from flame_rank.model.gguf.file import is_gguf
from flame_rank.model.gguf.file import read as read_header
from flame_rank.model.tokenizer_settings import CONFIG, Settings

_FILE = "chat_template.jinja"
_LARGE = 10_000_000  # characters, or a number that makes as many
_SECONDS = 5.0
# Messages that no template writes itself, with what a careless one would alter.
_MARKERS = (
    "INSTRUCTIONS:\n  the  'one' \"message\" & <no> {{ other }}\n\nEVALUATION: 1",
    "ANSWER:\n  the  'other' \"message\" & <yes> {{ one }}\n\nEND: 2",
)
_TODAY = date(2024, 7, 26)  # for templates that ask; Llama's use this day if they are given none


class ChatTemplate:
    """How a checkpoint wants a message to be written.

    The text around a message is trusted and read with `special=True`. It contains the BOS if the template wants one:
    the caller adds a `bos` only if there is no template.
    """

    def __init__(self, path: Path, source: str, tokens: Mapping[str, str]):
        """Args:
        path: the file that it comes from, for messages.
        source: Jinja, as transformers reads it.
        tokens: special tokens that it may name, such as {"bos_token": "<s>"}.

        Raises:
          ValueError: it is not a Jinja template.
        """
        self.path, self._tokens = path, dict(tokens)
        try:
            self._template = _environment().from_string(source)
        except Exception as error:  # TemplateSyntaxError, and RecursionError for one nested too deep
            raise ValueError(f"{path}: the chat template is not Jinja ({one_line(error)})") from error

    def render(self, content: str) -> str:
        """Renders one user message up to where the answer begins. Templates that ask for the date get the same date
        every day; those of thinking models are told not to think (for Qwen3 the text then holds an empty block).

        Raises:
          ValueError: the template fails, or refuses a lone user message.
        """
        try:
            return self._rendered([{"role": "user", "content": content}], add_generation_prompt=True)
        except Exception as error:  # a template can divide by zero
            raise ValueError(
                f"{self.path}: the chat template refuses a lone user message ({one_line(error)})"
            ) from error

    def conversation(self) -> tuple[str, str, str]:
        """The text before a user's message, between it and its answer, and after the answer.

        Raises:
          ValueError: the template refuses a message with an answer, or alters, loses or repeats one of them.
        """
        shown = self._answered(_MARKERS[0], _MARKERS[1])
        before, *rest = shown.split(_MARKERS[0])
        behind = rest[0].split(_MARKERS[1]) if len(rest) == 1 else []
        if len(behind) != 2:
            raise ValueError(f"{self.path}: the chat template alters, leaves out or repeats a message or its answer")
        return before, behind[0], behind[1]

    def contents(self, asked: str, answers: Sequence[str]) -> list[str]:
        """The message and its answers as the template writes them between the pieces of `conversation`: many templates
        strip white space.

        Raises:
          ValueError: the template refuses one of them, or writes another text around it.
        """
        before, between, after = self.conversation()
        around = [(before, between + _MARKERS[1] + after), *[(before + _MARKERS[0] + between, after)] * len(answers)]
        shown = [self._answered(asked, _MARKERS[1]), *(self._answered(_MARKERS[0], answer) for answer in answers)]
        for text, (start, end) in zip(shown, around, strict=True):
            if not text.startswith(start) or not text.endswith(end) or len(text) < len(start) + len(end):
                raise ValueError(
                    f"{self.path}: the chat template writes other text around some messages than around others"
                )
        return [text[len(start) : len(text) - len(end)] for text, (start, end) in zip(shown, around, strict=True)]

    def _answered(self, asked: str, answer: str) -> str:
        """Renders a user's message with its answer."""
        messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
        try:
            return self._rendered(messages, add_generation_prompt=False)
        except Exception as error:
            raise ValueError(
                f"{self.path}: the chat template refuses a message with an answer ({one_line(error)})"
            ) from error

    def _rendered(self, messages: list[dict[str, str]], **how: bool) -> str:
        pieces, size = [], 0
        with _in_time():
            for piece in self._template.generate(
                messages=messages, enable_thinking=False, tools=None, documents=None, **how, **self._tokens
            ):
                pieces.append(piece)
                size += len(piece)
                if size > _LARGE:
                    raise jinja2.TemplateError(f"it writes more than {_LARGE:,} characters")
        return "".join(pieces)

    def around(self) -> tuple[str, str]:
        """The text before and after the content of a user message.

        Raises:
          ValueError: as `render`, or the template alters, loses or repeats the content.
        """
        marker = _MARKERS[0]
        before, *after = self.render(marker).split(marker)
        if len(after) != 1:
            how = "repeats" if after else "alters or leaves out"
            raise ValueError(f"{self.path}: the chat template {how} the content of a user message")
        return before, after[0]

    def lead(self) -> str:
        """The white space that the template puts before an answer (Mistral, Llama 2 and Vicuna: a space), which may be
        part of the answer's first token; empty if it shows no answer, or in another way than it asks for one."""
        asked, answered = "QUESTION: 1", "ANSWER: 2"
        messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
        try:
            shown = self._rendered(messages, add_generation_prompt=False)
        except Exception:  # a template that knows no answers
            return ""
        between = shown.partition(asked)[2].partition(answered)
        behind = self.around()[1]
        space = between[0].removeprefix(behind)
        return space if between[1] and between[0].startswith(behind) and space.isspace() else ""


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
    """{% generation %}, which marks what a trainer learns; it has no effect here."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """Limits a template, which comes with a download: it may not exhaust the machine's time or memory either."""

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
    """A filter that refuses large values."""

    @wraps(do)
    def instead(*arguments: Any, **named: Any) -> Any:
        _small(*arguments, *named.values())
        return do(*arguments, **named)

    return instead


@contextmanager
def _in_time() -> Iterator[None]:
    """Ends a template that runs for longer than `_SECONDS`: checked at every line, in this thread only."""
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
