"""Cycles, the top cycle and exact orders, beside brute force and elections counted by hand."""

from collections.abc import Callable, Iterator
from itertools import chain, combinations, pairwise, permutations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.aggregate import margins
from strategies.base import FloatArray, IntArray
from strategies.graph import KEMENY_MOST, beats, components, cycles, kemeny, ranked_pairs, top_cycle

Order = Callable[[FloatArray], IntArray]

ORDERS = pytest.mark.parametrize("order", [ranked_pairs, kemeny])


def tables(least: int = 1, most: int = 6) -> st.SearchStrategy[FloatArray]:
    """Tables [n, n] of quarters of a nat, so that sums are exact, with ties, NaN and infinities among them."""
    answer = st.one_of(st.integers(-12, 12).map(lambda a: a / 4), st.sampled_from([np.nan, np.nan, np.inf, -np.inf]))
    return st.integers(least, most).flatmap(
        lambda n: st.lists(answer, min_size=n * n, max_size=n * n).map(lambda a: np.array(a).reshape(n, n))
    )


@st.composite
def clear_tables(draw: st.DrawFn, most: int = 6) -> FloatArray:
    """Complete antisymmetric tables [n, n] whose margins are different powers of 2: no two orders cost the same."""
    n = draw(st.integers(1, most))
    pairs = list(combinations(range(n), 2))
    table = np.zeros((n, n))
    for (i, j), power in zip(pairs, draw(st.permutations(range(len(pairs)))), strict=True):
        table[i, j] = draw(st.sampled_from([-1, 1])) * 2.0**power
    return table - table.T


def perfect(quality: FloatArray) -> FloatArray:
    """A judge's answers [n, n] when it knows the qualities [n]."""
    return quality[:, None] - quality[None, :]


def election(ballots: dict[str, int]) -> FloatArray:
    """The log-odds [n, n] of a majority, from votes for whole orders such as "2013", best first."""
    n = len(next(iter(ballots)))
    votes = np.zeros((n, n))
    for ballot, count in ballots.items():
        for i, j in combinations(map(int, ballot), 2):
            votes[i, j] += count
    return np.log(np.maximum(votes, 0.5)) - np.log(np.maximum(votes.T, 0.5))


def victories(n: int, *edges: tuple[int, int, float]) -> FloatArray:
    """The log-odds [n, n] in which i beats j by so many nats; other pairs were not compared."""
    table = np.full((n, n), np.nan)
    for i, j, nats in edges:
        table[i, j] = nats
    return table


def all_cycles(table: FloatArray) -> list[list[int]]:
    """Every elementary cycle, shortest first: each sequence of candidates that starts at its lowest is tried."""
    won = margins(table) > 0
    n = len(table)
    tried = (list(p) for length in range(2, n + 1) for p in permutations(range(n), length) if p[0] == min(p))
    return [p for p in tried if all(won[i, j] for i, j in pairwise([*p, p[0]]))]


def dominant_sets(table: FloatArray) -> Iterator[set[int]]:
    """The sets whose every member beats everyone outside, small ones first."""
    won = margins(table) > 0
    n = len(table)
    for size in range(1, n + 1):
        for inside in combinations(range(n), size):
            outside = [j for j in range(n) if j not in inside]
            if won[np.ix_(inside, outside)].all():
                yield set(inside)


def against(table: FloatArray, order: tuple[int, ...]) -> float:
    """The sum of margins against an order."""
    margin = np.nan_to_num(margins(table))
    return sum(max(0.0, float(margin[j, i])) for i, j in combinations(order, 2))


def test_victories_are_edges_and_ties_are_none() -> None:
    table = np.array([[0, 3, 1, np.nan], [-1, 0, np.nan, np.nan], [1, 2, 0, np.nan], [np.nan] * 4])
    graph = beats(table)
    assert list(graph.nodes) == [0, 1, 2, 3]
    assert dict(graph.edges) == {(0, 1): {"weight": 2.0}, (2, 1): {"weight": 2.0}}


@given(table=tables(most=5))
@settings(deadline=None, max_examples=100)
def test_cycles_are_all_there_are(table: FloatArray) -> None:
    assert cycles(table, limit=1000) == all_cycles(table)


def test_cycles_stop_at_the_limit_with_the_shortest() -> None:
    n = 40
    ahead = (np.arange(n)[None, :] - np.arange(n)[:, None]) % n
    table = np.where(ahead == 0, np.nan, np.where(ahead < n / 2, 1.0, -1.0))  # each beats the next 19: 2660 triangles
    found = cycles(table, limit=50)
    assert len(found) == 50 and {len(cycle) for cycle in found} == {3}
    assert cycles(table, limit=0) == []


