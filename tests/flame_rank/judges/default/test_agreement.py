"""The overlap of a candidate with its pool, against the plainest computation of it."""

import tracemalloc
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flame_rank.candidates.code_views import CandidateViews, read_candidate
from flame_rank.judges.default import agreement
from flame_rank.judges.default.agreement import overlap

TEXTS = st.sampled_from(
    [
        *("", " ", "yes", "no", "yes yes", "yes no", "no yes", "a\0", "a\0\0", "a"),
        *("def f(x):\n    return x", "def f(y):\n    return y", "def f(x):\n    return x + x", "def f(:", "f(x)"),
    ]
)
pools = st.lists(TEXTS, min_size=1, max_size=7)


def views(texts: list[str]) -> list[CandidateViews]:
    return [read_candidate("", text) for text in texts]


def jaccard(one: Counter[object], other: Counter[object]) -> float:
    union = (one | other).total()
    return (one & other).total() / union if union else 1.0


def plain(pool: list[CandidateViews]) -> list[float]:
    """The mean over all candidates, both others and itself, three views and three ways to count."""
    total = [0.0] * len(pool)
    for view in range(3):
        texts = [form.views[view] for form in pool]
        for pieces in (set, list, lambda text: list(pairwise(text))):
            counts = [Counter[object](pieces(text)) for text in texts]
            for i, one in enumerate(counts):
                total[i] += sum(jaccard(one, other) for other in counts) / len(pool) / 9
    return total


@given(texts=pools)
@settings(deadline=None, max_examples=100)
def test_equals_the_plain_computation(texts: list[str]) -> None:
    found = overlap(views(texts))
    assert found.dtype == np.float64 and found.shape == (len(texts),)
    assert ((found > 0) & (found <= 1 + 1e-12)).all()  # itself is in the pool
    np.testing.assert_allclose(found, plain(views(texts)), atol=1e-6)


@given(texts=pools, data=st.data())
@settings(deadline=None, max_examples=40)
def test_does_not_depend_on_the_order(texts: list[str], data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(texts))))
    there = overlap(views([texts[i] for i in order]))
    np.testing.assert_allclose(there, overlap(views(texts))[list(order)], atol=1e-12)


@given(one=TEXTS, other=TEXTS)
@settings(deadline=None, max_examples=40)
def test_two_candidates_cannot_outvote_one_another(one: str, other: str) -> None:
    first, second = overlap(views([one, other]))
    assert first == second


def test_duplicates_are_votes() -> None:
    without, again = overlap(views(["a b", "c d"])), overlap(views(["a b", "c d", "c d"]))
    assert without[0] == without[1] and again[0] < again[1] == again[2]
    assert again.tolist() == pytest.approx([1 / 3, 2 / 3, 2 / 3])


def test_a_pool_of_one_text_agrees_with_itself() -> None:
    assert overlap(views(["a b"])).tolist() == overlap(views(["", "", ""])).tolist()[:1] == [1.0]


def test_programs_that_differ_in_names_agree_more_than_in_operations() -> None:
    renamed = overlap(views(["def f(x):\n    return x + 1", "def f(abc):\n    return abc + 1"]))
    changed = overlap(views(["def f(x):\n    return x + 1", "def f(abc):\n    return abc * 7"]))
    assert renamed[0] > changed[0]


def many(n: int) -> list[str]:
    """Different texts of 8 words, the common ones at their head; the later, the fewer of them."""
    rng = np.random.default_rng(0)
    return [" ".join([*(f"w{w}" for w in rng.geometric(0.1 + 0.4 * (n - i) / n, size=8)), str(i)]) for i in range(n)]


def test_a_large_pool_is_compared_with_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [*many(400), *(["the same"] * 60), *(["w1 w1 w1"] * 40)]
    whole = overlap(views(texts))
    monkeypatch.setattr(agreement, "COMPARED", 100)
    sampled = overlap(views(texts))
    assert not np.array_equal(sampled, whole)
    np.testing.assert_allclose(sampled, whole, atol=0.02)
    assert np.corrcoef(sampled, whole)[0, 1] > 0.99
    order = np.random.default_rng(1).permutation(len(texts))
    np.testing.assert_allclose(overlap(views([texts[i] for i in order])), sampled[order], atol=1e-12)


def test_those_in_the_sample_are_not_ahead_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "COMPARED", 10)
    found = overlap(views([f"all alike but for {i}" for i in range(100)]))
    np.testing.assert_allclose(found, found[0])


def test_memory_is_linear_in_the_pool() -> None:
    pool = views(many(4000))
    tracemalloc.start()
    try:
        overlap(pool)
        assert tracemalloc.get_traced_memory()[1] < 4000 * 4000 * 3  # bytes: less than one number for each pair
    finally:
        tracemalloc.stop()
