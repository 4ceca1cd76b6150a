"""A language model as a judge: each comparison is written in the unified format, and the verdict is read from the
log-probabilities of A and B where the answer is due.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from flame_rank.judges.base import Notes
from flame_rank.judges.options import OnLong
from flame_rank.judges.pairs import JOINT, PairForm, PairPaths, joined, room_beside
from flame_rank.model import forks
from flame_rank.model.scorer import Scorer
from flame_rank.prompts.format import Format, Ids
from flame_rank.prompts.instructions import PAIRWISE, PAIRWISE_CONTEXT, VERDICTS, Instructions, with_words
from flame_rank.prompts.truncation import SHARE
from flame_rank.records import Problem
from strategies.base import FloatArray, IntArray


class LanguageModelJudge:
    """Asks a model which of two responses is better, and reads the log-odds of A against B.

    Attributes:
      kernel: the model.
      verdict_ids: the token ids of A and B.
      form: the unified format in the checkpoint's tokens.
      frame: the ids of the four pieces around prompt and responses: one before each of the three, and one after the
        last.
      room: the number of tokens that `kernel.max_length` leaves for the prompt and two responses.
      pair_form: how long a comparison may be.
    """

    pool_aware = False
    pointwise = False
    one_by_one = False

    def __init__(
        self,
        kernel: Scorer,
        form: Format,
        *,
        name: str,
        instructions: Instructions = PAIRWISE,
        on_long: OnLong = "cut",
    ):
        """Args:
        name: the judge's identity: all that its answers depend on.
        instructions: the task of the model; its context is prompt, response_a and response_b.
        on_long: what is done if a comparison is longer than the kernel's maximum length. "cut" cuts the middle out of
          its responses, the longer one first, and out of the prompt if it leaves a response less than an eighth;
          "skip" gives no judgement; "fail" ends the run.

        Raises:
          ValueError: A and B are not single, distinct tokens, or the instructions leave no room for responses.
        """
        self.kernel, self.name, self.on_long = kernel, name, on_long
        self.form, self._instructions = form, instructions
        shared, (a, b) = form.labels(instructions, VERDICTS)
        *start, cue = form.frame(instructions, PAIRWISE_CONTEXT)
        if len(a) != 1 or len(b) != 1:
            ids = f"{list(a)} and {list(b)}"
            raise ValueError(
                f"A and B are several tokens in this tokenizer, {ids}, so no verdict can be read; take --ask likelihood"
            )
        self.verdict_ids = a[0], b[0]
        self.frame = [*start, cue + shared]
        self._start(room_beside(self.frame, kernel.max_length), JOINT)

    def _start(self, room: int, pair_form: PairForm) -> None:
        self.room, self.pair_form = room, pair_form
        self._pairs = PairPaths(
            self.form.values,
            self.frame,
            room,
            max_length=self.kernel.max_length,
            on_long=self.on_long,
            form=pair_form,
        )

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        """Returns the log-odds [M] for each problem; NaN for a skipped comparison.

        Raises:
          UserError: a comparison is too long and `on_long` is "fail".
        """
        forks.compute_here()
        paths: list[list[Ids]] = []
        places: list[tuple[int, int]] = []
        answers = [np.full(len(pairs), np.nan) for _, pairs in asked]
        for k, (problem, pairs) in enumerate(asked):
            for m, (first, second) in enumerate(pairs):
                path = self._pairs.path(problem, int(first), int(second))
                if path is not None:
                    paths.append(path)
                    places.append((k, m))
        log_probs = self._log_probs(paths)  # [R, 2]
        for (k, m), (of_a, of_b) in zip(places, log_probs, strict=True):
            answers[k][m] = of_a - of_b
            first, second = asked[k][1][m].tolist()
            self._pairs.record(asked[k][0]).mass[first, second] = float(np.exp(of_a) + np.exp(of_b))
        return answers

    def notes(self, problem: Problem) -> Notes:
        """Returns how many candidates were cut, and why comparisons were skipped."""
        return self._pairs.notes(problem)

    def verdict_mass(self, problem: Problem, pairs: IntArray) -> FloatArray:
        """Returns P(A) + P(B) [M] of comparisons [M, 2]; NaN for those that were not judged."""
        record = self._pairs.known(problem)
        return np.array([record.mass.get((i, j), np.nan) if record else np.nan for i, j in pairs.tolist()], np.float64)

    def tokens(self, problem: Problem, first: int, second: int) -> list[int]:
        """Returns the exact token ids of a comparison; the verdict is read after the last one.

        Raises:
          UserError: the comparison is too long, and `on_long` is not "cut".
        """
        return self._pairs.tokens(problem, first, second)

    def score_choices(
        self, instructions: Instructions, contexts: Sequence[Mapping[str, str]], labels: Sequence[str]
    ) -> FloatArray:
        """Computes how probable each label is as the answer, for classes or for a scale (see `expected`).

        Args:
          instructions: the task of the model; the labels are values of its first output field.
          contexts: R mappings from field to text, with the same fields in the same order.
          labels: the C possible answers.

        Returns:
          [R, C] float64; each row sums to 1 over the labels.

        Raises:
          ValueError: the fields differ, a text is too long, or the tokenizer does not tell the labels apart.
        """
        if isinstance(contexts, str | Mapping) or isinstance(labels, str):
            raise TypeError('contexts must be a list of mappings, [{"prompt": ...}], and labels a list of texts')
        if not contexts:
            return np.empty((0, len(labels)))
        names = tuple(contexts[0])
        if any(tuple(context) != names for context in contexts):
            raise ValueError("contexts have different fields")
        shared, targets = self.form.labels(instructions, labels)
        *start, cue = self.form.frame(instructions, names)
        values = self.form.values([context[name] for context in contexts for name in names])
        paths = [joined([*start, cue + shared], values[i : i + len(names)]) for i in range(0, len(values), len(names))]
        scores = self.kernel.log_likelihoods(paths, targets)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        return np.asarray(weights / weights.sum(-1, keepdims=True))

    def explain(self, asked: Sequence[tuple[Problem, int, int]], *, limit: int = 128) -> list[str | None]:
        """Asks the judge why a candidate is better than another.

        Args:
          asked: problems, each with the better candidate and the other one, by index.
          limit: the most tokens of an explanation.

        Returns:
          A text for each; None if the comparison was too long, or if there is no room for an explanation.
        """
        answered = [(self._instructions.output_fields[0], VERDICTS[0])]
        around = self.form.frame(with_words(self._instructions), PAIRWISE_CONTEXT, answered)
        room = self.room - (sum(map(len, around)) - sum(map(len, self.frame)) + limit)
        if room < 2 * SHARE:
            return [None] * len(asked)
        paths = [self._pairs.path(*comparison, around=around, room=room) for comparison in asked]
        written = self.kernel.generate([p for p in paths if p is not None], limit=limit, eos=self.form.eos)
        words = iter(written)
        return [self.form.text(next(words)) if path is not None else None for path in paths]

    def _log_probs(self, paths: Sequence[Sequence[Ids]]) -> FloatArray:
        """Returns the log-probabilities [R, 2] of A and B after comparisons in pieces."""
        return self.kernel.log_probs(paths, self.verdict_ids)


def expected(probabilities: FloatArray, values: Sequence[float]) -> FloatArray:
    """Computes the expected value [R] on a scale from the probabilities [R, C] and the values of its C steps."""
    return np.asarray(probabilities @ np.asarray(values, np.float64))
