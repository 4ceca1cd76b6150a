"""A judge that keeps what it was asked, and problems for it."""

from collections.abc import Callable, Sequence

import numpy as np

from flame_rank.records import Problem, Ranking
from strategies import RoundRobin
from strategies.base import FloatArray, IntArray

Answer = Callable[[Problem, str, str], float]


def longer(problem: Problem, first: str, second: str) -> float:
    return float(len(first) - len(second))


class Recorder:
    """A judge that answers pair by pair, and keeps what it was asked: problem, and texts of each comparison."""

    name = "recorder"

    def __init__(self, answer: Answer = longer, *, pointwise: bool = False):
        self.answer, self.pointwise, self.pool_aware = answer, pointwise, pointwise
        self.calls: list[list[tuple[Problem, list[tuple[str, str]]]]] = []

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        texts = [(problem, [(problem.texts[i], problem.texts[j]) for i, j in pairs]) for problem, pairs in asked]
        self.calls.append(texts)
        return [np.array([self.answer(problem, a, b) for a, b in pairs]) for problem, pairs in texts]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        return [pair for call in self.calls for _, pairs in call for pair in pairs]


def problem(prompt: str, *candidates: str) -> Problem:
    return Problem(prompt=prompt, candidates=candidates)


def same(one: Ranking, other: Ranking) -> bool:
    """The same result to the last bit."""
    return (
        one.order == other.order
        and one.scores.tolist() == other.scores.tolist()
        and one.p_best.tolist() == other.p_best.tolist()
        and (one.comparisons, one.invalid, one.reasons) == (other.comparisons, other.invalid, other.reasons)
    )


THREE = [problem("p", "a", "bb"), problem("ill", "a", "bb", "ccc"), problem("q", "cc", "b")]


COINS = RoundRobin(order="random")
