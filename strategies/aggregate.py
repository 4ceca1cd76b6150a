"""Computes a score for each candidate from a matrix of log-odds, or from counted wins.

Three views of the same judgements, and the scores that are computed from each:

- log_odds [n, n]: a judge's answers: entry [i, j] = nats that i is better if i was first, NaN = not asked or invalid,
  the diagonal is ignored -> copeland, borda, win_rate
- wins [n, n]: entry [i, j] >= 0 = how often i won against j, a tie being half a win for each; may be fractions; NaN =
  not played, the diagonal ignored -> bradley_terry, pagerank, rank_centrality
- asked, outcomes [M]: comparisons one after the other -> elo

`wins_of`, `verdicts_of` and `comparisons_of` convert the first view to the others, `count_wins` the third to the
second. Anything that numpy converts to an array (lists, data frames) is accepted; another shape, or an entry that is
not a number, raises a ValueError that names the argument. Higher scores are better, and all scores are finite, whatever
is missing, tied or infinite.
"""

import math
from typing import Final

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.special import expit, logsumexp

from strategies.base import FloatArray, IntArray
from strategies.laplacian import centred, differences, solve

CERTAIN: Final = 1e6  # nats: the value used for infinite log-odds
DIGITS: Final = 9  # decimals that margins are rounded to; later digits depend on the order of summation
NEWTON_STEPS: Final = 1000  # 10 are usual; a step moves a distant score by one nat at most
UNBOUNDED: Final = "their scores have no bound, or none that float64 can find; give a prior above 0"
ELO_START: Final = 1000.0
ELO_SCALE: Final = 400 / math.log(10)  # Elo points a nat: 400 points are odds of 10 to 1


def margins(log_odds: FloatArray) -> FloatArray:
    """Computes by how much each candidate is better than every other one, from both orders of a pair.

    Args:
      log_odds: [n, n] float64, nats that i is better if i was first, NaN = not asked or invalid.

    Returns:
      [n, n] float64, antisymmetric: (l_ij - l_ji) / 2, or the valid one of the two, in nats, rounded to DIGITS
      decimals; 0 = a tie. NaN if neither is valid, and on the diagonal.
    """
    clipped = np.clip(_square(log_odds, "log_odds"), -CERTAIN, CERTAIN)
    np.fill_diagonal(clipped, np.nan)  # np.clip made a copy
    here, there = ~np.isnan(clipped), ~np.isnan(clipped.T)
    total = np.where(here, clipped, 0.0) - np.where(there, clipped.T, 0.0)  # [n, n]
    orders = here.astype(np.int64) + there  # [n, n], how many orders of the pair are known: 0, 1, 2
    return np.where(orders > 0, np.round(total / np.maximum(orders, 1), DIGITS), np.nan)


def wins_of(log_odds: FloatArray) -> FloatArray:
    """Counts wins as probabilities: in a compared pair with margin m, one candidate gets sigmoid(m) of a win, the other
    the rest.

    A pair counts once, even if both of its orders are known.

    Args:
      log_odds: [n, n] float64, as in `margins`.

    Returns:
      wins: [n, n] float64, [i, j] + [j, i] = 1 for a compared pair and 0 for any other.
    """
    margin = margins(log_odds)
    wins: FloatArray = np.where(np.isnan(margin), 0.0, expit(margin))
    return wins


def verdicts_of(log_odds: FloatArray) -> FloatArray:
    """Counts wins as verdicts: 1 for the better candidate of a compared pair, 1/2 for each of a tied pair. Otherwise as
    `wins_of`."""
    margin = margins(log_odds)
    return np.where(np.isnan(margin), 0.0, (1 + np.sign(margin)) / 2)


def comparisons_of(log_odds: FloatArray) -> tuple[IntArray, FloatArray]:
    """Lists the compared pairs in order of position, each with the probability that its first candidate wins.

    Args:
      log_odds: [n, n] float64, as in `margins`.

    Returns:
      asked: [P, 2] int64, (first, second), first < second.
      outcomes: [P] float64, sigmoid of the margin.
    """
    margin = margins(log_odds)
    asked = np.argwhere(np.triu(~np.isnan(margin)))
    return asked, expit(margin[asked[:, 0], asked[:, 1]])


