"""All candidates in one prompt: a language model chooses the best one by its letter. For large judges,
which are expensive to ask about pairs."""

import zlib
from collections.abc import Sequence
from dataclasses import replace
from string import ascii_uppercase
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from flame_rank.errors import UserError
from flame_rank.judges.base import Notes
from flame_rank.judges.options import OnLong
from flame_rank.model import forks
from flame_rank.model.scorer import Scorer
from flame_rank.prompts.format import Format, Ids
from flame_rank.prompts.instructions import PAIRWISE, Instructions
from flame_rank.prompts.truncation import middle_cut
from flame_rank.records import Problem
from strategies.base import FloatArray, IntArray

ROUNDS = 4  # orders in which the candidates of a problem are shown
_DESCRIPTION = (
    "Several responses to the same prompt are given. Compare how correct, helpful and complete they are, and do not "
    "let their length or their order sway you."
)
_LETTER = "Answer with the letter of the best response."


def choosing(criteria: str | None) -> Instructions:
    """Instructions for a choice among several responses, by the user's own criteria if there are some."""
    description = f"{(criteria or _DESCRIPTION).strip()}\n{_LETTER}"
    return replace(PAIRWISE, title="Which response is the best?", description=description)


class _Outcome(NamedTuple):
    qualities: FloatArray  # [n], NaN if the problem is skipped
    mass: float
    cut: int
    failures: tuple[str, ...]