@given(table=tables())
@settings(deadline=None, max_examples=100)
def test_components_are_ordered_by_victories(table: FloatArray) -> None:
    parts = components(table)
    assert sorted(chain.from_iterable(parts)) == list(range(len(table)))
    won = margins(table) > 0
    for earlier, later in combinations(parts, 2):
        assert not won[np.ix_(later, earlier)].any()
    in_cycles = {frozenset(cycle) for cycle in all_cycles(table)}
    for part in parts:
        assert part == sorted(part)
        assert len(part) == 1 or set(part) == set().union(*(c for c in in_cycles if c <= set(part)))
    assert all(any(cycle <= set(part) for part in parts) for cycle in in_cycles)


def test_components_of_equal_claim_go_by_position() -> None:
    assert components(victories(5, (4, 0, 1))) == [[1], [2], [3], [4], [0]]
    assert components(victories(5, (4, 1, 1), (1, 2, 1), (2, 4, 1), (2, 0, 1))) == [[1, 2, 4], [0], [3]]


@given(table=tables())
@settings(deadline=None, max_examples=150)
def test_top_cycle_is_the_smallest_dominant_set(table: FloatArray) -> None:
    assert top_cycle(table).tolist() == sorted(next(dominant_sets(table)))


def test_top_cycle_keeps_whoever_is_not_known_to_be_beaten() -> None:
    cycle = [(0, 1, 1.0), (1, 2, 1.0), (2, 0, 1.0)]
    below = [(i, 3, 2.0) for i in range(3)]
    assert top_cycle(victories(4, *cycle, *below)).tolist() == [0, 1, 2]
    assert top_cycle(victories(4, *cycle, *below[:2])).tolist() == [0, 1, 2, 3]  # 2 and 3 were not compared
    assert top_cycle(victories(4, *cycle, *below[:2], (2, 3, 0.0))).tolist() == [0, 1, 2, 3]  # they are even
    assert top_cycle(victories(3)).tolist() == [0, 1, 2]


@given(table=tables())
@settings(deadline=None, max_examples=150)
def test_kemeny_is_the_first_of_the_cheapest_orders(table: FloatArray) -> None:
    orders = list(permutations(range(len(table))))
    assert tuple(kemeny(table).tolist()) == min(orders, key=lambda order: (against(table, order), order))


def test_kemeny_has_a_limit_for_what_hangs_together_alone() -> None:
    with pytest.raises(ValueError, match=r"17 candidates are connected .* ranked_pairs"):
        kemeny(np.zeros((KEMENY_MOST + 1, KEMENY_MOST + 1)))
    level = np.zeros((KEMENY_MOST, KEMENY_MOST))
    assert kemeny(level).tolist() == list(range(KEMENY_MOST))
    quality = np.random.default_rng(0).permutation(60).astype(float)
    table = perfect(quality)
    best = np.argsort(-quality)
    table[best[20], best[30]], table[best[30], best[20]] = -5, 5  # a cycle of 11, in which this is the cheapest upset
    np.testing.assert_array_equal(kemeny(table), best)


@ORDERS
def test_a_capital_is_sought(order: Order) -> None:
    # Four towns, 1 to 3 close together and 0 far off, and each voter wants the capital near. More name 0 first than any
    # other town, but 1 beats each of the others in a vote between the two.
    table = election({"0123": 40, "1230": 27, "2310": 14, "3210": 19})
    assert table[1, 0] == pytest.approx(np.log(60 / 40)) and table[2, 3] == pytest.approx(np.log(81 / 19))
    assert order(table).tolist() == [1, 2, 3, 0]
    assert top_cycle(table).tolist() == [1] and cycles(table) == []


@ORDERS
def test_a_cycle_breaks_at_its_closest_victory(order: Order) -> None:
    table = election({"012": 8, "120": 6, "201": 3})  # 0 over 1 by 11 to 6, 1 over 2 by 14 to 3, 2 over 0 by 9 to 8
    assert order(table).tolist() == [0, 1, 2]
    assert cycles(table) == [[0, 1, 2]] and top_cycle(table).tolist() == [0, 1, 2]


def test_ranked_pairs_refuses_what_closes_a_longer_cycle() -> None:
    # From the clearest: 3 > 1, 1 > 0, 0 > 2 are accepted; 2 > 3 would close a cycle of four, 0 > 3 one of three.
    table = victories(4, (3, 1, 9), (1, 0, 8), (0, 2, 7), (2, 3, 6), (0, 3, 5))
    assert ranked_pairs(table).tolist() == [3, 1, 0, 2]