def count_wins(asked: IntArray, outcomes: FloatArray, n: int) -> FloatArray:
    """Counts the wins in a sequence of comparisons.

    Args:
      asked: [M, 2] int64, the comparisons (first, second).
      outcomes: [M] float64, 1 = the first won, 0 = the second, 1/2 = a tie, and any fraction between; NaN = invalid
        and left out.
      n: number of candidates.

    Returns:
      wins: [n, n] float64.
    """
    asked, outcomes = _sequence(asked, outcomes, n)
    valid = ~np.isnan(outcomes)
    (first, second), won = asked[valid].T, outcomes[valid]
    cells = np.concatenate([first * n + second, second * n + first])
    return np.bincount(cells, np.concatenate([won, 1 - won]), n * n).reshape(n, n).astype(np.float64, copy=False)


def copeland(log_odds: FloatArray) -> FloatArray:
    """Computes pairs won minus pairs lost, by the sign of the margin (Copeland 1951).

    Args:
      log_odds: [n, n] float64, as in `margins`.

    Returns:
      [n] float64. A tied pair counts as half a win and half a loss, so it changes neither score; nor does a pair that
      was not compared.
    """
    score: FloatArray = np.nansum(np.sign(margins(log_odds)), axis=1)
    return score


def borda(log_odds: FloatArray) -> FloatArray:
    """Computes the mean margin over the opponents of each candidate: Borda's count (1781), in log-odds.

    Args:
      log_odds: [n, n] float64, as in `margins`.

    Returns:
      [n] float64, nats; 0 for a candidate without an opponent.
    """
    margin = margins(log_odds)
    opponents = (~np.isnan(margin)).sum(axis=1)
    score: FloatArray = np.nansum(margin, axis=1) / np.maximum(opponents, 1)
    return score


def win_rate(log_odds: FloatArray) -> FloatArray:
    """Computes the share of its opponents that each candidate beats; a tie counts half.

    Args:
      log_odds: [n, n] float64, as in `margins`.

    Returns:
      [n] float64 in [0, 1]; 1/2 for a candidate without an opponent.
    """
    wins = verdicts_of(log_odds)
    won, lost = wins.sum(axis=1), wins.sum(axis=0)
    opponents = won + lost
    return np.where(opponents > 0, won / np.maximum(opponents, 1), 0.5)


def bradley_terry(wins: FloatArray, *, prior: float = 0.1) -> FloatArray:
    """Fits scores such that i beats j with probability sigmoid(score_i - score_j), given the counted wins.

    Bradley, Terry: Rank analysis of incomplete block designs, Biometrika 39, 1952. The scores are the maximum of the
    posterior, found by Newton's method. Without a prior, differences above about 30 nats come out too small, because
    the wins against them are lost in rounding.

    Args:
      wins: [n, n] float64; for a matrix of log-odds, take `wins_of(log_odds)`, or `verdicts_of(log_odds)`.
      prior: precision, in 1 / nats^2, of a Gaussian prior around 0 on each score. With 0.1, a single verdict on two
        candidates gives the winner a probability of 0.9. 0 = none: the maximum of the likelihood.

    Returns:
      [n] float64, nats; each part of the graph that comparisons connect is centred on 0.

    Raises:
      ValueError: without a prior there is no finite maximum, or none within reach of float64.
    """
    wins = _off_diagonal(wins)
    graph = csr_array(wins)
    part = _parts(graph, finite=prior > 0)
    (winner, loser), count = graph.tocoo().coords, graph.data  # [E] each, the ordered pairs with wins
    difference = differences(np.stack([winner, loser], axis=1), len(wins))  # [E, n]
    won, lost = graph.sum(axis=1), graph.sum(axis=0)  # [n]
    scores = centred(np.log((won + 1) / (lost + 1)), part)  # near the maximum if each candidate met many others
    noise = np.finfo(float).eps * np.linalg.norm(won + lost)
    for _ in range(NEWTON_STEPS):
        ahead = difference @ scores  # [E], nats
        surprise = count * expit(-ahead)  # [E], how many of the wins were unexpected
        gradient = difference.T @ surprise - prior * scores
        weight = surprise * expit(ahead)  # [E], the information in the wins
        step = solve(difference, weight, prior, gradient, rtol=1e-4, atol=noise)
        # A line search is not needed: the third derivative along a step is at most r times the second, r being its
        # longest edge, and for such functions Newton's step times log(1 + r) / r ascends from any point and converges
        # quadratically (Sun, Tran-Dinh: Generalized self-concordant functions, 2019).
        longest = np.abs(difference @ step).max(initial=0.0)
        scores = scores + step * (math.log1p(longest) / longest if longest > 0 else 1.0)
        if longest < 1e-8:
            return centred(scores, part)
    raise ValueError(f"the scores did not settle in {NEWTON_STEPS} steps: {UNBOUNDED}")


