"""Computes the lengths of texts and comparisons in a local judge's tokens. Must agree with
flame_rank/judges/language_model.py."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from flame_rank.judges.language_model import LanguageModelJudge
from flame_rank.plan.rounds import Rounds
from flame_rank.records import Problem
from strategies.base import IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Lengths:
    """The lengths of a problem's texts in tokens: of its prompt, and of each distinct candidate [d]."""

    prompt: int
    candidates: IntArray

    @property
    def total(self) -> int:
        """The number of tokens of all texts together; 0 if there is only one candidate."""
        return self.prompt + int(self.candidates.sum()) if len(self.candidates) > 1 else 0

    def long(self, room: int, *, separate: bool = False) -> int:
        """Counts the comparisons, of all pairs in both orders, that are longer than `room` tokens; in the separate
        form, only the longer response counts."""
        if separate:
            count, short = len(self.candidates), int((self.prompt + self.candidates <= room).sum())
            return count * (count - 1) - short * (short - 1)
        ascending = np.sort(self.candidates)
        if len(ascending) < 2 or self.prompt + ascending[-2:].sum() <= room:
            return 0
        left = room - self.prompt - ascending
        above = len(ascending) - np.searchsorted(ascending, left, side="right")
        return int(above.sum() - (ascending > left).sum())  # without the pairs of a candidate with itself


def count_tokens(judge: LanguageModelJudge, problems: Sequence[Problem], places: Sequence[IntArray]) -> list[Lengths]:
    """Counts the tokens of problems, each distinct text once. `places` has for each problem the indices [d] of its
    distinct candidates."""
    texts = [
        [problem.prompt, *(problem.texts[i] for i in place)] for problem, place in zip(problems, places, strict=True)
    ]
    unique = list({text: None for problem_texts in texts for text in problem_texts})
    count = dict(zip(unique, judge.form.count(unique), strict=True))
    return [
        Lengths(prompt=count[problem_texts[0]], candidates=np.array([count[text] for text in problem_texts[1:]]))
        for problem_texts in texts
    ]


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparisons:
    """Comparisons [M] of many problems, ordered by problem, then by round.

    Attributes:
      problem, round: [M] ascending numbers; rounds are numbered through all problems.
      rounds: number of rounds.
      first, second: [M] the candidates, numbered through all problems.
      prompt, a, b: [M] the numbers of tokens of the three pieces that follow the instructions.
    """

    problem: IntArray
    round: IntArray
    rounds: int
    first: IntArray
    second: IntArray
    prompt: IntArray
    a: IntArray
    b: IntArray


def compare(judge: LanguageModelJudge, problems: Sequence[Lengths], asked: Callable[[int], Rounds]) -> Comparisons:
    """Builds the comparisons of problems, without those that the judge skips; `asked` returns the rounds for n
    candidates."""
    pairs = [asked(len(lengths.candidates)).pairs for lengths in problems]
    sizes = [len(each) for rounds in pairs for each in rounds]
    problem = np.repeat(np.arange(len(pairs)), [sum(map(len, rounds)) for rounds in pairs])
    start = np.cumsum([0, *(len(lengths.candidates) for lengths in problems)])
    candidates = np.concatenate([lengths.candidates for lengths in problems])
    places = np.concatenate([np.empty((0, 2), np.int64), *(each for rounds in pairs for each in rounds)])
    places = places + start[problem, None]  # [M, 2]
    round = np.repeat(np.arange(len(sizes)), sizes)
    first, second = places.T
    prompt = np.array([lengths.prompt for lengths in problems])[problem]
    a, b = candidates[first], candidates[second]
    if judge.on_long == "cut":
        prompt, a, b = judge.pair_form.truncated_lengths(prompt, a, b, judge.room)
    else:
        fits = judge.pair_form.length(prompt, a, b) <= judge.room
        columns = (problem, round, first, second, prompt, a, b)
        problem, round, first, second, prompt, a, b = (column[fits] for column in columns)
    _, between, behind, end = map(len, judge.frame)
    return Comparisons(
        problem=problem,
        round=round,
        rounds=len(sizes),
        first=first,
        second=second,
        prompt=prompt + between,
        a=a + behind,
        b=b + end,
    )
