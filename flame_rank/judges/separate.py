"""A language model that was trained in the separate form: the responses of a comparison do not see each other, so that
each is encoded once for all its comparisons (model/separate.py)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

from flame_rank.errors import UserError
from flame_rank.judges.language_model import LanguageModelJudge
from flame_rank.judges.pairs import PairForm, room_beside
from flame_rank.model.kernel import Kernel
from flame_rank.prompts.format import Format, Ids
from flame_rank.prompts.truncation import separate_lengths
from flame_rank.records import Problem
from strategies.base import FloatArray, IntArray


def longer_length(prompt: IntArray, a: IntArray, b: IntArray) -> IntArray:
    """Returns how many tokens of M comparisons count against the room, [M] each, from the numbers of tokens of prompts
    and responses."""
    return np.asarray(prompt + np.maximum(a, b))


class SeparateJudge(LanguageModelJudge):
    """Asks a model in the separate form which of two responses is better.

    A problem costs the tokens of its prompt, of each candidate once, and of marks and cue for each comparison. A
    checkpoint states that it was trained in this form (`flame_rank_responses` in its configuration); other checkpoints
    are not asked in this form.

    Attributes:
      around: the ids around prompt and responses.
    """

    def __init__(self, kernel: Kernel, form: Format, **options: Any):
        """Arguments and errors are those of LanguageModelJudge."""
        super().__init__(kernel, form, **options)
        shared, _ = form.labels(self._instructions, ("A", "B"))
        around = form.separate_frame(self._instructions)
        self.around = replace(around, cue=around.cue + shared)
        self.frame = self.around.fixed
        head, before, _, end = self.frame
        pair_form = PairForm(
            length=longer_length, truncated_lengths=separate_lengths, join=self._joined, counted="the longer response"
        )
        self._start(room_beside([head, before, end], kernel.max_length, least=2), pair_form)

    def tokens(self, problem: Problem, first: int, second: int) -> list[int]:
        """Returns the ids of a judgement in the same form as a row of training; arguments and errors as in
        `LanguageModelJudge.tokens`."""
        return [*super().tokens(problem, first, second), *self.around.end]

    def explain(self, asked: Sequence[tuple[Problem, int, int]], *, limit: int = 128) -> list[str | None]:
        """Raises UserError, because the model was trained to give only a verdict."""
        raise UserError("this judge reads responses separately and gives verdicts only; leave --explain out")

    def _joined(self, around: list[Ids], values: Sequence[Ids]) -> list[Ids]:
        return [self.around.head, *self.around.pieces(*values)]

    def _log_probs(self, paths: Sequence[Sequence[Ids]]) -> FloatArray:
        pairs = [((head, prompt), a, b) for head, prompt, a, b in paths]
        kernel = cast(Kernel, self.kernel)
        return kernel.pair_log_probs(pairs, self.around.marks, self.around.cue, self.verdict_ids)
