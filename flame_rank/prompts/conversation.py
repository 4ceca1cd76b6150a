"""Writes conversations as token ids, turn by turn in the checkpoint's own chat template: a prompt with its answer
for reward models, and the turns before an answer for likelihoods."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from flame_rank.messages import Messages, from_text, is_messages, normalised, to_text
from flame_rank.model import text
from flame_rank.model.chat import ChatTemplate, call_texts, chat_template
from flame_rank.model.choices import Template
from flame_rank.model.text import TextTokenizer
from flame_rank.prompts.format import Ids
from flame_rank.prompts.truncation import common_length, middle_cut
from flame_rank.records import Candidate

if TYPE_CHECKING:  # it imports jax, which the judge without a model does without
    from flame_rank.model.families import Architecture

CHARACTERS = 16  # per token of the limit: text far beyond the limit is not tokenised
FORM = "turns"  # of what is read, for the identity of judges

_ANSWER = {"role": "assistant", "content": "A"}


class Encoded(NamedTuple):
    """A conversation in token ids.

    Attributes:
      around: the template's own ids before, between and after the contents.
      contents: the ids of the messages' texts, in the order of the template.
      message: the index of the message that each content belongs to.
      cut: whether one of the texts was too long to be tokenised whole.
    """

    around: list[Ids]
    contents: list[Ids]
    message: tuple[int, ...]
    cut: bool


def is_lone(messages: Messages) -> bool:
    """Tells whether there is a user's message and nothing else."""
    return len(messages) == 1 and messages[0]["role"] == "user"


def joined(around: Sequence[Ids], contents: Sequence[Ids]) -> Ids:
    """Returns the ids of a conversation."""
    pieces = [around[0], *(piece for pair in zip(contents, around[1:], strict=True) for piece in pair)]
    return tuple(token for piece in pieces for token in piece)


def takes(tokenizer: TextTokenizer, template: ChatTemplate, messages: Messages, *, reply: bool = False) -> bool:
    """Tells whether a template writes these messages whole, and whether their tool calls are free of texts that would
    be read as special tokens."""
    try:
        template.write(messages, reply=reply)
    except ValueError:
        return False
    loose = [words for message in messages for words in _loose(message)]
    return tokenizer.encode(loose, special=True) == tokenizer.encode(loose)


def encode(
    tokenizer: TextTokenizer,
    template: ChatTemplate,
    conversations: Sequence[Messages],
    most: int,
    *,
    reply: bool = False,
) -> list[Encoded]:
    """Encodes conversations; each text is encoded once.

    Args:
      most: the most characters of a message; a longer one loses its middle.
      reply: end where an answer is due.

    Raises:
      ValueError: the template does not take one of them.
    """
    written = [template.write(messages, reply=reply) for messages in conversations]
    pieces = list(dict.fromkeys(piece for each in written for piece in each.around))
    texts = list(dict.fromkeys(content for each in written for content in each.contents))
    around = dict(zip(pieces, map(tuple, tokenizer.encode(pieces, special=True)), strict=True))
    short = [middle_cut(content, most) for content in texts]
    contents = dict(zip(texts, map(tuple, tokenizer.encode(short)), strict=True))
    return [
        Encoded(
            [around[piece] for piece in each.around],
            [contents[content] for content in each.contents],
            each.message,
            any(len(content) > most for content in each.contents),
        )
        for each in written
    ]


def answer_turns(answer: str | Candidate) -> list[dict[str, Any]]:
    """Returns the messages of an answer: the given ones, if they begin and end with the assistant's; otherwise one
    message."""
    words = answer if isinstance(answer, str) else answer.text
    given: Any = None if isinstance(answer, str) else answer.fields.get("messages")
    try:
        if is_messages(given) and to_text(given) == words:
            turns = normalised(given)
            if {turns[0]["role"], turns[-1]["role"]} == {"assistant"}:
                return turns
    except ValueError:  # a field of the user's own that is not the answer
        pass
    return [{"role": "assistant", "content": words}]


def _loose(message: Mapping[str, Any]) -> list[str]:
    """Returns the texts of a message that a template writes among its own."""
    calls = message.get("tool_calls", ())
    words = [message.get("name"), message.get("tool_call_id"), *(call.get("id") for call in calls)]
    return [own for own in [*words, *call_texts(message)] if own]


