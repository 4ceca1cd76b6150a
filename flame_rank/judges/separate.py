"""A language model that was trained in the separate form: it reads each response by itself, once for all its
comparisons (model/separate.py)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flame_rank.errors import UserError
from flame_rank.judges.base import ProblemMemory
from flame_rank.judges.language_model import LanguageModelJudge
from flame_rank.judges.pairs import PairForm, room_beside
from flame_rank.model import forks
from flame_rank.model.scorer import Scorer
from flame_rank.prompts.format import Format, Ids
from flame_rank.prompts.truncation import separate_lengths
from flame_rank.records import Problem
from strategies.base import FloatArray, IntArray


def longer_length(prompt: IntArray, a: IntArray, b: IntArray) -> IntArray:
    """Returns how many tokens of M comparisons count against the room, [M] each, from the numbers of tokens of prompts
    and responses."""
    return np.asarray(prompt + np.maximum(a, b))


@dataclass(frozen=True, kw_only=True)
class _Read:
    """What the model said behind a response: log-odds of A against B, and P(A) + P(B)."""

    score: float
    mass: float


class SeparateJudge(LanguageModelJudge):
    """Asks a model in the separate form which of two responses is better.

    A problem costs the tokens of its prompt and of each candidate once. The log-odds of a comparison are the difference
    of its candidates' scores: the judge is pointwise, and indifferent to the order. A checkpoint states that it was
    trained in this form (`flame_rank_responses` in its configuration); other checkpoints are not asked in it.
    """

    pointwise = True

    def __init__(self, kernel: Scorer, form: Format, **options: Any):
        """Arguments and errors are those of LanguageModelJudge."""
        super().__init__(kernel, form, **options)
        self.frame = form.separate_frame(self._instructions).fixed
        head, before, cue, _ = self.frame
        pair_form = PairForm(length=longer_length, truncated_lengths=separate_lengths, counted="the longer response")
        self._start(room_beside([head, before, cue], kernel.max_length, least=2), pair_form)
        self._reads: ProblemMemory[dict[int, _Read | None]] = ProblemMemory()

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        """Returns the log-odds [M] for each problem; NaN if one of the responses is too long and skipped.

        A candidate is read once: later calls take its score from memory.

        Raises:
          UserError: a response is too long and `on_long` is "fail".
        """
        forks.compute_here()
        for problem, pairs in asked:
            reads = self._reads.setdefault(problem, {})
            reads |= dict.fromkeys(set(np.unique(pairs).tolist()) - {*reads})
        fresh = [(problem, i) for problem, _ in asked for i, read in self._reads[problem].items() if read is None]
        paths = {place: self.path(*place) for place in fresh}
        kept = {place: path for place, path in paths.items() if path is not None}
        for (problem, i), (of_a, of_b) in zip(kept, self._log_probs([*kept.values()]), strict=True):
            self._reads[problem][i] = _Read(score=of_a - of_b, mass=float(np.exp(of_a) + np.exp(of_b)))
        return [self._of(problem, pairs, "score") @ np.array([1.0, -1.0]) for problem, pairs in asked]

    def path(self, problem: Problem, candidate: int) -> list[Ids] | None:
        """Returns the pieces of instructions, prompt and a candidate with the cue; None if it is too long and skipped.

        Raises:
          UserError: it is too long and `on_long` is "fail".
        """
        both = self._pairs.path(problem, candidate, candidate)  # what is cut depends on no other response
        return None if both is None else both[:3]

    def verdict_mass(self, problem: Problem, pairs: IntArray) -> FloatArray:
        """Returns P(A) + P(B) [M] of comparisons [M, 2], the mean behind both responses; NaN for those that were not
        judged."""
        return np.asarray(self._of(problem, pairs, "mass").mean(1))

    def explain(self, asked: Sequence[tuple[Problem, int, int]], *, limit: int = 128) -> list[str | None]:
        """Raises UserError, because the model was trained to give only a verdict."""
        raise UserError("this judge reads responses separately and gives verdicts only; leave --explain out")

    def _of(self, problem: Problem, pairs: IntArray, what: str) -> FloatArray:
        """Returns what was read behind both responses of comparisons, [M, 2]; NaN for what was not read."""
        reads = self._reads.get(problem, {})
        return np.array([[getattr(reads.get(i), what, np.nan) for i in pair] for pair in pairs.tolist()]).reshape(-1, 2)
