"""Shows all candidates of a problem in one prompt: their orders, the pieces of token ids, and the qualities from the
letters' log-probabilities, for models on this machine and behind a server."""

import zlib
from collections.abc import Sequence
from dataclasses import replace
from string import ascii_uppercase
from typing import NamedTuple

import numpy as np

from flame_rank.errors import UserError
from flame_rank.judges.options import OnLong
from flame_rank.prompts.format import Format, Ids, frame
from flame_rank.prompts.instructions import PAIRWISE, Instructions
from flame_rank.prompts.truncation import common_length, middle_cut
from flame_rank.records import Problem
from strategies.base import FloatArray, IntArray

ROUNDS = 4  # orders in which the candidates of a problem are shown
_DESCRIPTION = (
    "Several responses to the same prompt are given. Compare how correct, helpful and complete they are, and do not "
    "let their length or their order sway you."
)
_LETTER = "Answer with the letter of the best response."


def choosing(criteria: str | None) -> Instructions:
    """Returns the instructions for a choice among several responses, by the user's own criteria if there are any."""
    description = f"{(criteria or _DESCRIPTION).strip()}\n{_LETTER}"
    return replace(PAIRWISE, title="Which response is the best?", description=description)


def distinct_texts(problem: Problem) -> list[str]:
    """Returns the distinct texts, in an order that does not depend on that of the candidates."""
    return sorted({*problem.texts})


def letters_of(problem: Problem) -> str:
    """Returns the letters of a problem's distinct candidates.

    Raises:
      UserError: the problem has more candidates than there are letters.
    """
    count = len({*problem.texts})
    if count > len(ascii_uppercase):
        name = f"{problem.name}: " if problem.name else ""
        raise UserError(
            f"{name}{count} different candidates, and --ask choice shows 26 at most; take --strategy knockout with "
            "--ask verdict"
        )
    return ascii_uppercase[:count]


def orders(problem: Problem, rounds: int) -> list[IntArray]:
    """Returns the random orders of a problem's distinct texts: which of them each letter stands for, round by round."""
    texts = distinct_texts(problem)
    rng = np.random.default_rng(zlib.crc32("\0".join((problem.prompt, *texts)).encode()))
    return [rng.permutation(len(texts)) for _ in range(rounds)]


def qualities(problem: Problem, log_probs: Sequence[FloatArray], shown: Sequence[IntArray]) -> FloatArray:
    """Returns the quality [n] of each candidate in nats: the mean over the rounds of its letter's log-probability among
    the letters, as for the first choice in Plackett and Luce's model.

    Args:
      log_probs: the log-probabilities of the letters, round by round.
      shown: the order of the texts in each round.
    """
    texts = distinct_texts(problem)
    of_text = np.zeros(len(texts))
    for row, order in zip(log_probs, shown, strict=True):
        of_text[order] += (row - np.logaddexp.reduce(row)) / len(shown)
    number = {text: k for k, text in enumerate(texts)}
    return of_text[[number[text] for text in problem.texts]]


def fields_of(letters: str) -> list[str]:
    """Returns the fields of a prompt with a response for each letter."""
    return ["prompt", *(f"response_{letter.lower()}" for letter in letters)]


def message(instructions: Instructions, problem: Problem, order: IntArray) -> list[dict[str, str]]:
    """Returns one round as chat messages."""
    texts = distinct_texts(problem)
    start, *behind = frame(instructions, fields_of(letters_of(problem)))
    values = [problem.prompt, *(texts[k] for k in order)]
    content = start + "".join(value + piece for value, piece in zip(values, behind, strict=True))
    return [{"role": "user", "content": content}]


class Shown(NamedTuple):
    """A problem in the form in which it is shown.

    Attributes:
      paths: the pieces of token ids of each round; empty if the problem is skipped.
      orders: the order of the texts in each round.
      letters: the id of each letter.
      cut: how many candidates were cut: all of them if the prompt was.
      failures: why the problem is skipped.
    """

    paths: list[list[Ids]]
    orders: list[IntArray]
    letters: list[int]
    cut: int = 0
    failures: tuple[str, ...] = ()


class ChoicePrompts:
    """Writes problems as pieces of token ids."""

    def __init__(
        self, form: Format, instructions: Instructions, *, max_length: int | None, on_long: OnLong, rounds: int
    ):
        """Args:
        max_length: the most tokens of a prompt; None for no limit.
        on_long: as in `LanguageModelJudge`; "cut" shortens the longest responses, and the prompt by a half at most.
        """
        self._form, self._instructions, self._rounds = form, instructions, rounds
        self._max_length, self._on_long = max_length, on_long
        self._frames: dict[str, tuple[list[Ids], list[int]]] = {}

    def shown(self, problem: Problem) -> Shown:
        """The rounds of a problem.

        Raises:
          UserError: the problem has too many candidates, or is too long and `on_long` is "fail".
        """
        around, letters = self._frame(letters_of(problem))
        prompt, *texts = self._form.values([problem.prompt, *distinct_texts(problem)])
        length, cut = len(prompt) + sum(map(len, texts)), 0
        room = length if self._max_length is None else self._max_length - sum(map(len, around))
        if length > room:
            name = f"{problem.name}: " if problem.name else ""
            what = f"{length} tokens in prompt and {len(texts)} responses"
            reason = f"{name}{what}, more than the {max(room, 0)} that fit"
            if self._on_long == "fail":
                raise UserError(f"{reason}; raise max_length, or cut or skip what is too long")
            if self._on_long == "skip" or room < 2 * (len(texts) + 1):
                return Shown([], [], letters, failures=(reason,))
            whole = len(prompt)
            prompt = middle_cut(prompt, max(room // 2, room - sum(map(len, texts))))
            longest = common_length([len(ids) for ids in texts], room - len(prompt))
            cut = sum(len(ids) > longest or len(prompt) < whole for ids in texts)
            texts = [middle_cut(ids, longest) for ids in texts]
        shown = orders(problem, self._rounds)
        paths = []
        for order in shown:
            values = [prompt, *(texts[k] for k in order)]
            paths.append([around[0], *(value + behind for value, behind in zip(values, around[1:], strict=True))])
        return Shown(paths, shown, letters, cut)

    def _frame(self, letters: str) -> tuple[list[Ids], list[int]]:
        """Returns the pieces around prompt and responses, and the ids of the letters."""
        if letters not in self._frames:
            several = letters if len(letters) > 1 else "AB"  # a single one would have no label to tell it from
            shared, labels = self._form.labels(self._instructions, several)
            if any(len(label) != 1 for label in labels):
                raise UserError(
                    "a letter is several tokens in this tokenizer, so no choice can be read; take --ask verdict"
                )
            *start, cue = self._form.frame(self._instructions, fields_of(letters))
            self._frames[letters] = [*start, cue + shared], [label[0] for label in labels[: len(letters)]]
        return self._frames[letters]
