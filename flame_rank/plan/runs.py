"""Simulates runs over a file with a local judge, for several strategies at once, with lengths instead of texts."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from flame_rank.judges.language_model import LanguageModelJudge
from flame_rank.judges.separate import SeparateJudge
from flame_rank.plan.encoding import Encoding
from flame_rank.plan.lengths import Lengths, compare, count_tokens
from flame_rank.plan.rounds import Rounds, calls
from flame_rank.records import Problem
from strategies.base import IntArray

SAMPLE = 2048  # problems; for a file of 10,000 the error is 1 or 2 % in tokens and 20 % in programs


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """The tokens and programs of one run; the fields are those of plans.Plan."""

    tokens: int
    programs: int
    sampled: int | None


class Runs:
    """Simulated runs that take problems as a stream.

    A strategy whose rounds are certain is played over all problems; any other is played over a sample at the end.

    Attributes:
      long: number of comparisons so far, of all pairs in both orders, that exceed the judge's maximum length.
    """

    def __init__(self, judge: LanguageModelJudge, asked: Sequence[Callable[[int], Rounds]], batch: int):
        """Args:
        asked: for each strategy a function from n candidates to its rounds.
        batch: comparisons that are collected for one call of the judge.
        """
        self._judge = judge
        self._runs = [_Run(judge=judge, asked=rounds, batch=batch) for rounds in asked]
        self._sample = _Sample()
        self.long = 0

    def add(self, problems: Sequence[Problem], places: Sequence[IntArray]) -> None:
        """Adds the next problems; `places` has for each problem the indices [d] of the first candidate with each
        distinct text."""
        lengths = count_tokens(self._judge, problems, places)
        separate = isinstance(self._judge, SeparateJudge)
        self.long += sum(problem.long(self._judge.room, separate=separate) for problem in lengths)
        self._sample.add(lengths)
        for run in self._runs:
            run.certain &= all(run.asked(n).certain for n in {len(problem.candidates) for problem in lengths})
            if run.certain:
                run.play(lengths, last=False)

    def finish(self) -> list[Encoded]:
        """Returns what each run encodes, after all problems were added."""
        return [self._encoded(run) for run in self._runs]

    def _encoded(self, run: "_Run") -> Encoded:
        last: list[Lengths] = []
        if not run.certain:
            run, last = _Run(judge=self._judge, asked=run.asked, batch=run.batch), self._sample.problems()
        run.play(last, last=True)
        tokens, shapes = run.encoding.tokens, run.encoding.shapes
        if not last or len(last) == self._sample.seen:
            return Encoded(tokens=tokens, programs=len(shapes), sampled=None)
        scale = self._sample.tokens / max(1, sum(problem.total for problem in last))
        return Encoded(tokens=round(tokens * scale), programs=_kinds(shapes), sampled=len(last))


@dataclass(kw_only=True)
class _Run:
    """The simulated run of one strategy.

    Attributes:
      certain: whether all rounds so far are certain.
      waiting: the problems that have not filled a call yet.
    """

    judge: LanguageModelJudge
    asked: Callable[[int], Rounds]
    batch: int
    certain: bool = True
    waiting: list[Lengths] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.encoding = Encoding(self.judge)

    def play(self, problems: Sequence[Lengths], *, last: bool) -> None:
        """Plays all rounds of problems; if not `last`, only up to the last full call."""
        problems = [*self.waiting, *problems]
        sizes = [list(map(len, self.asked(len(problem.candidates)).pairs)) for problem in problems]
        together, done = calls(sizes, self.batch, last=last)
        if together:
            self.encoding.add(compare(self.judge, problems[:done], self.asked), together)
        self.waiting = problems[done:]


class _Sample:
    """Samples up to SAMPLE problems of a stream, each with the same probability (Vitter's algorithm R, 1985).

    Attributes:
      seen: number of problems in the stream.
      tokens: the number of tokens of all their texts that are compared.
    """

    def __init__(self) -> None:
        self.seen = self.tokens = 0
        self._kept: list[tuple[int, Lengths]] = []
        self._rng = np.random.default_rng(0)

    def add(self, problems: Sequence[Lengths]) -> None:
        for problem in problems:
            at = self.seen if self.seen < SAMPLE else int(self._rng.integers(self.seen + 1))
            if at < SAMPLE:
                self._kept[at : at + 1] = [(self.seen, problem)]
            self.seen += 1
            self.tokens += problem.total

    def problems(self) -> list[Lengths]:
        """Returns the sample in the order of the stream."""
        return [problem for _, problem in sorted(self._kept, key=lambda kept: kept[0])]


def _kinds(seen: Counter[tuple[str, int, int, int]]) -> int:
    """Estimates the number of kinds from those that occur once and twice in a sample (Chao, 1984, bias-corrected)."""
    once, twice = (sum(count == times for count in seen.values()) for times in (1, 2))
    return len(seen) + once * (once - 1) // (2 * (twice + 1))
