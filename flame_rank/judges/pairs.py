"""Writes a comparison for a local model: the pieces of token ids of prompt, A and B, cut to the maximum length."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from flame_rank.errors import UserError
from flame_rank.judges.base import Notes, ProblemMemory
from flame_rank.judges.options import OnLong
from flame_rank.prompts.format import Ids
from flame_rank.prompts.truncation import SHARE, truncate_pair, truncated_lengths
from flame_rank.records import Problem
from strategies.base import IntArray


class Record:
    """What is known about a problem: the ids of its texts, and what happened to its judgements."""

    def __init__(self, prompt: Ids, candidates: list[Ids]):
        self.prompt, self.candidates = prompt, candidates
        self.cut: set[int] = set()
        self.failures: dict[str, None] = {}
        self.mass: dict[tuple[int, int], float] = {}  # P(A) + P(B) of each comparison
        self.words: dict[tuple[int, int], str] = {}  # the reasons of each comparison
        self.asked: dict[tuple[int, int], int] = {}  # how often each comparison was asked


def joined(around: list[Ids], values: Sequence[Ids]) -> list[Ids]:
    """Returns a path: the instructions, with which all paths of a run begin, and each value with the text after it."""
    return [around[0], *(value + behind for value, behind in zip(values, around[1:], strict=True))]


def total_length(prompt: IntArray, a: IntArray, b: IntArray) -> IntArray:
    """Returns how many tokens of M comparisons count against the room, [M] each, from the numbers of tokens of prompts
    and responses."""
    return prompt + a + b


@dataclass(frozen=True, kw_only=True)
class PairForm:
    """How long a comparison may be; judges/separate.py counts otherwise.

    Attributes:
      length: computes how many tokens count against the room, from the numbers of tokens of prompts and responses.
      truncated_lengths: computes how many tokens each text keeps, from these numbers and the room.
      counted: the name, in messages, of the responses that count.
    """

    length: Callable[..., IntArray] = total_length
    truncated_lengths: Callable[..., tuple[IntArray, IntArray, IntArray]] = truncated_lengths
    counted: str = "two responses"


JOINT = PairForm()


def room_beside(frame: Sequence[Ids], max_length: int, least: int = SHARE * 2) -> int:
    """Returns how many tokens a frame leaves for prompt and responses.

    Raises:
      ValueError: there are fewer tokens than `least`.
    """
    room = max_length - sum(map(len, frame))
    if room < least:
        needed = max_length - room + least
        raise ValueError(
            f"max_length {max_length} leaves no room beside the instructions; raise it to {needed} or more"
        )
    return room


class PairPaths:
    """Writes comparisons as pieces of token ids."""

    def __init__(
        self,
        tokenize: Callable[[Sequence[str]], list[Ids]],
        frame: list[Ids],
        room: int,
        *,
        max_length: int,
        on_long: OnLong,
        form: PairForm = JOINT,
    ):
        """Args:
        frame: the ids around prompt and responses.
        room: tokens for prompt and responses.
        max_length: of the model, for messages.
        """
        self._tokenize, self._frame, self._room = tokenize, frame, room
        self._max_length, self._on_long, self._form = max_length, on_long, form
        self._records: ProblemMemory[Record] = ProblemMemory()

    def record(self, problem: Problem) -> Record:
        """What is known about a problem."""
        if problem not in self._records:
            prompt, *candidates = self._tokenize([problem.prompt, *problem.texts])
            self._records[problem] = Record(prompt, candidates)
        return self._records[problem]

    def known(self, problem: Problem) -> Record | None:
        """Returns what is known about a problem; None if it was not read, or could not be read."""
        return self._records.get(problem)

    def notes(self, problem: Problem) -> Notes:
        """How many candidates were cut, and why comparisons failed."""
        record = self.known(problem)
        return Notes(truncated=len(record.cut), failures=tuple(record.failures)) if record else Notes()

    def path(
        self,
        problem: Problem,
        first: int,
        second: int,
        *,
        around: list[Ids] | None = None,
        room: int | None = None,
    ) -> list[Ids] | None:
        """Returns the pieces of a comparison; None if it is too long and skipped.

        Args:
          around, room: replace the frame and the room that all comparisons share, for a question about a comparison
            that was judged: it is cut without a note, and None if `on_long` is not "cut".

        Raises:
          UserError: the comparison is too long and `on_long` is "fail".
        """
        record = self.record(problem)
        room = self._room if room is None else room
        prompt, a, b = record.prompt, record.candidates[first], record.candidates[second]
        length = int(self._form.length(*(np.array(len(text)) for text in (prompt, a, b))))
        if length > room:
            if around is not None:
                kept = truncate_pair(prompt, a, b, room, self._form.truncated_lengths)
                return joined(around, [*kept]) if self._on_long == "cut" else None
            if self._on_long != "cut":
                name = f"{problem.name}: " if problem.name else ""
                what = f"{length} tokens in prompt and {self._form.counted}, more than the {room}"
                message = f"{name}{what} that max_length {self._max_length} leaves beside the instructions"
                if self._on_long == "fail":
                    raise UserError(f"{message}; raise it, or cut or skip what is too long")
                record.failures[message] = None
                return None
            prompt, a_cut, b_cut = truncate_pair(prompt, a, b, room, self._form.truncated_lengths)
            record.cut |= {
                i for i, before, after in ((first, a, a_cut), (second, b, b_cut)) if len(after) < len(before)
            }
            if len(prompt) < len(record.prompt):
                record.cut |= {first, second}
            a, b = a_cut, b_cut
        return joined(around or self._frame, [prompt, a, b])

    def tokens(self, problem: Problem, first: int, second: int) -> list[int]:
        """The exact ids of a comparison.

        Raises:
          UserError: the comparison is too long, and `on_long` is not "cut".
        """
        path = self.path(problem, first, second)
        if path is None:
            raise UserError(next(reversed(self.record(problem).failures)))
        return [token for piece in path for token in piece]