def test_ranked_pairs_takes_equal_victories_by_position() -> None:
    n = 25
    ahead = (np.arange(n)[None, :] - np.arange(n)[:, None]) % n
    table = np.where(ahead == 0, np.nan, np.where(ahead < n / 2, 1.0, -1.0))  # each beats the next 12
    accepted = nx.DiGraph()
    accepted.add_nodes_from(range(n))
    for i, j in np.argwhere(table > 0).tolist():
        if not nx.has_path(accepted, j, i):
            accepted.add_edge(i, j)
    assert ranked_pairs(table).tolist() == list(nx.lexicographical_topological_sort(accepted))


def test_ranked_pairs_and_kemeny_differ_where_one_clear_victory_stands_against_many() -> None:
    # Kemeny gives up 3 > 0, the clearest, for the three close ones of the other side.
    table = victories(4, (3, 0, 5), (0, 1, 4), (0, 2, 4), (1, 3, 4), (2, 3, 4))
    assert ranked_pairs(table).tolist() == [3, 0, 1, 2]
    assert kemeny(table).tolist() == [0, 1, 2, 3]


def test_ties_go_by_position() -> None:
    even = victories(3, (0, 1, 1), (1, 2, 1), (2, 0, 1))
    assert ranked_pairs(even).tolist() == kemeny(even).tolist() == [0, 1, 2]
    other = victories(3, (1, 0, 1), (2, 1, 1), (0, 2, 1))
    assert ranked_pairs(other).tolist() == [1, 0, 2]  # 0 > 2 and 1 > 0 come before 2 > 1
    assert kemeny(other).tolist() == [0, 2, 1]  # one of three that cost 1
    table = np.zeros((3, 3))
    table[2, 0] = 1
    assert ranked_pairs(table).tolist() == [1, 2, 0]  # a tie is no victory, not even a slight one
    for order in (ranked_pairs, kemeny):
        assert order(np.zeros((4, 4))).tolist() == order(victories(4)).tolist() == [0, 1, 2, 3]


@ORDERS
@given(table=tables(most=7))
@settings(deadline=None, max_examples=60)
def test_orders_are_whole_and_start_in_the_top_cycle(order: Order, table: FloatArray) -> None:
    before = table.copy()
    result = order(table)
    assert result.dtype == np.int64 and sorted(result.tolist()) == list(range(len(table)))
    top = top_cycle(table)
    assert set(result[: len(top)].tolist()) == set(top.tolist())
    np.testing.assert_array_equal(table, before)


@given(table=clear_tables(), data=st.data())
@settings(deadline=None, max_examples=80)
def test_everything_follows_a_relabelling(table: FloatArray, data: st.DataObject) -> None:
    new = np.array(data.draw(st.permutations(range(len(table)))))
    relabelled = table[np.ix_(new, new)]
    for order in (ranked_pairs, kemeny):
        np.testing.assert_array_equal(new[order(relabelled)], order(table))
    assert sorted(new[top_cycle(relabelled)]) == top_cycle(table).tolist()
    assert [sorted(new[part]) for part in components(relabelled)] == components(table)
    assert len(cycles(relabelled, limit=10_000)) == len(cycles(table, limit=10_000))


@given(table=tables(), offset=st.floats(-9, 9))
@settings(deadline=None, max_examples=80)
def test_a_bias_for_the_first_place_changes_nothing(table: FloatArray, offset: float) -> None:
    known = np.isfinite(table) & np.isfinite(table.T)
    table = np.where(known, table, np.nan)  # both orders or none
    biased = table + offset
    assert dict(beats(biased).edges) == dict(beats(table).edges)
    assert cycles(biased) == cycles(table) and components(biased) == components(table)
    for function in (top_cycle, ranked_pairs, kemeny):
        np.testing.assert_array_equal(function(biased), function(table))


@given(quality=st.integers(1, 40).flatmap(lambda n: st.permutations(range(n))).map(lambda q: np.array(q) / 3))
@settings(deadline=None, max_examples=30)
def test_perfect_judge(quality: FloatArray) -> None:
    table, truth = perfect(quality), np.argsort(-quality)
    assert cycles(table) == [] and components(table) == [[i] for i in truth]
    assert top_cycle(table).tolist() == [truth[0]]
    np.testing.assert_array_equal(ranked_pairs(table), truth)
    np.testing.assert_array_equal(kemeny(table), truth)
