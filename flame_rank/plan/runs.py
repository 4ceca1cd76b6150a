"""Runs over a file with a local judge and several strategies at once, on lengths instead of texts."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from flame_rank.judges.language_model import LanguageModelJudge
from flame_rank.plan.encoding import Encoding
from flame_rank.plan.lengths import Lengths, compare, count_tokens
from flame_rank.plan.rounds import Rounds, calls
from flame_rank.records import Problem
from strategies.base import IntArray

SAMPLE = 2048  # problems: of 10,000 they tell the tokens to 1 or 2 in a hundred, and the programs to 20


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """What one run encodes: tokens, programs and sampled are those of plans.Plan."""

    tokens: int
    programs: int
    sampled: int | None


class Runs:
    """The runs, as problems come in.

    Where a strategy's rounds are certain it is played over all problems, and otherwise over a sample in the end.

    Attributes:
      long: comparisons so far, of all pairs in both orders, that are longer than the judge's maximum length.
    """

    def __init__(self, judge: LanguageModelJudge, asked: Sequence[Callable[[int], Rounds]], batch: int):
        """Args:
        asked: what each strategy asks of n candidates.
        batch: comparisons that are collected for one call of the judge.
        """
        self._judge = judge
        self._runs = [_Run(judge=judge, asked=rounds, batch=batch) for rounds in asked]
        self._sample = _Sample()
        self.long = 0

    def add(self, problems: Sequence[Problem], places: Sequence[IntArray]) -> None:
        """Takes the next problems; places: [d] the first candidate of each distinct text, for each problem."""
        lengths = count_tokens(self._judge, problems, places)
        self.long += sum(problem.long(self._judge.room) for problem in lengths)
        self._sample.add(lengths)
        for run in self._runs:
            run.certain &= all(run.asked(n).certain for n in {len(problem.candidates) for problem in lengths})
            if run.certain:
                run.play(lengths, last=False)

    def finish(self) -> list[Encoded]:
        """What each run encodes, when all problems are in."""
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
    """One strategy at work.

    Attributes:
      certain: all its rounds so far are.
      waiting: problems that have not filled a call yet.
    """

    judge: LanguageModelJudge
    asked: Callable[[int], Rounds]
    batch: int
    certain: bool = True
    waiting: list[Lengths] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.encoding = Encoding(self.judge)

    def play(self, problems: Sequence[Lengths], *, last: bool) -> None:
        """Plays all rounds of problems; where more problems come, up to the last full call."""
        problems = [*self.waiting, *problems]
        sizes = [list(map(len, self.asked(len(problem.candidates)).pairs)) for problem in problems]
        together, done = calls(sizes, self.batch, last=last)
        if together:
            self.encoding.add(compare(self.judge, problems[:done], self.asked), together)
        self.waiting = problems[done:]


class _Sample:
    """Up to SAMPLE of a stream's problems, each with the same chance (Vitter's algorithm R, 1985).

    Attributes:
      seen: number of problems in the stream.
      tokens: of all their texts that are compared.
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
        """The sample, in the stream's order."""
        return [problem for _, problem in sorted(self._kept, key=lambda kept: kept[0])]


def _kinds(seen: Counter[tuple[str, int, int, int]]) -> int:
    """How many kinds there are where a sample has some of them once and some twice (Chao, 1984, bias-corrected)."""
    once, twice = (sum(count == times for count in seen.values()) for times in (1, 2))
    return len(seen) + once * (once - 1) // (2 * (twice + 1))
