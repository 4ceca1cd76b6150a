"""A language model as a judge: each comparison is written in the unified format, and the verdict is read from the
log-probabilities of A and B where the answer is due.
"""

from collections.abc import Mapping, Sequence
from weakref import WeakKeyDictionary

import numpy as np

from flame_rank.errors import UserError
from flame_rank.judges.base import Notes
from flame_rank.judges.options import OnLong
from flame_rank.model import forks
from flame_rank.model.scorer import Scorer
from flame_rank.prompts.format import Format, Ids
from flame_rank.prompts.instructions import PAIRWISE, PAIRWISE_CONTEXT, VERDICTS, Instructions, with_words
from flame_rank.prompts.truncation import SHARE, truncate_pair, truncated_lengths
from flame_rank.records import Problem
from strategies.base import FloatArray, IntArray


class _Record:
    """What is known about a problem: the ids of its texts, and what happened to its judgements."""

    def __init__(self, prompt: Ids, candidates: list[Ids]):
        self.prompt, self.candidates = prompt, candidates
        self.cut: set[int] = set()
        self.failures: dict[str, None] = {}
        self.mass: dict[tuple[int, int], float] = {}  # P(A) + P(B) of each comparison


class LanguageModelJudge:
    """Asks a model which of two responses is better, and reads the log-odds of A against B.

    Attributes:
      kernel: the model.
      verdict_ids: the ids of A and B.
      form: the unified format in the checkpoint's tokens.
      frame: ids of the four pieces around prompt and responses: before each of the three, and behind the last.
      room: tokens that `kernel.max_length` leaves for prompt and two responses.
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
        name: identity, for all that shapes an answer.
        instructions: what is asked; the context is prompt, response_a and response_b.
        on_long: what is done with a comparison that is longer than the kernel's maximum length: cut = its responses
          lose their middle, the longer one first (and so does the prompt, if it leaves a response less than an
          eighth); skip = it has no judgement; fail = the run ends.

        Raises:
          ValueError: A and B are not single, distinct tokens, or the instructions leave no room for responses.
        """
        self.kernel, self.name, self.on_long = kernel, name, on_long
        self.form, self._instructions = form, instructions
        shared, (a, b) = form.labels(instructions, VERDICTS)
        *start, cue = form.frame(instructions, PAIRWISE_CONTEXT)
        self.frame = [*start, cue + shared]
        if len(a) != 1 or len(b) != 1:
            raise ValueError("A and B are several tokens each in this tokenizer: no verdict can be read")
        self.verdict_ids = a[0], b[0]
        self.room = kernel.max_length - sum(map(len, self.frame))
        if self.room < SHARE * 2:
            raise ValueError(f"max_length {kernel.max_length} leaves no room beside the instructions; raise it")
        self._records: WeakKeyDictionary[Problem, _Record] = WeakKeyDictionary()

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        """Log-odds [M] for each problem; NaN for what was skipped.

        Raises:
          UserError: a comparison is too long and `on_long` is "fail".
        """
        forks.compute_here()
        paths: list[list[Ids]] = []
        places: list[tuple[int, int]] = []
        answers = [np.full(len(pairs), np.nan) for _, pairs in asked]
        for k, (problem, pairs) in enumerate(asked):
            for m, (first, second) in enumerate(pairs):
                path = self._path(problem, int(first), int(second))
                if path is not None:
                    paths.append(path)
                    places.append((k, m))
        log_probs = self._log_probs(paths)  # [R, 2]
        for (k, m), (of_a, of_b) in zip(places, log_probs, strict=True):
            answers[k][m] = of_a - of_b
            first, second = asked[k][1][m].tolist()
            self._record(asked[k][0]).mass[first, second] = float(np.exp(of_a) + np.exp(of_b))
        return answers

    def notes(self, problem: Problem) -> Notes:
        """How many candidates were cut, and why comparisons were skipped."""
        record = self._records.get(problem)
        if record is None:  # it could not be read
            return Notes()
        return Notes(truncated=len(record.cut), failures=tuple(record.failures))

    def verdict_mass(self, problem: Problem, pairs: IntArray) -> FloatArray:
        """P(A) + P(B) [M] of comparisons [M, 2]; NaN for those that were not judged."""
        record = self._records.get(problem)
        return np.array([record.mass.get((i, j), np.nan) if record else np.nan for i, j in pairs.tolist()], np.float64)

    def tokens(self, problem: Problem, first: int, second: int) -> list[int]:
        """The exact ids of a judgement, whose verdict is read after the last one; candidates by index.

        Raises:
          UserError: it is too long, and `on_long` is not "cut".
        """
        path = self._path(problem, first, second)
        if path is None:
            raise UserError(next(reversed(self._record(problem).failures)))
        return [token for piece in path for token in piece]

    def score_choices(
        self, instructions: Instructions, contexts: Sequence[Mapping[str, str]], labels: Sequence[str]
    ) -> FloatArray:
        """Computes how probable each label is as the answer: for classes, or for a scale (`expected` gives its value).

        Args:
          instructions: what is asked; the labels answer its first output field.
          contexts: R texts, each with the same fields in the same order.
          labels: C possible answers.

        Returns:
          [R, C] float64; each row sums to 1 over the labels.

        Raises:
          ValueError: the fields differ, a text is too long, or the tokenizer does not tell the labels apart.
        """
        if isinstance(contexts, str | Mapping) or isinstance(labels, str):
            raise TypeError('contexts is a list of mappings, [{"prompt": ...}], and labels a list of texts')
        if not contexts:
            return np.empty((0, len(labels)))
        names = tuple(contexts[0])
        if any(tuple(context) != names for context in contexts):
            raise ValueError("contexts have different fields")
        shared, targets = self.form.labels(instructions, labels)
        *start, cue = self.form.frame(instructions, names)
        values = self.form.values([context[name] for context in contexts for name in names])
        paths = [_joined([*start, cue + shared], values[i : i + len(names)]) for i in range(0, len(values), len(names))]
        scores = self.kernel.log_likelihoods(paths, targets)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        return np.asarray(weights / weights.sum(-1, keepdims=True))

    def explain(self, asked: Sequence[tuple[Problem, int, int]], *, limit: int = 128) -> list[str | None]:
        """Asks the judge why a candidate is better than another.

        Args:
          asked: problems, each with the better candidate and the other one, by index.
          limit: maximum number of tokens.

        Returns:
          a text for each; None if the comparison was too long.
        """
        answered = [(self._instructions.output_fields[0], VERDICTS[0])]
        around = self.form.frame(with_words(self._instructions), PAIRWISE_CONTEXT, answered)
        extra = sum(map(len, around)) - sum(map(len, self.frame)) + limit
        paths = [self._path(*comparison, around=around, room=self.room - extra) for comparison in asked]
        written = self.kernel.generate([p for p in paths if p is not None], limit=limit, eos=self.form.eos)
        words = iter(written)
        return [self.form.text(next(words)) if path is not None else None for path in paths]

    def _record(self, problem: Problem) -> _Record:
        if problem not in self._records:
            prompt, *candidates = self.form.values([problem.prompt, *problem.texts])
            self._records[problem] = _Record(prompt, candidates)
        return self._records[problem]

    def _path(
        self,
        problem: Problem,
        first: int,
        second: int,
        *,
        around: list[Ids] | None = None,
        room: int | None = None,
    ) -> list[Ids] | None:
        """The pieces of a comparison; None if it is too long and skipped."""
        record = self._record(problem)
        room = self.room if room is None else room
        prompt, a, b = record.prompt, record.candidates[first], record.candidates[second]
        length = int(self.length(*(np.array(len(text)) for text in (prompt, a, b))))
        if length > room:
            if self.on_long != "cut":
                name = f"{problem.name}: " if problem.name else ""
                what = f"{length} tokens in prompt and {self._counted}, more than the {room}"
                message = f"{name}{what} that max_length {self.kernel.max_length} leaves beside the instructions"
                if self.on_long == "fail":
                    raise UserError(f"{message}; raise it, or cut or skip what is too long")
                record.failures[message] = None
                return None
            prompt, a_cut, b_cut = truncate_pair(prompt, a, b, room, self.truncated_lengths)
            record.cut |= {
                i for i, before, after in ((first, a, a_cut), (second, b, b_cut)) if len(after) < len(before)
            }
            if len(prompt) < len(record.prompt):
                record.cut |= {first, second}
            a, b = a_cut, b_cut
        return self._pieces(prompt, a, b, around)

    # What depends on the form of a comparison: judges/separate.py has another one.

    _counted = "two responses"
    truncated_lengths = staticmethod(truncated_lengths)

    @staticmethod
    def length(prompt: IntArray, a: IntArray, b: IntArray) -> IntArray:
        """The tokens that count against the room, from those of prompts and responses, [M] each."""
        return prompt + a + b

    def _pieces(self, prompt: Ids, a: Ids, b: Ids, around: list[Ids] | None) -> list[Ids]:
        return _joined(around or self.frame, [prompt, a, b])

    def _log_probs(self, paths: Sequence[Sequence[Ids]]) -> FloatArray:
        """The log-probabilities [R, 2] of A and B after comparisons in pieces."""
        return self.kernel.log_probs(paths, self.verdict_ids)


def expected(probabilities: FloatArray, values: Sequence[float]) -> FloatArray:
    """The expected value [R] on a scale, from the probabilities [R, C] and the values of its C steps."""
    return np.asarray(probabilities @ np.asarray(values, np.float64))


def _joined(around: list[Ids], values: Sequence[Ids]) -> list[Ids]:
    """A path: the instructions, with which all paths of a run begin, and each value with the text after it."""
    return [around[0], *(value + behind for value, behind in zip(values, around[1:], strict=True))]
