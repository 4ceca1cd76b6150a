"""Flips and cycles in what a judge was asked."""

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import flame_rank
from strategies.base import every_pair
from strategies.consistency import Consistency, consistency


def plain(n: int, log_odds: dict[tuple[int, int], float]) -> Consistency:
    """The same, pair by pair and triple by triple; `log_odds` without invalid ones."""
    both = [(i, j) for i, j in combinations(range(n), 2) if (i, j) in log_odds and (j, i) in log_odds]
    lead = {(i, j): log_odds.get((i, j), 0) - log_odds.get((j, i), 0) for i, j in permutations(range(n), 2)}
    triples = [t for t in combinations(range(n), 3) if all(lead[pair] != 0 for pair in combinations(t, 2))]
    return Consistency(
        pairs=len(both),
        flips=sum(log_odds[i, j] * log_odds[j, i] > 0 for i, j in both),
        triples=len(triples),
        cycles=sum((lead[a, b] > 0) == (lead[b, c] > 0) == (lead[c, a] > 0) for a, b, c in triples),
    )


@given(st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_it_is_what_one_counts_by_hand(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pairs = np.array([pair for pair in permutations(range(n), 2) if rng.random() < 0.8]).reshape(-1, 2)
    log_odds = rng.choice([-1.5, -0.5, 0.0, 0.5, 1.5, np.nan], len(pairs))
    asked = {(i, j): x for (i, j), x in zip(pairs.tolist(), log_odds.tolist(), strict=True) if x == x}
    cut = int(rng.integers(len(pairs) + 1))
    rounds = [(10 * pairs[:cut], log_odds[:cut]), (10 * pairs[cut:], log_odds[cut:])]
    assert consistency([*rounds, rounds[0]]) == plain(n, asked)  # what is asked again counts once
    assert consistency([]) == Consistency()


def test_among_many_candidates_only_flips_are_counted() -> None:
    pairs = np.array([(0, k) for k in range(1, 700)])
    asked = np.concatenate([pairs, pairs[:, ::-1]])
    found = consistency([(asked, np.ones(len(asked)))])
    assert found == Consistency(pairs=699, flips=699)


def test_warnings_are_of_shares() -> None:
    assert Consistency(pairs=10, flips=2, triples=10, cycles=1).warnings == ()
    flips, cycles = Consistency(pairs=10, flips=3, triples=10, cycles=2).warnings
    assert "same place in both orders of 3 of 10 pairs" in flips and "itself in 2 of 10 triples" in cycles
    assert Consistency().warnings == () and Consistency(pairs=1) + Consistency(pairs=2) == Consistency(pairs=3)


def test_a_ranking_says_it() -> None:
    def first(prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
        return [1.0] * len(pairs)

    def round_in_a_circle(prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
        return [1.0 if (ord(b) - ord(a)) % 3 == 1 else -1.0 for a, b in pairs]

    candidates = ["a", "b", "c"]
    found = {
        judge: flame_rank.rerank("p", candidates, judge=judge, strategy="round-robin")
        for judge in (first, round_in_a_circle)
    }
    assert found[first].consistency == Consistency(pairs=3, flips=3) and len(found[first].warnings) == 1
    assert found[round_in_a_circle].consistency == Consistency(pairs=3, triples=1, cycles=1)
    once = flame_rank.rerank("p", candidates, judge=first, strategy="round-robin", order="fixed")
    assert once.consistency == Consistency(triples=1) and once.warnings == ()
    pointwise = flame_rank.rerank("p", candidates, judge="agreement")
    assert pointwise.warnings == ()


@pytest.mark.parametrize("n", [2, 9])
def test_a_judge_without_faults_is_not_accused(n: int) -> None:
    pairs = every_pair(n)
    asked = np.concatenate([pairs, pairs[:, ::-1]])
    found = consistency([(asked, (asked[:, 1] - asked[:, 0]).astype(float))])
    assert found.pairs == n * (n - 1) // 2 and found.flips == found.cycles == 0
