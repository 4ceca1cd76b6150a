"""Runs the tournaments of many problems at once: asks each schedule for its round, packs the rounds of all open
problems into one call of the judge, and hands the answers back.
"""

import asyncio
import weakref
import zlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

import strategies
from flame_rank.dedupe import How, distinct
from flame_rank.errors import UserError
from flame_rank.judges.base import Judge, Notes
from flame_rank.judges.function import FunctionJudge, PairFunction
from flame_rank.ledger import Ledger
from flame_rank.records import Candidate, Problem, Ranking
from strategies.base import FloatArray, IntArray, Order, Schedule, Standing, Strategy

ScheduleFunction = Callable[[int, np.random.Generator], Schedule]

_SILENT = "the judge gave no log-odds"
COMMIT = 1024  # comparisons at most between two commits to a ledger
_PAIRWISE = "active"  # of round-robin's picks all but 1 to 3 in a hundred, for a quarter of its comparisons (README)


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
        order: Order | None = None,
        budget: int | None = None,
        top: int | None = None,
        confidence: float | None = None,
        dedupe: How = "exact",
        ledger: str | Path | None = None,
        ordered: bool = True,
        seed: int = 0,
        batch: int = 128,
        explain: bool = False,
    ):
        """Args:
          judge: a judge, a function f(prompt, pairs) -> log-odds, what `--judge` takes, or None for the judge that
            ships inside.
          strategy: a name, a strategy, or a generator function (n, rng); None for what suits the judge. A pointwise
            judge is asked once for each candidate whatever strategy is named: more would repeat what it said.
          order: "both" orders of a pair, a "random" one, or the "fixed" one of the candidates' positions; as the
            strategy has it where it is None, and so for the next three.
          budget: comparisons of a problem at most.
          top: how many of the best are wanted.
          confidence: stop a problem when the best is the best with this probability; of the strategy "active", which
            it chooses where none is named.
          dedupe: "exact": equal texts are judged once; "ast": so are programs equal up to formatting.
          ledger: a file that keeps every judgement: what it knows is not asked again, in this run or a later one.
          ordered: yield rankings in input order; otherwise as soon as they are there.
          seed: of the strategy's coins.
          batch: comparisons that are collected from open problems for one call of the judge.
          explain: have the judge say why the best of each problem is better than the next.

        Raises:
          ValueError: no strategy has this name.
          TypeError: judge or strategy is nothing of the kind, or the strategy has no such option.
          UserError: the judge has no words to explain with, or no name for a ledger, or the ledger cannot be used.
        """
        self.judge = _judge(judge)
        if explain and not hasattr(self.judge, "explain"):
            raise UserError(
                f"the judge {self.judge.name} has no words; explanations take a language model as the judge"
            )
        self.explain = explain
        options = {"order": order, "budget": budget, "top": top, "confidence": confidence}
        given = {name: value for name, value in options.items() if value is not None}
        self.strategy, self._schedule = _strategy(strategy, self.judge.pointwise, given)
        self.seed, self.batch, self.ordered = seed, batch, ordered
        distinct(Problem(prompt="", candidates=[""]), dedupe)  # raises where there is no such way
        self.dedupe: How = dedupe
        if ledger is not None and isinstance(self.judge, FunctionJudge) and not self.judge.named:
            raise UserError(
                f"{ledger}: a function has no identity for a ledger; give it one: FunctionJudge(f, name=...)"
            )
        self._ledger = Ledger(Path(ledger), self.judge) if ledger is not None else None
        if self._ledger is not None:
            weakref.finalize(self, self._ledger.close)
        self.remembered = 0  # comparisons that the ledger answered

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
            if self.ordered:
                while opened and opened[0].round is None:
                    done.append(opened.popleft())
            else:
                done = [one for one in opened if one.round is None]
                opened = deque(one for one in opened if one.round is not None)
            yield from self._rankings(done)
        if failure is not None:
            raise failure

    async def arank(self, prompt: str | Problem, candidates: Sequence[str | Candidate] | None = None) -> Ranking:
        """As `rank`, in a thread of its own: the event loop is free meanwhile. One call at a time for one Reranker."""
        return await asyncio.to_thread(self.rank, prompt, candidates)

    async def arank_many(self, problems: Iterable[Problem]) -> AsyncIterator[Ranking]:
        """As `rank_many`: reading and judging in a thread, one step at a time, as rankings are asked for."""
        rankings = self.rank_many(problems)
        while (ranking := await asyncio.to_thread(next, rankings, None)) is not None:
            yield ranking

    def _open(self, problem: Problem) -> _Open:
        """Starts a problem's schedule over its distinct texts."""
        texts = problem.texts
        member = distinct(problem, self.dedupe)
        place = np.unique(member, return_index=True)[1].astype(np.int64)
        # The coins belong to the problem, not to its place in a file.
        rng = np.random.default_rng([self.seed, zlib.crc32("\0".join((problem.prompt, *texts)).encode())])
        one = _Open(
            problem=problem,
            place=place,
            member=member,
            schedule=self._schedule(len(place), rng),
        )
        one.advance(None)
        return one

    def _ask(self, asking: list[_Open]) -> None:
        """Has every open round answered, by the ledger where it knows and by the judge where it does not."""
        if not asking:
            return
        rounds = [cast(IntArray, one.round) for one in asking]
        if self._ledger is None:
            answers = self._judged(asking, rounds)
        else:
            answers = [np.full(len(asked), np.nan) for asked in rounds]
            waiting: list[tuple[int, IntArray]] = []  # a problem, and which of its round
            pairs = [(one.problem, asked) for one, asked in zip(asking, rounds, strict=True)]
            for k, known in enumerate(self._ledger.look_up(pairs)):
                answers[k][known.known] = known.log_odds[known.known]
                asking[k].invalid += int(np.isnan(known.log_odds[known.known]).sum())
                asking[k].reasons.update(dict.fromkeys(known.reasons))
                self.remembered += int(known.known.sum())
                if not known.known.all():
                    left = np.flatnonzero(~known.known)
                    waiting += [(k, left[i : i + COMMIT]) for i in range(0, len(left), COMMIT)]
            for batch in _batches(waiting):
                some = [asking[k] for k, _ in batch]
                asked = [rounds[k][at] for k, at in batch]
                heard = self._judged(some, asked)
                self._ledger.record(
                    [(one.problem, pairs) for one, pairs in zip(some, asked, strict=True)],
                    heard,
                    [self._why(one) if np.isnan(said).any() else None for one, said in zip(some, heard, strict=True)],
                )
                for (k, at), said in zip(batch, heard, strict=True):
                    answers[k][at] = said
        for one, log_odds in zip(asking, answers, strict=True):
            one.advance(log_odds)

    def _judged(self, asking: list[_Open], rounds: list[IntArray]) -> list[FloatArray]:
        """The judge's answers; what failed is asked once more, then left out."""
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
                    asking[k].reasons.setdefault(_SILENT)
        return answers

    def _why(self, one: _Open) -> str:
        """Why judgements of a problem failed: the judge's own words where it has some."""
        notes: Any = getattr(self.judge, "notes", None)
        said = notes(one.problem).failures if notes else ()
        return next((reason for reason in (*said, *one.reasons) if reason != _SILENT), _SILENT)

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
            reasons.pop(_SILENT, None)
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
    **options: Any,
) -> Ranking:
    """Ranks the candidates for a prompt, best first; arguments and options as in Reranker."""
    return Reranker(judge, strategy, **options).rank(prompt, candidates)


