"""The paper's unified format (section 3.3) in pieces, for training and judging alike.

    INSTRUCTIONS:
    title: ...
    description: ...
    output_fields: choice

    CONTEXT:
    prompt: ...
    response_a: ...
    response_b: ...

    EVALUATION:
    choice:

Pieces are turned into tokens separately and joined as ids. So a value has the same tokens wherever it appears, and
texts that begin alike share their first pieces.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from flame_rank.model import text
from flame_rank.model.chat import ChatTemplate, chat_template
from flame_rank.model.choices import Template
from flame_rank.model.gguf.file import is_gguf
from flame_rank.model.text import TextTokenizer
from flame_rank.prompts.instructions import PAIRWISE_CONTEXT, VERDICTS, Instructions

if TYPE_CHECKING:  # it imports jax, which the judge without a model does without
    from flame_rank.model.families import Architecture

Ids: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class SeparateFrame:
    """The ids around the values of a comparison in the separate form (model/separate.py).

    Attributes:
      before: the ids before each value that precedes the responses, the first with the instructions, and before a
        response.
      cue: the ids after a response, up to where the verdict is due.
      verdicts: the tokens of A and B.
    """

    before: tuple[Ids, ...]
    cue: Ids
    verdicts: tuple[int, int]

    @property
    def fixed(self) -> list[Ids]:
        """What stands in a row before the first value, between two values, and after the last."""
        return [*self.before, self.cue, self.cue]

    def lengths(self, values: Sequence[Ids]) -> tuple[int, int, int]:
        """Returns the numbers of tokens of the parts of a row, in the order of model/separate.py's `Lengths`."""
        *shared, first, second = map(len, values)
        prompt = sum(map(len, self.before)) + sum(shared)
        return prompt, first + len(self.cue), second + len(self.cue)


def frame(instructions: Instructions, context: Sequence[str], answered: Sequence[tuple[str, str]] = ()) -> list[str]:
    """Writes the text around the values of the context: one piece more than there are fields.

    Args:
      context: the names of the fields.
      answered: the output fields that are already answered, with their values; the last piece ends with the cue of the
        next field.

    Returns:
      The pieces before the first value, between two values, and after the last.
    """
    head = (
        f"INSTRUCTIONS:\ntitle: {instructions.title}\ndescription: {instructions.description}\n"
        f"output_fields: {', '.join(instructions.output_fields)}\n\nCONTEXT:\n"
    )
    names = [f"{name}: " for name in context]
    given = "".join(f"{name}: {value}\n" for name, value in answered)
    due = instructions.output_fields[len(answered)]
    return [head + names[0], *("\n" + name for name in names[1:]), f"\n\nEVALUATION:\n{given}{due}:"]