def elo(asked: IntArray, outcomes: FloatArray, n: int, *, k: float = 4.0) -> FloatArray:
    """Computes Elo ratings, which change with each comparison in the given order.

    Elo: The rating of chessplayers, past and present, 1978. Candidates, unlike players, do not change from one
    comparison to the next, so a small k is right for them: the order of the comparisons matters less.

    Args:
      asked: [M, 2] int64, the comparisons (first, second), first != second; for a matrix of log-odds, take both arrays
        from `comparisons_of(log_odds)`, and repeat them (np.tile) as often as the ratings need to settle.
      outcomes: [M] float64, as in `count_wins`.
      n: number of candidates.
      k: the points that a winner gets if it was certain to lose.

    Returns:
      [n] float64, Elo points around ELO_START.
    """
    asked, outcomes = _sequence(asked, outcomes, n)
    ratings = [ELO_START] * n
    for (first, second), won in zip(asked.tolist(), outcomes.tolist(), strict=True):
        if not math.isnan(won):
            # 1 / (1 + 10^(-d / 400)), written so that no difference overflows
            expected = (1 + math.tanh((ratings[first] - ratings[second]) / (2 * ELO_SCALE))) / 2
            ratings[first] += k * (won - expected)
            ratings[second] -= k * (won - expected)
    return np.array(ratings)


def pagerank(wins: FloatArray, *, damping: float = 0.85) -> FloatArray:
    """Computes the share of time that a random walk spends at each candidate; it goes from a candidate to those that
    beat it, in proportion to their wins.

    Page, Brin, Motwani, Winograd: The PageRank citation ranking, 1999; solved exactly. Only the shares of a candidate's
    losses count, not their number: if wins are fractions and every candidate has lost something to every other, the
    order can be wrong, and two candidates both score 1/2. Use it with verdicts.

    Args:
      wins: [n, n] float64; for a matrix of log-odds, take `verdicts_of(log_odds)`.
      damping: in [0, 1), the probability of going on instead of restarting at a random candidate; from a candidate
        without a loss the walk always restarts.

    Returns:
      [n] float64, sums to 1.

    Raises:
      ValueError: damping is not in [0, 1).
    """
    if not 0 <= damping < 1:
        raise ValueError(f"damping is {damping}; it must be at least 0 and below 1")
    wins = _off_diagonal(wins)
    n = len(wins)
    lost = wins.sum(axis=0)
    step = wins / np.where(lost > 0, lost, 1.0)  # [to, from], columns sum to 1, or to 0 where there is no loss
    # What a column of zeros loses is spread equally, like a restart, by normalising the shares to sum to 1.
    time = np.linalg.solve(np.eye(n) - damping * step, np.ones(n))
    share: FloatArray = time / time.sum()
    return share


def rank_centrality(wins: FloatArray, *, prior: float = 0.5) -> FloatArray:
    """Computes the log of the share of time that a random walk spends at each candidate; it goes from i to j at a rate
    equal to the share of their games that j won.

    Negahban, Oh, Shah: Rank centrality: ranking from pairwise comparisons, Operations Research 65, 2017. On exact
    Bradley-Terry probabilities and without a prior these are the Bradley-Terry scores.

    Args:
      wins: [n, n] float64; for a matrix of log-odds, take `wins_of(log_odds)`, or `verdicts_of(log_odds)`.
      prior: wins added to both sides of every compared pair. 0 = none.

    Returns:
      [n] float64, nats; each part of the graph that comparisons connect is centred on 0.

    Raises:
      ValueError: there is no prior, and some score is infinite.
    """
    wins = _off_diagonal(wins)
    part = _parts(csr_array(wins), finite=prior > 0)
    games = wins + wins.T
    rates = np.where(games > 0, (wins.T + prior) / np.where(games > 0, games + 2 * prior, 1.0), 0.0)  # [from, to]
    scores = np.zeros(len(wins))
    for label in range(part.max(initial=-1) + 1):
        members = np.flatnonzero(part == label)
        scores[members] = _log_stationary(rates[np.ix_(members, members)])
    return centred(scores, part)


