"""Holds a problem while it is ranked: its distinct texts, the strategy's schedule over them, and the answers so far."""

import zlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Self, TypeAlias, cast

import numpy as np

from flame_rank.candidates.answers import Extract
from flame_rank.errors import UserError
from flame_rank.ranking.dedupe import How, distinct, representatives
from flame_rank.records import Judgements, Problem
from strategies.base import BELOW, FloatArray, IntArray, Options, Schedule, Standing, Strategy
from strategies.consistency import Consistency, consistencies, consistency
from strategies.together import standings

ScheduleFunction: TypeAlias = Callable[[int, np.random.Generator], Schedule]
NameOptions: TypeAlias = Callable[[Problem], Sequence[Hashable]]  # see flame_rank/judges/base.py


@dataclass(frozen=True)
class FunctionStrategy:
    """A strategy that is a user's generator function."""

    name: str
    schedule: ScheduleFunction


def _checked_round(asked: object, n: int) -> IntArray:
    """Returns a round of a schedule, [M, 2] int64.

    Raises:
      UserError: it is not pairs of two of the n candidates.
    """
    pairs = np.asarray(asked)
    if not pairs.size:
        return np.empty((0, 2), np.int64)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not np.issubdtype(pairs.dtype, np.integer):
        shape = list(pairs.shape)
        raise UserError(f"the strategy asked an array {shape} of {pairs.dtype}; a round is [M, 2] whole numbers")
    if ((pairs < 0) | (pairs >= n)).any() or (pairs[:, 0] == pairs[:, 1]).any():
        raise UserError(f"the strategy asked a pair that is not two different candidates from 0 to {n - 1}")
    return pairs.astype(np.int64, copy=False)


def _checked_standing(returned: object, n: int) -> Standing:
    """Returns what a schedule returned.

    Raises:
      UserError: it is not a standing of all n candidates.
    """
    if not isinstance(returned, Standing):
        kind = type(returned).__name__
        raise UserError(f"the strategy returned {kind}, not a Standing; strategies.standing makes one of judgements")
    if not np.array_equal(np.sort(returned.order), np.arange(n)) or not np.isfinite(returned.scores).all():
        raise UserError(f"the strategy returned a standing without a place and a number for each of {n} candidates")
    return returned


