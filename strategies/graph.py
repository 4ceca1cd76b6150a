"""The graph of majority victories of a matrix of log-odds, its cycles, and exact orders.

A log-odds matrix [n, n] and its margins are those of `strategies.aggregate`: a margin is the mean, over the valid
orders of a pair, of the log-odds that i is better than j; NaN = not compared.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Final

import networkx as nx
import numpy as np
import numpy.typing as npt

from strategies.aggregate import DIGITS, margins
from strategies.base import FloatArray, IntArray

KEMENY_MOST: Final = 16  # candidates in one tier; each further candidate doubles time and memory
UNIT: Final = 10.0**DIGITS  # margins are whole multiples of 1 / UNIT nats, so that their sums are exact and fit int64


def beats(log_odds: FloatArray) -> nx.DiGraph:
    """Builds the graph of majority victories: nodes 0 to n - 1, an edge i -> j if i is better.

    Args:
      log_odds: [n, n] float64, nats that i is better if i was first, NaN = not asked or invalid.

    Returns:
      A graph whose edges have the margin, which is above 0, as `weight`; a tie or a pair that was not compared has no
      edge.
    """
    margin = margins(log_odds)
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(margin)))
    graph.add_weighted_edges_from((i, j, float(margin[i, j])) for i, j in np.argwhere(margin > 0).tolist())
    return graph


def cycles(log_odds: FloatArray, *, limit: int = 100) -> list[list[int]]:
    """Lists elementary cycles of `beats`, the shortest first: each candidate beats the next, and the last the first.

    Args:
      log_odds: [n, n] float64, as in `beats`.
      limit: the most cycles to return, because there may be exponentially many.

    Returns:
      At most `limit` cycles, each starting at its lowest index; cycles of the same length in lexicographic order. Some
      cycles of the last length may be missing.
    """
    graph = beats(log_odds)
    shortest: list[list[int]] = []
    for length in range(3, max(map(len, nx.strongly_connected_components(graph))) + 1):
        if len(shortest) < limit:
            shortest += sorted(islice(_of_length(graph, length), limit - len(shortest)))
    return shortest


def components(log_odds: FloatArray) -> list[list[int]]:
    """Lists the strongly connected components of `beats`, in order: no component comes after one that it beats.

    Args:
      log_odds: [n, n] float64, as in `beats`.

    Returns:
      Ascending indices in each component; if either of two components could come first, the one with the lowest index
      does. Every candidate of a component with several candidates is on a cycle.
    """
    condensed = nx.condensation(beats(log_odds))
    members = [sorted(condensed.nodes[c]["members"]) for c in range(len(condensed))]
    return [members[c] for c in nx.lexicographical_topological_sort(condensed, key=lambda c: members[c][0])]


def top_cycle(log_odds: FloatArray) -> IntArray:
    """Computes the Smith set: the smallest set of candidates each of which beats every candidate outside.

    A tie or a pair not compared is not a victory: a candidate that the set is not known to beat belongs to it.

    Args:
      log_odds: [n, n] float64, as in `beats`.

    Returns:
      [m] int64, ascending; one candidate if one beats all others (the Condorcet winner), all if nothing is known.
    """
    return _tiers(log_odds)[0]


def ranked_pairs(log_odds: FloatArray) -> IntArray:
    """Computes Tideman's order: victories are accepted from the clearest to the closest, unless they close a cycle.

    Tideman: Independence of clones as a criterion for voting rules, 1987. Victories with the same margin are ordered by
    the position of the winner, then of the loser; candidates that no accepted victory puts in order are ordered by
    position.

    Args:
      log_odds: [n, n] float64, as in `beats`.

    Returns:
      [n] int64, candidate indices, best first.
    """
    margin = margins(log_odds)
    pairs = np.argwhere(margin > 0)  # ascending by winner, then loser
    above = np.eye(len(margin), dtype=bool)  # [n, n], whether accepted victories lead from i to j
    for i, j in pairs[np.argsort(-margin[pairs[:, 0], pairs[:, 1]], kind="stable")]:
        if not above[j, i]:
            above |= np.outer(above[:, i], above[j])
    np.fill_diagonal(above, False)
    order = nx.lexicographical_topological_sort(nx.from_numpy_array(above, create_using=nx.DiGraph))
    return np.array(list(order), np.int64)


def kemeny(log_odds: FloatArray) -> IntArray:
    """Computes the order with the least sum of margins against it, and the lexicographically first if there are
    several.

    Kemeny: Mathematics without numbers, 1959. Exact, by dynamic programming over sets of candidates (Held, Karp 1962).
    Each candidate of a tier beats all candidates of later tiers, so it precedes them in every best order, and each tier
    is ordered by itself.

    Args:
      log_odds: [n, n] float64, as in `beats`; pairs not compared cost nothing in either order.

    Returns:
      [n] int64, candidate indices, best first.

    Raises:
      ValueError: a tier has more than KEMENY_MOST candidates.
    """
    tiers = _tiers(log_odds)
    largest = max(map(len, tiers))
    if largest > KEMENY_MOST:
        raise ValueError(
            f"{largest} candidates are connected by cycles, ties or missing pairs; the exact order can be computed for "
            f"{KEMENY_MOST} at most; ranked_pairs orders any number"
        )
    against = np.maximum(np.nan_to_num(margins(log_odds).T), 0.0)  # [n, n], the cost of placing i before j
    cost = np.rint(against * UNIT).astype(np.int64)
    return np.concatenate([tier[_cheapest_order(cost[np.ix_(tier, tier)])] for tier in tiers])


def _of_length(graph: nx.DiGraph, length: int) -> Iterator[list[int]]:
    """Yields the elementary cycles of this length, each starting at its lowest index."""
    for cycle in nx.simple_cycles(graph, length_bound=length):
        if len(cycle) == length:
            start = cycle.index(min(cycle))
            yield cycle[start:] + cycle[:start]


def _tiers(log_odds: FloatArray) -> list[IntArray]:
    """Divides the candidates into as many tiers as possible, best first, such that each beats all in later tiers.

    Of any two candidates at least one is not beaten by the other, so the components of "not beaten by" form a chain.
    """
    unbeaten = ~(margins(log_odds).T > 0)  # [n, n], i is not beaten by j
    np.fill_diagonal(unbeaten, False)
    chain = nx.condensation(nx.from_numpy_array(unbeaten, create_using=nx.DiGraph))
    return [np.array(sorted(chain.nodes[c]["members"]), np.int64) for c in nx.topological_sort(chain)]


def _cheapest_order(cost: IntArray) -> IntArray:
    """Finds the order [n] with the least sum of cost[i, j] over all i before j; of several, the lexicographically
    first."""
    n = len(cost)
    ahead = np.array([_subset_sums(row) for row in cost])  # [n, 2^n], the cost of i before all of a set
    sets = np.arange(1 << n)
    size = np.bitwise_count(sets)
    best = np.full(1 << n, np.iinfo(np.int64).max)  # [2^n], of the cheapest order of a set
    best[0] = 0
    for members in range(1, n + 1):
        of_size = sets[size == members]
        for i in range(n):
            holders = of_size[of_size >> i & 1 == 1]
            rest = holders ^ (1 << i)
            best[holders] = np.minimum(best[holders], ahead[i, rest] + best[rest])
    order: list[int] = []
    left = (1 << n) - 1
    while left:
        first = next(
            i for i in range(n) if left >> i & 1 and best[left] == ahead[i, left ^ (1 << i)] + best[left ^ (1 << i)]
        )
        order.append(first)
        left ^= 1 << first
    return np.array(order, np.int64)


def _subset_sums(values: IntArray) -> IntArray:
    """Sums each subset of values [n]: [2^n]; the bits of an index are the members of its subset."""
    sums: npt.NDArray[np.int64] = np.zeros(1, np.int64)
    for value in values:
        sums = np.concatenate([sums, sums + value])
    return sums