class Format:
    """The unified format as token ids, for a checkpoint's tokenizer and, if it is a chat model, its template.

    Attributes:
      tokenizer: the checkpoint's tokenizer.
      chat: the text of the chat template before and after a user's message; None without a template.
      lead: the text of the chat template before the assistant's first word.
      template: the chat template; None without one, and if a server writes the messages.
    """

    def __init__(
        self,
        tokenizer: TextTokenizer,
        *,
        chat: tuple[str, str] | None = None,
        lead: str = "",
        end: Ids = (),
        template: ChatTemplate | None = None,
    ):
        """Args:
        chat: the text of the chat template before and after a user's message, up to where an answer is due.
        lead: the white space that the template puts before the answer, and that may be part of its first token.
        end: the id that ends the input, if the answer is a separate text (T5).
        """
        self.tokenizer, self.chat, self.lead, self._end = tokenizer, chat, lead, end
        self.template = template

    @property
    def eos(self) -> frozenset[int]:
        """The ids that end an answer."""
        return self.tokenizer.eos

    def text(self, ids: Sequence[int]) -> str:
        """Returns the text of an answer."""
        return self.tokenizer.decode(ids).strip()

    def values(self, texts: Sequence[str]) -> list[Ids]:
        """Returns the ids of values; what looks like a special token in them is read as plain text."""
        return [tuple(ids) for ids in self.tokenizer.encode(texts)]

    def message(self, ids: Ids) -> Ids:
        """Returns a user's message by itself, up to where the answer begins: in the chat template or, without one, with
        an empty line after it."""
        if self._end:
            return ids + self._end
        if self.chat is None:
            return self.text_start + ids + self._gap
        before, behind = self._around
        return before + ids + behind

    @cached_property
    def _around(self) -> tuple[Ids, Ids]:
        assert self.chat is not None
        before, behind = self.tokenizer.encode(self.chat, special=True)
        return tuple(before), tuple(behind)

    @cached_property
    def _gap(self) -> Ids:
        return self.values(["\n\n"])[0]

    @property
    def text_start(self) -> Ids:
        """The ids that the checkpoint needs before a text that is not a message."""
        return () if self.tokenizer.bos is None else (self.tokenizer.bos,)

    @cached_property
    def end(self) -> Ids:
        """The id that ends an answer, of several the one with which the chat template ends a turn; empty if the
        tokenizer has none."""
        ends = self._end or tuple(sorted(self.tokenizer.eos))
        if self.template is not None and len(ends) > 1:
            turns = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
            with suppress(ValueError):  # a template that knows no answers
                [behind] = self.tokenizer.encode([self.template.write(turns).around[-1]], special=True)
                ends = tuple(token for token in behind if token in ends) or ends
        return ends[:1]

    def count(self, texts: Sequence[str]) -> list[int]:
        """Returns the number of ids of each value."""
        return self.tokenizer.count(texts)

    def frame(
        self, instructions: Instructions, context: Sequence[str], answered: Sequence[tuple[str, str]] = ()
    ) -> list[Ids]:
        """Returns the ids of the pieces that the function `frame` writes, in the chat template if there is one."""
        first, *rest = self.values(frame(instructions, context, answered))
        bos = self.tokenizer.bos
        if self.chat is None:
            return [(() if bos is None else (bos,)) + first, *rest[:-1], rest[-1] + self._end]
        before, behind = self._around
        return [before + first, *rest[:-1], rest[-1] + behind]

    def separate_frame(self, instructions: Instructions, context: Sequence[str] = PAIRWISE_CONTEXT) -> SeparateFrame:
        """Returns the ids around the values of a comparison in the separate form, in the chat template if there is one.

        Args:
          context: the names of the fields, of which the last two are the responses.

        Raises:
          ValueError: A and B are several tokens.
        """
        *before, cue = self.frame(instructions, (*context[:-2], "response"))
        shared, (a, b) = self.labels(instructions, VERDICTS)
        if len(a) != 1 or len(b) != 1:
            raise ValueError(f"A and B are several tokens in this tokenizer, {list(a)} and {list(b)}")
        return SeparateFrame(before=tuple(before), cue=cue + shared, verdicts=(a[0], b[0]))

    def labels(self, instructions: Instructions, labels: Sequence[str]) -> tuple[Ids, list[Ids]]:
        """Returns the ids of each label as the value of the first output field.

        They are the difference between the encodings of the cue with and without the label, because a label by itself
        may have other tokens.

        Returns:
          The ids with which all labels begin, to be put after the cue (often none), and the rest of each label.

        Raises:
          ValueError: two labels have the same ids, or a label merges with the cue.
        """
        answers = self._behind(instructions, labels)
        if len({*answers}) < len(answers):
            raise ValueError(f"the tokenizer does not tell the labels {', '.join(labels)} apart")
        shared = 0
        while len({ids[shared] for ids in answers}) == 1 and all(len(ids) > shared + 1 for ids in answers):
            shared += 1
        return answers[0][:shared], [ids[shared:] for ids in answers]

    def answers(self, instructions: Instructions, texts: Sequence[str]) -> list[Ids]:
        """Returns the ids of whole answers in the form that a model should write: the value of the first output field,
        the other fields with their values, and the end.

        Raises:
          ValueError: the tokenizer has no token that ends a text, or merges an answer with the cue.
        """
        if not self.end:
            raise ValueError("the tokenizer has no token that ends a text; name one in its configuration")
        return [ids + self.end for ids in self._behind(instructions, texts)]

    def _behind(self, instructions: Instructions, texts: Sequence[str]) -> list[Ids]:
        """Returns the ids of texts that follow the cue of the first output field."""
        if self._end:  # the answer is a separate text
            cue, gap = "", ""
        elif self.chat is not None:
            cue, gap = self.chat[1], self.lead
        else:
            cue, gap = frame(instructions, ("",))[-1], " "
        special = self.chat is not None
        (head,) = self.tokenizer.encode([cue], special=special)
        answers = []
        for answer, ids in zip(
            texts, self.tokenizer.encode([f"{cue}{gap}{answer}" for answer in texts], special=special), strict=True
        ):
            if ids[: len(head)] != head or len(ids) == len(head):
                raise ValueError(f"the tokenizer merges the label {answer[:80]!r} with the text before it")
            answers.append(tuple(ids[len(head) :]))
        return answers


def load_format(
    checkpoint: Path,
    architecture: "Architecture",
    *,
    template: Template | None = None,
    model: Path | None = None,
    thinking: bool = False,
) -> Format:
    """Makes the unified format in the tokens and the chat template of a checkpoint, for judge and trainer alike.

    Args:
      architecture: the model's architecture; its vocabulary limits the ids.
      template: "chat" uses the chat template, "plain" does not; None = "chat" if there is a chat template.
      model: the model's folder or file, if its tokenizer is elsewhere.
      thinking: whether the chat template tells the model to think before it answers.

    Raises:
      OSError: a file is unreadable.
      ValueError: the tokenizer or the requested chat template is missing or broken.
    """
    tokenizer = text.load(checkpoint, model)
    chat = None if template == "plain" else chat_template(checkpoint)
    if template == "chat" and chat is None:
        places = "tokenizer.chat_template" if is_gguf(checkpoint) else "chat_template.jinja or tokenizer_config.json"
        raise ValueError(f"it has no chat template ({places}); take --template plain, or leave it out")
    tokenizer = text.within(tokenizer, architecture.vocab_size)
    end = architecture.input_end(tokenizer)
    around, lead = (chat.around(thinking=thinking), chat.lead()) if chat else (None, "")
    return Format(tokenizer, chat=around, lead=lead, end=end, template=chat)