def _square(values: FloatArray, name: str) -> FloatArray:
    """Converts an argument [n, n] to float64."""
    try:
        matrix = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} is not a matrix of numbers: {error}") from error
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        shape = list(matrix.shape)
        raise ValueError(f"{name} has shape {shape}; it must be [n, n], a row and a column for each candidate")
    return matrix


def _off_diagonal(wins: FloatArray) -> FloatArray:
    """Copies wins [n, n] with zeros on the diagonal and for pairs not played."""
    wins = _square(wins, "wins")
    wins = np.where(np.isnan(wins), 0.0, wins)
    np.fill_diagonal(wins, 0.0)
    if not ((wins >= 0) & np.isfinite(wins)).all():
        raise ValueError("wins has an entry that is negative or infinite; it counts wins (log-odds go to wins_of)")
    return wins


def _sequence(asked: IntArray, outcomes: FloatArray, n: int) -> tuple[IntArray, FloatArray]:
    """Converts arguments [M, 2] and [M] to int64 and float64."""
    try:
        pairs, won = np.asarray(asked), np.asarray(outcomes, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"asked or outcomes is not an array of numbers: {error}") from error
    if not pairs.size:
        pairs = np.zeros((0, 2), np.int64)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not np.issubdtype(pairs.dtype, np.integer):
        raise ValueError(f"asked has shape {list(pairs.shape)} and type {pairs.dtype}; it must be [M, 2] integers")
    if ((pairs < 0) | (pairs >= n)).any() or (pairs[:, 0] == pairs[:, 1]).any():
        raise ValueError(f"asked has a pair that is not two different indices from 0 to {n - 1}")
    if won.shape != (len(pairs),):
        raise ValueError(f"outcomes has shape {list(won.shape)}; it must be [{len(pairs)}], one for each pair in asked")
    if ((won < 0) | (won > 1)).any():
        raise ValueError("outcomes has an entry outside 0 to 1")
    return pairs.astype(np.int64, copy=False), won


def _parts(graph: csr_array, *, finite: bool) -> IntArray:
    """Numbers, from 0, the parts of the graph that comparisons connect: [n].

    Args:
      finite: whether a prior keeps the scores finite.

    Raises:
      ValueError: not `finite`, and in some part there is a group that never lost to the rest of it.
    """
    count, part = connected_components(graph, connection="weak")
    if not finite and connected_components(graph, connection="strong", return_labels=False) > count:
        raise ValueError(f"some candidates never lost to others, or never won: {UNBOUNDED}")
    labels: IntArray = part.astype(np.int64)
    return labels


def _log_stationary(rates: FloatArray) -> FloatArray:
    """Computes the log of the stationary distribution, up to a constant, of a chain in which each state reaches each
    other.

    Grassmann, Taksar, Heyman: Regenerative analysis and steady state distributions for Markov chains, 1985. The method
    removes one state after the other without a subtraction, so the rarest state is as exact as the most frequent.

    Args:
      rates: [n, n] float64, from i to j; the diagonal is 0.
    """
    rates = rates.copy()
    n = len(rates)
    leaving = np.ones(n)
    for i in range(n - 1, 0, -1):
        leaving[i] = rates[i, :i].sum()
        if leaving[i] == 0 or not rates[:i, i].any():  # such rates have underflowed
            raise ValueError(f"some candidates hardly ever lost to others, or hardly ever won: {UNBOUNDED}")
        rates[:i, :i] += np.outer(rates[:i, i], rates[i, :i] / leaving[i])
    logs = np.zeros(n)
    for i in range(1, n):
        logs[i] = logsumexp(logs[:i], b=rates[:i, i]) - np.log(leaving[i])
    return logs
