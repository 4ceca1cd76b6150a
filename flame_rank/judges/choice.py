"""All candidates in one prompt: a language model on this machine chooses the best one by its letter. For large judges,
which are expensive to ask about pairs."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from flame_rank.judges.base import Notes, ProblemMemory
from flame_rank.judges.choice_prompts import ROUNDS, ChoicePrompts, Shown, qualities
from flame_rank.judges.options import OnLong
from flame_rank.model import forks
from flame_rank.model.scorer import Scorer
from flame_rank.prompts.format import Format
from flame_rank.prompts.instructions import Instructions
from flame_rank.records import Problem
from strategies.base import FloatArray, IntArray


class _Outcome(NamedTuple):
    qualities: FloatArray  # [n], NaN if the problem is skipped
    mass: float
    cut: int
    failures: tuple[str, ...]


class ChoiceJudge:
    """Shows a model all distinct candidates at once and reads the log-probability of each one's letter.

    A quality is the mean of these over `rounds` random orders, in nats, as for the first choice in Plackett and Luce's
    model: P(best) is the softmax of the qualities.
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
        name: the judge's identity: all that its answers depend on, except the number of rounds.
        on_long: as of `ChoicePrompts`.
        """
        self.kernel, self.form, self.instructions = kernel, form, instructions
        self.name = f"choice of {rounds}:{name}"
        self._prompts = ChoicePrompts(form, instructions, max_length=kernel.max_length, on_long=on_long, rounds=rounds)
        self._outcomes: ProblemMemory[_Outcome] = ProblemMemory()

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        """Returns the log-odds [M] for each problem: differences of qualities; NaN for a problem that was skipped.

        Raises:
          UserError: a problem has more than 26 distinct candidates, or is too long and `on_long` is "fail".
        """
        forks.compute_here()
        fresh = list(dict.fromkeys(problem for problem, _ in asked if problem not in self._outcomes))
        by_count: dict[int, list[tuple[Problem, Shown]]] = {}
        for problem in fresh:
            shown = self.shown(problem)
            by_count.setdefault(len(shown.letters), []).append((problem, shown))
        for problems in by_count.values():
            self._judge(problems)
        return [self._outcomes[problem].qualities[pairs] @ np.array([1.0, -1.0]) for problem, pairs in asked]

    def notes(self, problem: Problem) -> Notes:
        """Returns how many candidates were cut, and why the problem was skipped."""
        outcome = self._outcomes.get(problem)
        return Notes() if outcome is None else Notes(truncated=outcome.cut, failures=outcome.failures)

    def verdict_mass(self, problem: Problem, pairs: IntArray) -> FloatArray:
        """Returns the probability [M] of all letters together, the same for all comparisons of a problem."""
        return np.full(len(pairs), self._outcomes[problem].mass if problem in self._outcomes else np.nan)

    def shown(self, problem: Problem) -> Shown:
        """Returns the path of each round, and which distinct text each letter stands for."""
        return self._prompts.shown(problem)

    def _judge(self, problems: Sequence[tuple[Problem, Shown]]) -> None:
        """Judges problems of equally many distinct candidates."""
        paths = [path for _, shown in problems for path in shown.paths]
        log_probs = self.kernel.log_probs(paths, problems[0][1].letters)  # [R, count]
        at = 0
        for problem, shown in problems:
            own, at = log_probs[at : at + len(shown.paths)], at + len(shown.paths)
            quality, mass = np.full(len(problem), np.nan), np.nan
            if shown.paths:
                quality, mass = qualities(problem, list(own), shown.orders), float(np.exp(own).sum(1).mean())
            self._outcomes[problem] = _Outcome(quality, mass, shown.cut, shown.failures)