def _judge(judge: Judge | PairFunction | str | None) -> Judge:
    if judge is None or isinstance(judge, str):
        from flame_rank.judges import load

        return load(judge or "default")
    if isinstance(judge, Judge):
        return judge
    if callable(judge):
        return FunctionJudge(judge)
    raise TypeError(f"judge is a {type(judge).__name__}, not a judge, its name or a function f(prompt, pairs)")


def _strategy(
    strategy: str | Strategy | ScheduleFunction | None, pointwise: bool, options: dict[str, Any]
) -> tuple[str, ScheduleFunction]:
    """A strategy's name and its schedules."""
    if strategy is None or isinstance(strategy, str):
        name = strategy or ("active" if "confidence" in options else _PAIRWISE)
        if "confidence" in options and name != "active":
            raise ValueError(f"confidence is an option of the strategy 'active', not of {name!r}")
        named: Strategy | ScheduleFunction = strategies.by_name(name, **options)
    elif options:
        raise TypeError(f"{', '.join(options)} are for a strategy by name; this one has its own: set them there")
    else:
        named = strategy
    if isinstance(named, Strategy):
        if pointwise and named.name in strategies.NAMES:
            named = strategies.by_name("pointwise", budget=options.get("budget"), top=options.get("top", 1))
        return named.name, named.schedule
    if callable(named):
        return getattr(named, "__name__", type(named).__name__), named
    raise TypeError(f"strategy is a {type(named).__name__}, not a name, a strategy or a generator function")


def _batches(waiting: list[tuple[int, IntArray]]) -> Iterator[list[tuple[int, IntArray]]]:
    """Parts of rounds, COMMIT comparisons together at most."""
    batch: list[tuple[int, IntArray]] = []
    size = 0
    for part in waiting:
        if batch and size + len(part[1]) > COMMIT:
            yield batch
            batch, size = [], 0
        batch.append(part)
        size += len(part[1])
    if batch:
        yield batch


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