class Conversation:
    """A prompt with its answer: pieces before each turn's text, and after the last.

    A prompt of several messages is read turn by turn if the template takes these turns, and otherwise as one message in
    the written form of flame_rank.messages. The same holds for an answer. Without a template, prompt and answer are
    texts that an empty line separates, and the end of text follows.

    Attributes:
      pieces: the texts of the template around a message and its answer; None without a template.
    """

    def __init__(self, tokenizer: TextTokenizer, template: ChatTemplate | None, *, pad: int | None = None):
        """Args:
          pad: the id of padding; a conversation is read up to its last token that is not padding, as in transformers.

        Raises:
          ValueError: the template refuses a message with an answer, or loses or repeats one of them.
        """
        self._tokenizer, self._template, self._pad = tokenizer, template, pad
        self.pieces = template.write([{"role": "user", "content": "Q"}, _ANSWER]).around if template else None

    def paths(
        self, prompt: str, answers: Sequence[str | Candidate], max_length: int
    ) -> tuple[list[tuple[Ids, Ids]], list[bool]]:
        """Returns the ids of a prompt with each answer: the piece that all share, and the rest.

        A prompt that is too long is cut to half of the room, and an answer to what the prompt leaves: the longest
        messages of both lose their middle. What is left depends on these two only, not on other answers.

        Returns:
          For each answer the two pieces, and whether the answer or the prompt was cut.

        Raises:
          ValueError: the template does not take a text, or there is no room for texts.
        """
        asked = self._asked(prompt)
        paths, cuts = [], []
        for encoded in self._encoded(prompt, asked, answers, CHARACTERS * max_length):
            path, cut = self._cut(encoded, len(asked), max_length)
            paths.append(path)
            cuts.append(cut or encoded.cut)
        return paths, cuts

    def _asked(self, prompt: str) -> list[dict[str, Any]]:
        """Returns the messages of a prompt."""
        turns = from_text(prompt)
        if self._template is not None and (is_lone(turns) or takes(self._tokenizer, self._template, [*turns, _ANSWER])):
            return turns
        return [{"role": "user", "content": prompt}]

    def _encoded(self, prompt: str, asked: Messages, answers: Sequence[str | Candidate], most: int) -> list[Encoded]:
        if self._template is None:
            texts = [prompt, *(answer if isinstance(answer, str) else answer.text for answer in answers)]
            own, *ids = (tuple(ids) for ids in self._tokenizer.encode([middle_cut(words, most) for words in texts]))
            bos = self._tokenizer.bos
            around = [() if bos is None else (bos,), tuple(self._tokenizer.encode(["\n\n"])[0])]
            around.append(tuple(sorted(self._tokenizer.eos))[:1])
            longest = [max(len(prompt), len(words)) for words in texts[1:]]
            return [Encoded(around, [own, each], (0, 1), n > most) for each, n in zip(ids, longest, strict=True)]
        conversations = []
        for answer in answers:
            turns = answer_turns(answer)
            several = len(turns) > 1 or "tool_calls" in turns[0]
            if several and not takes(self._tokenizer, self._template, [*asked, *turns]):
                turns = [{"role": "assistant", "content": answer if isinstance(answer, str) else answer.text}]
            conversations.append([*asked, *turns])
        return encode(self._tokenizer, self._template, conversations, most)

    def _cut(self, encoded: Encoded, asked: int, max_length: int) -> tuple[tuple[Ids, Ids], bool]:
        """Returns the two pieces of a conversation whose first `asked` messages are the prompt, and whether it was
        cut."""
        around, whole, message, _ = encoded
        room = max_length - sum(map(len, around))
        if room < len(whole):
            needed = max_length - room + len(whole)
            raise ValueError(
                f"max_length {max_length} leaves no room beside the chat template; raise it to {needed} or more"
            )
        lengths = [len(ids) for ids in whole]
        of_prompt = common_length([n for n, i in zip(lengths, message, strict=True) if i < asked], room // 2)
        left = room - sum(min(n, of_prompt) for n, i in zip(lengths, message, strict=True) if i < asked)
        of_answer = common_length([n for n, i in zip(lengths, message, strict=True) if i >= asked], left)
        contents = [
            middle_cut(ids, of_prompt if i < asked else of_answer) for ids, i in zip(whole, message, strict=True)
        ]
        first = next((k for k, i in enumerate(message) if i >= asked), len(contents))
        head = joined(around[: first + 1], contents[:first])
        rest = joined([(), *around[first + 1 :]], contents[first:])
        return self._unpadded(head, rest), contents != whole

    def _unpadded(self, head: Ids, rest: Ids) -> tuple[Ids, Ids]:
        """Returns the two pieces of a conversation without the padding at its end."""
        while rest and rest[-1] == self._pad:
            rest = rest[:-1]
        while not rest and len(head) > 2 and head[-1] == self._pad:
            head = head[:-1]
        return (head, rest) if rest else (head[:-1], head[-1:])  # an empty answer before padding


def load_conversation(
    checkpoint: Path, architecture: "Architecture", *, template: Template | None = None
) -> Conversation:
    """Reads the form of a conversation from a checkpoint.

    Args:
      architecture: the model's architecture; its vocabulary limits the ids.
      template: "chat" uses the chat template, "plain" does not; None = "chat" if there is a chat template.

    Raises:
      OSError: a file is unreadable.
      ValueError: the tokenizer or the requested chat template is missing or broken.
    """
    tokenizer, chat = text.load(checkpoint), None if template == "plain" else chat_template(checkpoint)
    if template == "chat" and chat is None:
        places = "chat_template.jinja or tokenizer_config.json"
        raise ValueError(f"it has no chat template ({places}); take --template plain, or leave it out")
    pad = architecture.stated.get("pad_token_id")
    return Conversation(
        text.within(tokenizer, architecture.vocab_size), chat, pad=pad if isinstance(pad, int) else None
    )
