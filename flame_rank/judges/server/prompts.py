"""Writes comparisons for a server in the unified format, as token ids or as a chat message. Prompt, A and B are in this
order, so that the text that comparisons share comes first."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from flame_rank.errors import UserError
from flame_rank.judges.base import ProblemMemory
from flame_rank.judges.options import OnLong
from flame_rank.judges.pairs import room_beside
from flame_rank.prompts.format import Format, Ids, frame
from flame_rank.prompts.instructions import PAIRWISE_CONTEXT, VERDICTS, Instructions
from flame_rank.prompts.truncation import truncate_pair
from flame_rank.records import Problem


class Comparison(NamedTuple):
    """An ordered pair of a problem's candidates, by index."""

    problem: Problem
    first: int
    second: int

    @property
    def prefixes(self) -> tuple[Hashable, ...]:
        """The names of the parts that it shares with other comparisons: its prompt, and its prompt with the first
        response."""
        return (id(self.problem),), (id(self.problem), self.first)


@dataclass(frozen=True)
class Cut:
    """A comparison as ids.

    Attributes:
      shared: the ids before the second response.
      rest: the ids from there to the verdict.
      cut: the candidates whose middle was cut out; both if the prompt's was.
      too_long: the reason why it is not asked, if it is too long.
    """

    shared: Ids
    rest: Ids
    cut: frozenset[int] = frozenset()
    too_long: str | None = None


class TokenPrompts:
    """Comparisons as token ids, joined from the same pieces as for a local model.

    Attributes:
      verdict_ids: the ids of A and B.
      labels: the texts of these ids.
      max_length: the most tokens of a comparison; None if the server does not report it.
    """

    def __init__(self, form: Format, instructions: Instructions, *, max_length: int | None, on_long: OnLong):
        """Raises:
        ValueError: A and B are not single, distinct tokens, or the instructions leave no room for responses.
        """
        shared, (a, b) = form.labels(instructions, VERDICTS)
        if len(a) != 1 or len(b) != 1:
            raise ValueError("A and B are several tokens each in this tokenizer")
        *start, cue = form.frame(instructions, PAIRWISE_CONTEXT)
        self.frame = [*start, cue + shared]
        self.verdict_ids = a[0], b[0]
        self.labels = form.text(a), form.text(b)
        self.form, self.max_length, self._on_long = form, max_length, on_long
        self._room = None if max_length is None else room_beside(self.frame, max_length)
        self._values: ProblemMemory[list[Ids]] = ProblemMemory()

    def prepare(self, problems: Sequence[Problem]) -> None:
        """Encodes the texts of problems in one batch."""
        new = [problem for problem in dict.fromkeys(problems) if problem not in self._values]
        texts = [[problem.prompt, *problem.texts] for problem in new]
        ids = iter(self.form.values([text for some in texts for text in some]))
        for problem, some in zip(new, texts, strict=True):
            self._values[problem] = [next(ids) for _ in some]

    def ids(self, asked: Comparison) -> Cut:
        """Returns the ids of a comparison whose problem is prepared.

        Raises:
          UserError: the comparison is too long, and `on_long` is "fail".
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
                    raise UserError(f"{message}; choose cut or skip for long comparisons")
                return Cut((), (), too_long=message)
            whole, before = len(prompt), (len(a), len(b))
            prompt, a, b = truncate_pair(prompt, a, b, self._room)
            cut = frozenset(
                i
                for i, was, text in zip((asked.first, asked.second), before, (a, b), strict=True)
                if len(text) < was or len(prompt) < whole
            )
        start, between, behind_a, cue = self.frame
        return Cut(start + prompt + between + a + behind_a, b + cue, cut)


def message(instructions: Instructions, asked: Comparison) -> list[dict[str, str]]:
    """Returns a comparison as chat messages."""
    texts = asked.problem.texts
    start, between, behind_a, cue = frame(instructions, PAIRWISE_CONTEXT)
    values = asked.problem.prompt, texts[asked.first], texts[asked.second]
    content = start + values[0] + between + values[1] + behind_a + values[2] + cue
    return [{"role": "user", "content": content}]
