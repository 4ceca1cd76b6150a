"""Runs the tournaments of many problems at once: asks each schedule for its round, packs the rounds of all open
problems into one call of the judge, and hands the answers back.
"""

import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np

import strategies
from flame_rank.errors import UserError
from flame_rank.judges.base import Judge, Notes
from flame_rank.judges.function import FunctionJudge, PairFunction
from flame_rank.records import Candidate, Problem, Ranking
from strategies.base import FloatArray, IntArray, Schedule, Standing, Strategy

ScheduleFunction = Callable[[int, np.random.Generator], Schedule]

_PAIRWISE = "round-robin"  # what a pairwise judge is asked by default: the paper's (section 5, Table 4)


@dataclass(eq=False)
class _Open:
    """A problem at work.

    Attributes:
      place: [d] the first candidate of each distinct text; the schedule knows these d only.
      member: [n] the distinct text that each candidate has.
      round: [M, 2] what the schedule wants to know now, in candidate indices; None once it has ended.
    """

    problem: Problem
    place: IntArray
    member: IntArray
    schedule: Schedule
    round: IntArray | None = None
    standing: Standing | None = None
    comparisons: int = 0
    invalid: int = 0
    reasons: dict[str, None] = field(default_factory=dict)

    def advance(self, log_odds: FloatArray | None) -> None:
        """Sends the schedule its answers (None at the start) and takes its next round."""
        try:
            asked = next(self.schedule) if log_odds is None else self.schedule.send(log_odds)
        except StopIteration as end:
            self.round, self.standing = None, end.value
        else:
            self.round = self.place[np.asarray(asked, np.int64).reshape(-1, 2)]
            self.comparisons += len(self.round)


class Reranker:
    """Ranks problems with one judge and one strategy."""

    def __init__(
        self,
        judge: Judge | PairFunction | str | None = None,
        strategy: str | Strategy | ScheduleFunction | None = None,
        *,
        seed: int = 0,
        batch: int = 128,
        explain: bool = False,
    ):
        """Args:
          judge: a judge, a function f(prompt, pairs) -> log-odds, what `--judge` takes, or None for the judge that
            ships inside.
          strategy: a name, a strategy, or a generator function (n, rng); None for what suits the judge. A pointwise
            judge is asked once for each candidate whatever strategy is named: more would repeat what it said.
          seed: of the strategy's coins.
          batch: comparisons that are collected from open problems for one call of the judge.
          explain: have the judge say why the best of each problem is better than the next.

        Raises:
          ValueError: no strategy has this name.
          TypeError: judge or strategy is nothing of the kind.
          UserError: the judge has no words to explain with.
        """
        self.judge = _judge(judge)
        if explain and not hasattr(self.judge, "explain"):
            raise UserError(
                f"the judge {self.judge.name} has no words; explanations take a language model as the judge"
            )
        self.explain = explain
        self.strategy, self._schedule = _strategy(strategy, self.judge.pointwise)
        self.seed, self.batch = seed, batch

    def rank(self, prompt: str | Problem, candidates: Sequence[str | Candidate] | None = None) -> Ranking:
        """Ranks one problem, given as a prompt and its candidates or as a Problem."""
        if not isinstance(prompt, Problem):
            if candidates is None:
                raise TypeError("rank takes a Problem, or a prompt and its candidates")
            prompt = Problem(prompt=prompt, candidates=candidates)
        return next(self.rank_many([prompt]))

    def rank_many(self, problems: Iterable[Problem]) -> Iterator[Ranking]:
        """Yields rankings in input order, as soon as they are there; holds the open problems, never all.

        What `problems` raises is raised here, after the problems before it have been yielded.
        """
        source, failure = iter(problems), None
        live, opened = True, deque[_Open]()
        while live or opened:
            pending = sum(len(one.round) for one in opened if one.round is not None)
            while live and pending < self.batch and len(opened) < self.batch:
                try:
                    problem = next(source)
                except StopIteration:
                    live = False
                except Exception as error:
                    live, failure = False, error
                else:
                    one = self._open(problem)
                    opened.append(one)
                    pending += 0 if one.round is None else len(one.round)
            self._ask([one for one in opened if one.round is not None])
            done = []
            while opened and opened[0].round is None:
                done.append(opened.popleft())
            yield from self._rankings(done)
        if failure is not None:
            raise failure

    def _open(self, problem: Problem) -> _Open:
        """Starts a problem's schedule over its distinct texts."""
        first: dict[str, int] = {}
        texts = problem.texts
        for i, text in enumerate(texts):
            first.setdefault(text, i)
        number = {text: k for k, text in enumerate(first)}
        # The coins belong to the problem, not to its place in a file.
        rng = np.random.default_rng([self.seed, zlib.crc32("\0".join((problem.prompt, *texts)).encode())])
        one = _Open(
            problem=problem,
            place=np.fromiter(first.values(), np.int64),
            member=np.fromiter((number[text] for text in texts), np.int64),
            schedule=self._schedule(len(first), rng),
        )
        one.advance(None)
        return one

    def _ask(self, asking: list[_Open]) -> None:
        """Has the judge answer every open round; what failed is asked once more, then left out."""
        if not asking:
            return
        rounds = [cast(IntArray, one.round) for one in asking]
        answers = self._answers(asking, rounds)
        failed = [k for k, log_odds in enumerate(answers) if np.isnan(log_odds).any()]
        if failed:
            missing = [np.flatnonzero(np.isnan(answers[k])) for k in failed]
            again = [asking[k] for k in failed]
            second = self._answers(again, [rounds[k][at] for k, at in zip(failed, missing, strict=True)])
            for k, at, log_odds in zip(failed, missing, second, strict=True):
                answers[k][at] = log_odds
                if left := int(np.isnan(log_odds).sum()):
                    asking[k].invalid += left
                    asking[k].reasons.setdefault("the judge gave no log-odds")
        for one, log_odds in zip(asking, answers, strict=True):
            one.advance(log_odds)

    def _answers(self, asking: list[_Open], rounds: list[IntArray]) -> list[FloatArray]:
        """One call of the judge, or one for each problem where that call raised; NaN for what raises again."""
        try:
            return self._call(asking, rounds)
        except UserError:  # for the user to mend: to ask again is of no use
            raise
        except Exception as error:
            if len(asking) == 1:
                asking[0].reasons[f"{type(error).__name__}: {error}"[:300]] = None
                return [np.full(len(rounds[0]), np.nan)]
        return [self._answers([one], [asked])[0] for one, asked in zip(asking, rounds, strict=True)]

    def _call(self, asking: list[_Open], rounds: list[IntArray]) -> list[FloatArray]:
        answers = self.judge.judge([(one.problem, asked) for one, asked in zip(asking, rounds, strict=True)])
        answers = [np.array(log_odds, np.float64) for log_odds in answers]
        shapes, wanted = [a.shape for a in answers], [(len(asked),) for asked in rounds]
        if shapes != wanted:
            raise ValueError(f"judge {self.judge.name} returned shapes {shapes} where {wanted} were asked")
        return answers

    def _rankings(self, done: list[_Open]) -> Iterator[Ranking]:
        """The results of problems, with the judge's words where they are asked for."""
        rankings = [self._ranking(one) for one in done]
        if self.explain:
            say: Any = self.judge
            asked = {k: pair for k, r in enumerate(rankings) if r.decided and (pair := _best_two(r))}
            words = say.explain([(rankings[k].problem, *pair) for k, pair in asked.items()])
            for k, text in zip(asked, words, strict=True):
                rankings[k] = replace(rankings[k], explanation=text)
        yield from rankings

    def _ranking(self, one: _Open) -> Ranking:
        notes: Any = getattr(self.judge, "notes", None)
        said = notes(one.problem) if notes else Notes()
        reasons = dict.fromkeys([*said.failures, *one.reasons]) if one.invalid else {}
        if len(reasons) > 1:  # a judge that says why need not be told that it said nothing
            reasons.pop("the judge gave no log-odds", None)
        return Ranking(
            problem=one.problem,
            standing=_spread(cast(Standing, one.standing), one.member),
            comparisons=one.comparisons,
            strategy=self.strategy,
            judge=self.judge.name,
            invalid=one.invalid,
            reasons=tuple(reasons),
            truncated=said.truncated,
            health=said.health,
        )


