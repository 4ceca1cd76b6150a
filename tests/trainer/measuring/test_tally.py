"""Figures and intervals from counts, beside the plain computation."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.collection.examples import Example
from trainer.collection.tasks import by_name
from trainer.measuring.benchmarks import Mean, Pool
from trainer.measuring.tally import interval, tally, value

PAIRS, CLAIMS = by_name("rankgen"), by_name("aggrefact-wice")


def example(label: str, prompt: str = "p", votes: tuple[int, int] = (0, 0)) -> Example:
    return Example(task="t", pieces=(), values=(prompt, "a", "b"), target=f" {label}", label=label, votes=votes)


def pooled(name: str, metric: Any, counts: Any) -> float:
    return float(value(Pool((name,), metric), {name: counts.counts.sum(0)}))


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("AB"), st.floats(0, 1), st.integers(0, 5)), min_size=1))
def test_accuracy_of_pairs(given: list[tuple[str, float, int]]) -> None:
    examples = [example(label, str(prompt)) for label, _, prompt in given]
    counts = tally(PAIRS, examples, [(p, 1 - p) for _, p, _ in given], "accuracy")
    right = [0.5 if p == 1 - p else float((p > 1 - p) == (label == "A")) for label, p, _ in given]
    assert counts is not None and counts.n == len(given) and len(counts.counts) == len({k for *_, k in given})
    assert pooled("rankgen", "accuracy", counts) == pytest.approx(np.mean(right))


def test_single_judgements_count_votes_and_ties() -> None:
    examples = [example("A", votes=(2, 1)), example("tie", votes=(2, 2)), example("B", votes=(0, 3))]
    p = [(0.9, 0.1), (0.2, 0.8), (0.5, 0.5)]
    counts = tally(PAIRS, examples, p, "single judgements")
    assert counts is not None and counts.n == 10
    assert pooled("rankgen", "single judgements", counts) == pytest.approx((2 + 2 + 1.5) / 10)
    majority = tally(PAIRS, examples, p, "accuracy")
    assert majority is not None and majority.n == 2 and pooled("rankgen", "accuracy", majority) == 0.75


def test_balanced_accuracy_is_the_mean_over_labels() -> None:
    first, second = CLAIMS.labels
    given = [(first, 0.9), (first, 0.8), (first, 0.2), (second, 0.7)]
    counts = tally(CLAIMS, [example(label) for label, _ in given], [(p, 1 - p) for _, p in given], "balanced accuracy")
    assert counts is not None and counts.n == 4
    assert pooled(CLAIMS.name, "balanced accuracy", counts) == pytest.approx((2 / 3 + 0) / 2)
    exact = tally(CLAIMS, [example(label) for label, _ in given], [(p, 1 - p) for _, p in given], "exact match")
    assert exact is not None and pooled(CLAIMS.name, "exact match", exact) == 0.5


def test_what_has_no_answer_is_not_counted() -> None:
    assert tally(PAIRS, [example("A")], [()], "accuracy") is None
    counts = tally(PAIRS, [example("A"), example("A")], [(), (1.0, 0.0)], "accuracy")
    assert counts is not None and counts.n == 1


def test_a_mean_leaves_out_what_is_not_there() -> None:
    figure = Mean({"x": Pool(("one", "two")), "y": Pool(("three",)), "z": Pool(("four",))})
    sums = {"one": np.array([1.0, 4.0]), "two": np.array([3.0, 4.0]), "four": np.array([1.0, 1.0])}
    assert value(figure, sums) == pytest.approx((4 / 8 + 1) / 2)
    with pytest.raises(KeyError):
        value(Pool(("three",)), sums)


def judged(right: Sequence[bool], prompts: Sequence[int]) -> Any:
    examples = [example("A", str(prompt)) for prompt in prompts]
    return tally(PAIRS, examples, [(float(r), float(not r)) for r in right], "accuracy")


def test_the_interval_covers_and_knows_prompts() -> None:
    rng, figure = np.random.default_rng(0), Pool(("rankgen",))
    covered = 0
    for seed in range(100):
        counts = judged((rng.random(200) < 0.7).tolist(), range(200))
        middle, low, high = interval(figure, {"rankgen": counts}, seed=seed)
        covered += low <= 0.7 <= high
        assert low <= middle <= high
    assert 88 <= covered <= 100  # of 100 intervals at 95 %
    alone = interval(figure, {"rankgen": judged([True, False] * 50, range(100))})
    together = interval(figure, {"rankgen": judged([True, True, False, False] * 25, [k // 2 for k in range(100)])})
    assert together[2] - together[1] > 1.2 * (alone[2] - alone[1])  # half as many independent ones


@settings(max_examples=20, deadline=None)
@given(st.lists(st.booleans(), min_size=2, max_size=40))
def test_the_difference_to_oneself_is_nothing(right: list[bool]) -> None:
    counts = {"rankgen": judged(right, range(len(right)))}
    assert interval(Pool(("rankgen",)), counts, counts) == (0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="same examples"):
        fewer = {"rankgen": replace(counts["rankgen"], counts=counts["rankgen"].counts[1:])}
        interval(Pool(("rankgen",)), counts, fewer)