class ChoiceJudge:
    """Shows a model all distinct candidates at once and reads the log-probability of each one's letter.

    A quality is the mean of these over `rounds` random orders, in nats: the first choice in Plackett and Luce's model,
    in which P(best) is the softmax of the qualities.
    """

    pool_aware = True
    pointwise = True
    one_by_one = False

    def __init__(
        self,
        kernel: Scorer,
        form: Format,
        *,
        name: str,
        instructions: Instructions,
        on_long: OnLong = "cut",
        rounds: int = ROUNDS,
    ):
        """Args:
        name: identity, for all that shapes an answer but the number of rounds.
        on_long: as of `LanguageModelJudge`; what is cut are the longest responses, and the prompt down to a half.
        """
        self.kernel, self.form, self.rounds, self.on_long = kernel, form, rounds, on_long
        self.name, self._instructions = f"choice of {rounds}:{name}", instructions
        self._outcomes: WeakKeyDictionary[Problem, _Outcome] = WeakKeyDictionary()

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        """Log-odds [M] for each problem: differences of qualities; NaN for a problem that was skipped.

        Raises:
          UserError: a problem has more than 26 distinct candidates, or is too long and `on_long` is "fail".
        """
        forks.compute_here()
        fresh = list(dict.fromkeys(problem for problem, _ in asked if problem not in self._outcomes))
        by_count: dict[int, list[Problem]] = {}
        for problem in fresh:
            by_count.setdefault(len({*problem.texts}), []).append(problem)
        for count, problems in by_count.items():
            self._judge(problems, count)
        return [self._outcomes[problem].qualities[pairs] @ np.array([1.0, -1.0]) for problem, pairs in asked]

    def notes(self, problem: Problem) -> Notes:
        """How many candidates were cut, and why the problem was skipped."""
        outcome = self._outcomes.get(problem)
        return Notes() if outcome is None else Notes(truncated=outcome.cut, failures=outcome.failures)

    def verdict_mass(self, problem: Problem, pairs: IntArray) -> FloatArray:
        """The probability [M] of all letters together, the same for all comparisons of a problem."""
        return np.full(len(pairs), self._outcomes[problem].mass if problem in self._outcomes else np.nan)

    def prompts(self, problem: Problem) -> list[tuple[list[Ids], IntArray]]:
        """The path of each round, and which distinct text each letter stands for; empty if the problem is skipped."""
        around, _ = self._frame(len({*problem.texts}), problem)
        return self._paths(problem, around)[0]

    def _judge(self, problems: Sequence[Problem], count: int) -> None:
        around, letters = self._frame(count, problems[0])
        rounds = []
        for problem in problems:
            shown, cut, failures = self._paths(problem, around)
            rounds.append(shown)
            self._outcomes[problem] = _Outcome(np.full(len(problem), np.nan), np.nan, cut, failures)
        log_probs = self.kernel.log_probs([path for shown in rounds for path, _ in shown], letters)  # [R, count]
        at = 0
        for problem, shown in zip(problems, rounds, strict=True):
            own, at = log_probs[at : at + len(shown)], at + len(shown)
            if not shown:
                continue
            of_text = np.zeros(count)
            for row, (_, order) in zip(own, shown, strict=True):
                of_text[order] += (row - np.logaddexp.reduce(row)) / len(shown)
            number = {text: k for k, text in enumerate(_distinct(problem))}
            qualities = of_text[[number[text] for text in problem.texts]]
            self._outcomes[problem] = self._outcomes[problem]._replace(
                qualities=qualities, mass=float(np.exp(own).sum(1).mean())
            )

    def _frame(self, count: int, problem: Problem) -> tuple[list[Ids], list[int]]:
        """The pieces around prompt and `count` responses, and the ids of their letters."""
        if count > len(ascii_uppercase):
            name = f"{problem.name}: " if problem.name else ""
            raise UserError(
                f"{name}{count} different candidates, and --ask choice shows 26 at most; take --strategy knockout with "
                "--ask verdict"
            )
        letters = ascii_uppercase[: max(count, 2)]  # a single one would have no label to tell it from
        shared, labels = self.form.labels(self._instructions, letters)
        if any(len(label) != 1 for label in labels):
            raise UserError(f"{self.name}: a letter is several tokens in this tokenizer, so no choice can be read")
        names = ["prompt", *(f"response_{letter.lower()}" for letter in letters[:count])]
        *start, cue = self.form.frame(self._instructions, names)
        return [*start, cue + shared], [label[0] for label in labels[:count]]

    def _paths(
        self, problem: Problem, around: list[Ids]
    ) -> tuple[list[tuple[list[Ids], IntArray]], int, tuple[str, ...]]:
        """The rounds of a problem, how many candidates were cut, and why it is skipped."""
        prompt, *texts = self.form.values([problem.prompt, *_distinct(problem)])
        room = self.kernel.max_length - sum(map(len, around))
        length, cut = len(prompt) + sum(map(len, texts)), 0
        if length > room:
            name = f"{problem.name}: " if problem.name else ""
            what = f"{length} tokens in prompt and {len(texts)} responses"
            reason = f"{name}{what}, more than the {max(room, 0)} that fit"
            if self.on_long == "fail":
                raise UserError(f"{reason}; raise max_length, or cut or skip what is too long")
            if self.on_long == "skip" or room < 2 * (len(texts) + 1):
                return [], 0, (reason,)
            prompt = middle_cut(prompt, max(room // 2, room - sum(map(len, texts))))
            longest = _longest([len(ids) for ids in texts], room - len(prompt))
            cut = sum(len(ids) > longest for ids in texts)
            texts = [middle_cut(ids, longest) for ids in texts]
        rng = np.random.default_rng(zlib.crc32("\0".join((problem.prompt, *_distinct(problem))).encode()))
        rounds = []
        for _ in range(self.rounds):
            order = rng.permutation(len(texts))
            values = [prompt, *(texts[k] for k in order)]
            pieces = [around[0], *(value + behind for value, behind in zip(values, around[1:], strict=True))]
            rounds.append((pieces, order))
        return rounds, cut, ()


def _distinct(problem: Problem) -> list[str]:
    """The distinct texts, in an order that does not depend on that of the candidates."""
    return sorted({*problem.texts})


def _longest(lengths: Sequence[int], room: int) -> int:
    """The length to which texts are cut so that together they fit."""
    left = room
    for k, length in enumerate(sorted(lengths)):
        share = left // (len(lengths) - k)
        if length > share:
            return share
        left -= length
    return max(lengths)
