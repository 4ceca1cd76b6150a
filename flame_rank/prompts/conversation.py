"""A prompt and its answer as a reward model reads them: a whole conversation in the checkpoint's own chat template."""

from collections.abc import Sequence
from pathlib import Path

from flame_rank.model import text
from flame_rank.model.chat import ChatTemplate, chat_template
from flame_rank.model.choices import Template
from flame_rank.model.families import Architecture
from flame_rank.model.text import TextTokenizer
from flame_rank.prompts.format import Ids
from flame_rank.prompts.truncation import middle_cut

CHARACTERS = 16  # per token of the limit: text far beyond the limit is not tokenised


class Conversation:
    """The form of a conversation in token ids: pieces before the prompt, between it and the answer, after the answer.

    Without a template, the prompt and the answer are separated by an empty line, and the end of text follows.

    Attributes:
      pieces: the texts of the template; None without a template.
    """

    def __init__(self, tokenizer: TextTokenizer, template: ChatTemplate | None, *, pad: int | None = None):
        """Args:
          pad: the id of padding: a conversation is read up to the last token that is another one, as in transformers.

        Raises:
          ValueError: the template alters, loses or repeats a message.
        """
        self._tokenizer, self._template, self._pad = tokenizer, template, pad
        self.pieces = template.conversation() if template else None
        if self.pieces is not None:
            before, between, after = (tuple(ids) for ids in tokenizer.encode(self.pieces, special=True))
        else:
            before = () if tokenizer.bos is None else (tokenizer.bos,)
            between, after = tuple(tokenizer.encode(["\n\n"])[0]), tuple(sorted(tokenizer.eos))[:1]
        self._before, self._between, self._after = before, between, after

    def paths(self, prompt: str, answers: Sequence[str], max_length: int) -> tuple[list[tuple[Ids, Ids]], list[bool]]:
        """The ids of a prompt with each answer: the piece that all share, and the rest.

        A prompt that is too long is cut to half of the room, an answer to what the prompt leaves: both lose their
        middle. What is left depends on these two texts only, not on other answers.

        Returns:
          for each answer the two pieces, and whether the answer or the prompt was cut.

        Raises:
          ValueError: the template alters a text, or there is no room for texts.
        """
        room = max_length - len(self._before) - len(self._between) - len(self._after)
        if room < 2:
            raise ValueError(f"max_length {max_length} leaves no room beside the chat template; raise it")
        texts = self._template.contents(prompt, answers) if self._template else [prompt, *answers]
        short = [middle_cut(text, CHARACTERS * room) for text in texts]
        asked, *answered = (tuple(ids) for ids in self._tokenizer.encode(short))
        kept = middle_cut(asked, room // 2)
        prompt_cut = len(kept) < len(asked) or len(short[0]) < len(texts[0])
        head = self._before + kept + self._between
        paths, cut = [], []
        for ids, part, whole in zip(answered, short[1:], texts[1:], strict=True):
            left = middle_cut(ids, room - len(kept))
            paths.append(self._unpadded(head, left + self._after))
            cut.append(prompt_cut or len(left) < len(ids) or len(part) < len(whole))
        return paths, cut

    def _unpadded(self, head: Ids, rest: Ids) -> tuple[Ids, Ids]:
        """The two pieces of a conversation without the padding at its end."""
        while rest and rest[-1] == self._pad:
            rest = rest[:-1]
        while not rest and len(head) > 2 and head[-1] == self._pad:
            head = head[:-1]
        return (head, rest) if rest else (head[:-1], head[-1:])  # an empty answer before padding


def load_conversation(
    checkpoint: Path, architecture: Architecture, *, template: Template | None = None
) -> Conversation:
    """Reads the form of a conversation from a checkpoint.

    Args:
      architecture: of the model, whose vocabulary limits the ids.
      template: "chat" uses the chat template, "plain" does not; None = "chat" if there is a chat template.

    Raises:
      OSError: a file is unreadable.
      ValueError: there is no tokenizer, or not the chat template that is asked for, or one of them is broken.
    """
    tokenizer, chat = text.load(checkpoint), None if template == "plain" else chat_template(checkpoint)
    if template == "chat" and chat is None:
        raise ValueError("it has no chat template (chat_template.jinja or tokenizer_config.json)")
    pad = architecture.stated.get("pad_token_id")
    return Conversation(
        text.within(tokenizer, architecture.vocab_size), chat, pad=pad if isinstance(pad, int) else None
    )
