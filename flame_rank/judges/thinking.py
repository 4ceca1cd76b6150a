"""A language model on this machine that writes its reasons first, and then its verdict. The answer is read like that
of a server (judges/written.py)."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from flame_rank.judges.base import Notes
from flame_rank.judges.options import OnLong
from flame_rank.judges.pairs import PairPaths, room_beside
from flame_rank.judges.think_options import ThinkOptions
from flame_rank.judges.written import Judgement, Sample, outcome, read_sample
from flame_rank.model import forks
from flame_rank.model.generation import Sampling, Written
from flame_rank.model.kernel import Kernel
from flame_rank.prompts.format import Format, Ids
from flame_rank.prompts.instructions import PAIRWISE_CONTEXT, VERDICTS, Instructions, with_reasons_first
from flame_rank.records import Problem
from strategies.base import FloatArray, IntArray

_BEFORE = ("", " ", "\n", "choice: ", "choice:", "**")  # what may stand before a verdict, and share its token


class ThinkingJudge:
    """Lets a model write reasons and a last line with its verdict, and reads the log-odds of that verdict's token.

    A judgement is the mean of the log-odds of its samples. An answer that reaches the budget, or has no verdict, does
    not count; without any verdict the judgement is invalid. If the same comparison is asked again, other answers are
    sampled.
    """

    pool_aware = False
    pointwise = False
    one_by_one = False

    def __init__(
        self,
        kernel: Kernel,
        form: Format,
        *,
        name: str,
        instructions: Instructions,
        on_long: OnLong = "cut",
        options: ThinkOptions,
    ):
        """Args:
          name: identity, for all that shapes an answer.
          form: with a chat template that tells the model to think, if it has one.
          instructions, on_long: as of `LanguageModelJudge`.

        Raises:
          ValueError: the instructions leave no room for responses.
        """
        self.name, self.form, self.think_options = name, form, options
        self._kernel = kernel
        frame = form.frame(with_reasons_first(instructions), PAIRWISE_CONTEXT)
        room = room_beside(frame, kernel.max_length)
        self._pairs = PairPaths(form.values, frame, room, max_length=kernel.max_length, on_long=on_long)
        self._letters = {letter: self._ids(letter) for letter in VERDICTS}

    def _ids(self, letter: str) -> list[int]:
        """Returns the tokens that are this letter and nothing else."""
        last = {ids[-1] for ids in self.form.values([before + letter for before in _BEFORE])}
        return sorted(token for token in last if self.form.text([token]) == letter)

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        """Returns the log-odds [M] for each problem; NaN for a comparison that was skipped or has no verdict.

        Raises:
          UserError: a comparison is too long and `on_long` is "fail".
        """
        forks.compute_here()
        answers = [np.full(len(pairs), np.nan) for _, pairs in asked]
        work: list[tuple[int, int, list[Ids]]] = []
        for k, (problem, pairs) in enumerate(asked):
            for m, (first, second) in enumerate(pairs.tolist()):
                path = self._pairs.path(problem, first, second)
                if path is not None:
                    work.append((k, m, path))
        drawn = self.think_options.samples or 1
        written = self._kernel.write(
            [path for _, _, path in work for _ in range(drawn)],
            limit=self.think_options.limit,
            eos=self.form.eos,
            sampling=self._sampling,
            seeds=[seed for k, m, path in work for seed in self._seeds(asked[k][0], asked[k][1][m], path, drawn)],
            targets=[token for ids in self._letters.values() for token in ids],
        )
        for i, (k, m, _) in enumerate(work):
            judgement = outcome([self._read(text) for text in written[i * drawn : (i + 1) * drawn]])
            self._keep(asked[k][0], asked[k][1][m], judgement)
            answers[k][m] = judgement.log_odds
        return answers

    def notes(self, problem: Problem) -> Notes:
        """How many candidates were cut, and why judgements failed."""
        return self._pairs.notes(problem)

    def tokens(self, problem: Problem, first: int, second: int) -> list[int]:
        """Returns the exact ids of a comparison, after which the model writes; candidates by index.

        Raises:
          UserError: the comparison is too long, and `on_long` is not "cut".
        """
        return self._pairs.tokens(problem, first, second)

    def explain(self, asked: Sequence[tuple[Problem, int, int]]) -> list[str | None]:
        """Returns the reasons that the model gave when it judged a better candidate and another, by index; it judges
        now what it has not judged in this process. None if it gave no reasons."""
        unknown = [
            (problem, better, other) for problem, better, other in asked if not self._words(problem, better, other)
        ]
        if unknown:
            self.judge([(problem, np.array([[better, other]])) for problem, better, other in unknown])
        return [self._words(*comparison) for comparison in asked]

    def _words(self, problem: Problem, better: int, other: int) -> str | None:
        words = self._pairs.record(problem).words
        return words.get((better, other)) or words.get((other, better))

    @property
    def _sampling(self) -> Sampling | None:
        options = self.think_options
        return Sampling(temperature=options.temperature, top_p=options.top_p) if options.temperature else None

    def _seeds(self, problem: Problem, pair: IntArray, path: list[Ids], count: int) -> list[tuple[int, int]]:
        """Returns the seeds of each sample of a comparison; others if it is asked again."""
        times = self._pairs.record(problem).asked
        before = times.get(tuple(pair.tolist()), 0)
        times[tuple(pair.tolist())] = before + 1
        seeds = []
        for k in range(before * count, (before + 1) * count):
            digest = hashlib.sha256(repr((self.think_options.seed, k, path)).encode()).digest()
            seeds.append((int.from_bytes(digest[:4]), int.from_bytes(digest[4:8])))
        return seeds

    def _read(self, text: Written) -> Sample:
        sample = read_sample(
            {"content": self.form.text(text.ids)}, ended=text.ended, thinks=True, limit=self.think_options.limit
        )
        own = self._letters.get(sample.verdict or "", [])
        place = next((k for k in reversed(range(len(text.ids))) if text.ids[k] in own), None)
        if place is None or "\n" in self.form.text(text.ids[place:]):  # of the reasons, not of the last line
            return sample
        a, b = np.split(text.scores[place], [len(self._letters["A"])])
        of_a, of_b = float(np.logaddexp.reduce(a)), float(np.logaddexp.reduce(b))
        return replace(sample, judgement=Judgement(log_odds=of_a - of_b))

    def _keep(self, problem: Problem, pair: IntArray, judgement: Judgement) -> None:
        record = self._pairs.record(problem)
        if judgement.words:
            record.words[tuple(pair.tolist())] = judgement.words
        if judgement.reason:
            record.failures[judgement.reason] = None