@dataclass(eq=False)
class Tournament:
    """A schedule over the distinct texts of a problem.

    Attributes:
      given: the problem as the user gave it.
      problem: the problem as it is judged, with the final answers that were read from its candidates.
      representative: [d] the first candidate with each distinct text; the schedule sees only these d.
      cluster: [n] the number of each candidate's distinct text; d and more for candidates that the judge cannot rate.
      schedule: None if all is asked in one round, the same for every problem (`Options.only_round`).
      round: [M, 2] the comparisons that the schedule asks for now, as candidate indices; None once it has ended.
      standing: how the distinct texts stand, once the schedule has ended; without a schedule, once `settle` is called.
      comparisons: the number that the schedule has asked for.
      invalid: the number of judgements that failed, and of candidates that the judge cannot rate.
      reasons: the distinct reasons why they failed.
      mass: P(A) + P(B) of a language model, summed over the judgements for which it is known.
      weighed: the number of these judgements.
      answered: each round with its answers.
      keep: whether `judgements` are wanted.
      settled: how consistent the judgements are, if `settle` was called.
    """

    given: Problem
    problem: Problem
    representative: IntArray
    cluster: IntArray
    schedule: Schedule | None
    round: IntArray | None = None
    standing: Standing | None = None
    comparisons: int = 0
    invalid: int = 0
    reasons: dict[str, None] = field(default_factory=dict)
    mass: float = 0.0
    weighed: int = 0
    answered: list[tuple[IntArray, FloatArray]] = field(default_factory=list)
    keep: bool = False
    settled: Consistency | None = None

    @classmethod
    def start(
        cls,
        given: Problem,
        strategy: Strategy,
        dedupe: How,
        seed: int,
        extract: Extract | None = None,
        *,
        keep: bool = False,
        name: NameOptions | None = None,
    ) -> Self:
        """Opens a problem and takes its first round; a problem with only one distinct text ends at once.

        Args:
          given: the problem.
          strategy: makes the schedule of n texts.
          dedupe: which texts count as equal.
          seed: the seed of the schedule's random choices.
          extract: reads a candidate's final answer, for a problem that does not state its answers.
          keep: whether `judgements` are wanted.
          name: returns the names of the options that the judge rates; None if it judges distinct texts.
        """
        problem = given
        if extract is not None and given.answers is None:
            problem = replace(given, answers=[extract(text) for text in given.texts])
        names = [] if name is None else name(problem)
        missing = sum(own is None for own in names)
        if missing < len(names):
            cluster = _named(names)
            representative = np.unique(cluster, return_index=True)[1][: cluster.max() + 1 - missing]
        else:
            cluster, missing = distinct(problem, dedupe), 0
            representative = representatives(cluster)
        n = len(representative)
        # A class that inherits it may have a schedule of its own.
        own = isinstance(strategy, Options) and "only_round" in vars(type(strategy))
        only_round = cast(Options, strategy).only_round(n) if own else None
        schedule: Schedule | None = None
        if only_round is None:
            # Random choices depend on the problem, not on its place in a file.
            text = "\0".join((problem.prompt, *problem.texts))
            schedule = strategy.schedule(n, np.random.default_rng([seed, zlib.crc32(text.encode())]))
        tournament = cls(given, problem, representative, cluster, schedule)
        tournament.keep = keep
        tournament.invalid = missing
        if only_round is None:
            tournament.advance(None)
        else:
            tournament.round = only_round if n == len(cluster) else representative[only_round]
            tournament.comparisons = len(only_round)
        return tournament

    @property
    def pending(self) -> int:
        """The number of comparisons in the round that waits to be judged."""
        return 0 if self.round is None else len(self.round)

    def advance(self, log_odds: FloatArray | None) -> None:
        """Sends the schedule its answers (None at the start) and takes its next round."""
        if self.round is not None and log_odds is not None:
            self.answered.append((self.round, log_odds))
        if self.schedule is None:
            self.round = None
            return
        try:
            asked = next(self.schedule) if log_odds is None else self.schedule.send(log_odds)
        except StopIteration as end:
            self.round, self.standing = None, _checked_standing(end.value, len(self.representative))
        else:
            self.round = self.representative[_checked_round(asked, len(self.representative))]
            self.comparisons += len(self.round)

    @property
    def judgements(self) -> Judgements | None:
        """All that was asked and answered, if it is wanted."""
        if not self.keep:
            return None
        sizes = [len(pairs) for pairs, _ in self.answered]
        return Judgements(
            rounds=np.repeat(np.arange(len(sizes)), sizes),
            pairs=np.concatenate([np.empty((0, 2), np.int64), *(pairs for pairs, _ in self.answered)]),
            log_odds=np.concatenate([np.empty(0), *(log_odds for _, log_odds in self.answered)]),
        )

    @property
    def consistency(self) -> Consistency:
        """How often the judge contradicted itself."""
        return self.settled or consistency(self.answered)

    @property
    def verdict_mass(self) -> float | None:
        """The mean of P(A) + P(B); None if no judgement has it."""
        return self.mass / self.weighed if self.weighed else None

    @property
    def result(self) -> Standing:
        """The standing of all n candidates once the schedule has ended.

        Equal texts are ranked together, in the order of the input, and share the probability of their text evenly;
        p_top is that of the distinct texts. Candidates without an option are last, with a score that is lower by BELOW
        than the lowest other score: they lack what the judge rates, and no judgement has failed.
        """
        standing = cast(Standing, self.standing)
        if len(self.cluster) == len(standing.order):
            return standing
        rated = len(standing.order)
        missing = int(self.cluster.max()) + 1 - rated
        rank = np.arange(rated + missing)
        rank[standing.order] = np.arange(rated)
        p_best = np.append(standing.p_best, np.zeros(missing))
        known = np.ones(rated, bool) if standing.rated is None else standing.rated
        return replace(
            standing,
            order=np.argsort(rank[self.cluster], kind="stable"),
            scores=np.append(standing.scores, np.full(missing, standing.scores.min() - BELOW))[self.cluster],
            p_best=(p_best / np.bincount(self.cluster))[self.cluster],
            decided=standing.decided and 2 * missing < len(self.cluster),
            rated=np.append(known, np.ones(missing, bool))[self.cluster],
        )


def settle(tournaments: Sequence[Tournament], strategy: Strategy) -> None:
    """Computes the standings of the tournaments that have no schedule, once they are answered; tournaments of the same
    size are computed together."""
    alike: dict[int, list[Tournament]] = {}
    for tournament in tournaments:
        if tournament.schedule is None and tournament.standing is None:
            alike.setdefault(len(tournament.representative), []).append(tournament)
    for n, members in alike.items():
        options = cast(Options, strategy)
        asked = cast(IntArray, options.only_round(n))
        log_odds = np.array([tournament.answered[0][1] for tournament in members])
        together = zip(members, standings(asked, log_odds, n, options.top), consistencies(asked, log_odds), strict=True)
        for tournament, standing, known in together:
            tournament.standing, tournament.settled = standing, known


def _named(names: Sequence[Hashable]) -> IntArray:
    """Numbers options [n] by their names, in the order of appearance; candidates without a name get the numbers
    after these."""
    number = {own: k for k, own in enumerate(dict.fromkeys(own for own in names if own is not None))}
    unnamed = count(len(number))
    return np.array([next(unnamed) if own is None else number[own] for own in names], np.int64)