def rerank(
    prompt: str,
    candidates: Sequence[str | Candidate],
    *,
    judge: Judge | PairFunction | str | None = None,
    strategy: str | Strategy | ScheduleFunction | None = None,
    seed: int = 0,
) -> Ranking:
    """Ranks the candidates for a prompt, best first; arguments as in Reranker."""
    return Reranker(judge, strategy, seed=seed).rank(prompt, candidates)


def _judge(judge: Judge | PairFunction | str | None) -> Judge:
    if judge is None or isinstance(judge, str):
        from flame_rank.judges import load

        return load(judge or "default")
    if isinstance(judge, Judge):
        return judge
    if callable(judge):
        return FunctionJudge(judge)
    raise TypeError(f"judge is a {type(judge).__name__}, not a judge, its name or a function f(prompt, pairs)")


def _strategy(strategy: str | Strategy | ScheduleFunction | None, pointwise: bool) -> tuple[str, ScheduleFunction]:
    """A strategy's name and its schedules."""
    named = strategies.by_name(strategy or _PAIRWISE) if strategy is None or isinstance(strategy, str) else strategy
    if isinstance(named, Strategy):
        if pointwise and named.name in strategies.NAMES:
            named = strategies.by_name("pointwise")
        return named.name, named.schedule
    if callable(named):
        return getattr(named, "__name__", type(named).__name__), named
    raise TypeError(f"strategy is a {type(named).__name__}, not a name, a strategy or a generator function")


def _best_two(ranking: Ranking) -> tuple[int, int] | None:
    """The best candidate and the best one of another text, None where all are the same."""
    best, *others = ranking.order
    texts = ranking.problem.texts
    second = next((i for i in others if texts[i] != texts[best]), None)
    return None if second is None else (best, second)


def _spread(standing: Standing, member: IntArray) -> Standing:
    """The standing of all n candidates from that of the d distinct texts: equal texts stand together, in input order,
    and share their text's probability of being the best."""
    if len(member) == len(standing.order):
        return standing
    place = np.empty_like(standing.order)
    place[standing.order] = np.arange(len(place))
    return Standing(
        order=np.argsort(place[member], kind="stable"),
        scores=standing.scores[member],
        p_best=(standing.p_best / np.bincount(member))[member],
        decided=standing.decided,
    )
