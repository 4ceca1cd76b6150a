"""A comparison as a server is sent it: the unified format, in token ids or in a chat message. Prompt, A, B, in this
order, so that what comparisons share stands in front.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from weakref import WeakKeyDictionary

from flame_rank.errors import UserError
from flame_rank.judges.options import OnLong
from flame_rank.prompts.format import Format, Ids, frame
from flame_rank.prompts.instructions import PAIRWISE_CONTEXT, VERDICTS, Instructions
from flame_rank.prompts.truncation import SHARE, truncate_pair
from flame_rank.records import Problem


class Comparison(NamedTuple):
    """An ordered pair of a problem's candidates, by index."""

    problem: Problem
    first: int
    second: int

    @property
    def prefixes(self) -> tuple[Hashable, ...]:
        """Names of what it shares with others: its prompt, and its prompt with the first response."""
        return (id(self.problem),), (id(self.problem), self.first)


@dataclass(frozen=True)
class Cut:
    """A comparison as ids.

    Attributes:
      shared: up to where the second response begins.
      rest: from there to where the verdict is due.
      cut: which candidates lost their middle.
      too_long: what to say of it, if it is not asked.
    """

    shared: Ids
    rest: Ids
    cut: frozenset[int] = frozenset()
    too_long: str | None = None


class TokenPrompts:
    """Comparisons as token ids, joined of the same pieces as a local model's.

    Attributes:
      verdict_ids: the ids of A and B.
      labels: their texts.
      max_length: tokens of a comparison at most; None if the server does not say.
    """

    def __init__(self, form: Format, instructions: Instructions, *, max_length: int | None, on_long: OnLong):
        """Raises:
        ValueError: A and B are no single, distinct tokens, or the instructions leave no room for responses.
        """
        shared, (a, b) = form.labels(instructions, VERDICTS)
        if len(a) != 1 or len(b) != 1:
            raise ValueError("A and B are several tokens each in this tokenizer")
        *start, cue = form.frame(instructions, PAIRWISE_CONTEXT)
        self.frame = [*start, cue + shared]
        self.verdict_ids = a[0], b[0]
        self.labels = form.text(a), form.text(b)
        self.form, self.max_length, self._on_long = form, max_length, on_long
        self._room = None if max_length is None else max_length - sum(map(len, self.frame))
        if self._room is not None and self._room < SHARE * 2:
            raise ValueError(f"max_length {max_length} leaves no room beside the instructions; raise it")
        self._values: WeakKeyDictionary[Problem, list[Ids]] = WeakKeyDictionary()

    def prepare(self, problems: Sequence[Problem]) -> None:
        """Has the texts of problems made into ids, in one go."""
        new = [problem for problem in dict.fromkeys(problems) if problem not in self._values]
        texts = [[problem.prompt, *problem.texts] for problem in new]
        ids = iter(self.form.values([text for some in texts for text in some]))
        for problem, some in zip(new, texts, strict=True):
            self._values[problem] = [next(ids) for _ in some]

    def ids(self, asked: Comparison) -> Cut:
        """Returns a comparison whose problem is prepared.

        Raises:
          UserError: it is too long, and `on_long` is "fail".
        """
        prompt, *candidates = self._values[asked.problem]
        a, b = candidates[asked.first], candidates[asked.second]
        cut: frozenset[int] = frozenset()
        length = len(prompt) + len(a) + len(b)
        if self._room is not None and length > self._room:
            if self._on_long != "cut":
                name = f"{asked.problem.name}: " if asked.problem.name else ""
                message = f"{name}{length} tokens in prompt and two responses, more than the {self._room} that fit"
                if self._on_long == "fail":
                    raise UserError(f"{message}; cut or skip what is too long")
                return Cut((), (), too_long=message)
            before = (len(a), len(b))
            prompt, a, b = truncate_pair(prompt, a, b, self._room)
            cut = frozenset(
                i for i, was, text in zip((asked.first, asked.second), before, (a, b), strict=True) if len(text) < was
            )
        start, between, behind_a, cue = self.frame
        return Cut(start + prompt + between + a + behind_a, b + cue, cut)


def message(instructions: Instructions, asked: Comparison) -> list[dict[str, str]]:
    """Returns a comparison as a chat."""
    texts = asked.problem.texts
    start, between, behind_a, cue = frame(instructions, PAIRWISE_CONTEXT)
    values = asked.problem.prompt, texts[asked.first], texts[asked.second]
    content = start + values[0] + between + values[1] + behind_a + values[2] + cue
    return [{"role": "user", "content": content}]
