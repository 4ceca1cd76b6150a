"""Ranks many problems together: takes a round from each schedule, packs the rounds of all open problems into one call
of the judge, and sends the answers back to the schedules.
"""

import asyncio
import math
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias, cast

import strategies
from flame_rank.candidates.answers import Extract, pattern
from flame_rank.errors import UserError
from flame_rank.fields import documented
from flame_rank.judges.base import Judge, notes
from flame_rank.judges.function import FunctionJudge, PairFunction
from flame_rank.judges.panel import JudgeGroup, PanelJudge, members_of, refuse_unnamed
from flame_rank.judges.within import innermost
from flame_rank.ledger.recorded import RecordedJudge
from flame_rank.ledger.store import Ledger
from flame_rank.messages import Messages, is_messages
from flame_rank.ranking.admission import QUICK, TOGETHER, has_room
from flame_rank.ranking.async_batcher import AsyncBatcher, no_stop, stream
from flame_rank.ranking.dedupe import How, distinct, options
from flame_rank.ranking.judge_runner import JudgeRunner
from flame_rank.ranking.options import RankingOptions
from flame_rank.ranking.tournament import FunctionStrategy, ScheduleFunction, Tournament, settle
from flame_rank.records import Candidate, Problem, Ranking
from strategies.base import IntArray, Order, Strategy, TooMany

_PAIRWISE = "active"  # all but 1 to 3 in 100 of round-robin's right picks, for a quarter of its comparisons (README)


Given: TypeAlias = Problem | Mapping[str, Any]
Candidates: TypeAlias = Sequence[str | Candidate | Mapping[str, Any] | Messages]


class Reranker:
    """Ranks problems with one judge and one strategy."""

    @documented(RankingOptions)
    def __init__(
        self,
        judge: Judge | PairFunction | str | Path | None = None,
        strategy: str | Strategy | ScheduleFunction | None = None,
        *,
        order: Order | None = None,
        budget: int | None = None,
        top: int | None = None,
        confidence: float | None = None,
        dedupe: How = "exact",
        ledger: str | Path | None = None,
        retry_invalid: bool = False,
        ordered: bool = True,
        seed: int = 0,
        batch: int = 128,
        keep_judgements: bool = False,
        explain: bool = False,
        extract: str | Extract | None = None,
    ):
        """Args:
          judge: a judge, a function f(prompt, pairs) -> log-odds, what `--judge` takes, or None for the default judge.
          {options}

        In Python, `strategy` may also be a strategy object or a generator function (n, rng), and `extract` a function
        from a text to its final answer, or None. A judge that rates each candidate by itself is asked once per
        candidate, whatever the strategy: more comparisons would add nothing.

        Raises:
          ValueError: no strategy has this name, `extract` is not a regular expression, or `batch` is less than 1.
          TypeError: `judge` or `strategy` has another type, or the strategy does not take one of the options.
          UserError: the judge cannot give explanations, has no name for a ledger, or the ledger cannot be used.
        """
        self.judge = _judge(judge)
        if explain and not hasattr(self.judge, "explain"):
            raise UserError(
                f"the judge {self.judge.name} cannot give explanations; they need a language model as the judge"
            )
        self.explain, self.keep_judgements = explain, keep_judgements
        options = {"order": order, "budget": budget, "top": top, "confidence": confidence}
        given = {name: value for name, value in options.items() if value is not None}
        self._strategy = _strategy(strategy, self.judge.pointwise, given)
        self.strategy = self._strategy.name
        if batch < 1:
            raise ValueError(f"batch is {batch!r}; it must be a whole number, 1 or more")
        self._one_by_one = getattr(self.judge, "one_by_one", False)
        self.batch, self._window = TOGETHER if self._one_by_one else batch, batch
        self.seed, self.ordered = seed, ordered
        distinct(Problem(prompt="", candidates=[""]), dedupe)  # raises for an unknown value
        self.dedupe: How = dedupe
        self._extract = pattern(extract) if isinstance(extract, str) else extract
        if retry_invalid and ledger is None:
            raise UserError(
                "retry_invalid (--retry-invalid) repeats failed comparisons of a ledger; name the ledger, too"
            )
        opened = self._open(Path(ledger), retry_invalid) if ledger is not None else None
        self._runner = JudgeRunner(self.judge, opened)
        self._batchers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncBatcher] = weakref.WeakKeyDictionary()

    def _open(self, path: Path, retry_invalid: bool) -> Ledger | None:
        """Opens the ledger of the judge. A judge that is made of others has none: its members record their own answers.

        Raises:
          UserError: the ledger cannot be used, or a judge has no name for it.
        """
        refuse_unnamed(self.judge, str(path))
        if not isinstance(self.judge, JudgeGroup):
            if not getattr(self.judge, "recorded", True):
                return None
            ledger = Ledger(path, self.judge, retry_invalid=retry_invalid)
            weakref.finalize(self, ledger.close)
            return ledger
        self.judge = self._recording(self.judge, path)
        return None

    def _recording(self, judge: Judge, path: Path) -> Judge:
        """Returns a judge with members, and members of members, that record their answers."""
        if isinstance(judge, JudgeGroup):
            return judge.with_members([self._recording(member, path) for member in judge.members])
        if not getattr(judge, "recorded", True):
            return judge
        recorded = RecordedJudge(judge, Ledger(path, judge, retry_invalid=True))  # it asks for failures again
        weakref.finalize(self, recorded.close)
        return recorded

    def rank(self, prompt: str | Messages | Given, candidates: Candidates | None = None) -> Ranking:
        """Ranks one problem, given as a prompt and its candidates or as a Problem.

        Raises:
          UserError: the user has a mistake to correct; for example, the judge fails at every call.
        """
        ranking = next(self.rank_many([_problem(prompt, candidates)]))
        self._runner.check()
        return ranking

    def rank_many(self, problems: Iterable[Given]) -> Iterator[Ranking]:
        """Yields the rankings of problems during the run, in their order (`ordered=False`: each as soon as it is
        done); memory holds only the problems that are open.

        Args:
          problems: problems, or mappings with "prompt" and "candidates". An error that this iterator raises is raised
            after the rankings of the problems before it.

        Raises:
          UserError: a problem has too many candidates for the strategy, or the judge has failed at every call.
        """
        source = iter(problems)
        failed, failure = False, cast(BaseException | None, None)
        ready: Any = getattr(problems, "ready", None)  # of problems that come through a pipe
        live, opened = True, deque[Tournament]()
        while live or opened:
            pending = sum(tournament.pending for tournament in opened)
            deadline = time.monotonic() + QUICK if self._one_by_one else math.inf
            while live and has_room(len(opened), pending, self.batch):
                if opened and ((ready is not None and not ready()) or time.monotonic() > deadline):
                    break  # the problems that are here are judged now, without waiting for others
                try:
                    given = next(source)
                except StopIteration:
                    live = False
                    break
                except Exception as error:
                    live, failure = False, error
                    break
                try:
                    opened.append(self._start(given))
                    pending += opened[-1].pending
                except Exception as error:
                    live, failure = False, no_stop(error)
            try:
                self._runner.ask(list(opened))
            except BaseException as error:  # raised after the rankings of the problems that are done
                failed, failure = True, error
            done = []
            if self.ordered:
                while opened and opened[0].round is None:
                    done.append(opened.popleft())
            else:
                done = [tournament for tournament in opened if tournament.round is None]
                opened = deque(tournament for tournament in opened if tournament.round is not None)
            yield from self._rankings(done)
            if failed:
                break
        if failure is not None:
            raise failure
        self._runner.check()

    async def arank(self, prompt: str | Messages | Given, candidates: Candidates | None = None) -> Ranking:
        """Ranks one problem as `rank` does, for asyncio.

        Calls that wait in the same event loop share the judge's batches, which run in a separate thread.
        """
        if self._runner.inside:  # a call of the judge, for which the other problems wait
            batcher = self._batcher()
        else:  # one for each loop: a future does not wake a loop in another thread
            batcher = self._batchers.setdefault(asyncio.get_running_loop(), self._batcher())
        ranking = await batcher.rank(_problem(prompt, candidates))
        self._runner.check()
        return ranking

    async def arank_many(self, problems: Iterable[Given] | AsyncIterable[Given]) -> AsyncIterator[Ranking]:
        """Yields the rankings of problems as `rank_many` does, for asyncio.

        Args:
          problems: a plain iterable is read and judged in a thread, step by step, as rankings are requested. The
            problems of an asynchronous iterable are judged as they arrive, together with those that wait; at most
            `batch` of them are open.
        """
        if isinstance(problems, AsyncIterable):
            async for ranking in stream(problems, self.arank, self._window, ordered=self.ordered):
                yield ranking
            return
        rankings = self.rank_many(problems)
        while (ranked := await asyncio.to_thread(next, rankings, None)) is not None:
            yield ranked

    def __reduce__(self) -> Any:
        raise TypeError("a Reranker holds a judge, and cannot be pickled; make one in each process")

    def _start(self, given: Given) -> Tournament:
        problem = Problem.of(given)
        try:
            return Tournament.start(
                problem,
                self._strategy,
                self.dedupe,
                self.seed,
                self._extract,
                keep=self.keep_judgements,
                name=getattr(self.judge, "options", None),
            )
        except TooMany as error:
            raise UserError(f"{problem.name}: {error}" if problem.name else str(error)) from error

    def _batcher(self) -> AsyncBatcher:
        return AsyncBatcher(self._start, self._runner.ask, self._rankings, self.batch)

    @property
    def remembered(self) -> int:
        """The number of comparisons that the ledger answered."""
        own = sum(getattr(member, "remembered", 0) for member in members_of(self.judge))
        return self._runner.remembered + own

    @property
    def failed_before(self) -> int:
        """The number of comparisons that the ledger answered with a failure of an earlier run; `retry_invalid` asks for
        these again.
        """
        return self._runner.failed_before

    def _rankings(self, done: list[Tournament]) -> list[Ranking]:
        """Makes the rankings of problems that are done, with the judge's explanations if they are requested."""
        settle(done, self._strategy)
        rankings = [self._ranking(tournament) for tournament in done]
        if self.explain:
            judge: Any = self.judge
            two = {k: pair for k, ranking in enumerate(rankings) if (pair := _best_two(ranking, done[k].cluster))}
            pairs = {k: pair for k, pair in two.items() if rankings[k].decided}
            explanations = judge.explain([(done[k].problem, *pair) for k, pair in pairs.items()])
            for k, explanation in zip(pairs, explanations, strict=True):
                rankings[k] = replace(rankings[k], explanation=explanation)
        return rankings

    def _ranking(self, tournament: Tournament) -> Ranking:
        noted, panel = notes(self.judge, tournament.problem), innermost(self.judge)
        return Ranking(
            problem=tournament.given,
            standing=tournament.result,
            comparisons=tournament.comparisons,
            strategy=self.strategy,
            judge=self.judge.name,
            invalid=tournament.invalid,
            reasons=self._runner.reasons(tournament, noted.failures),
            truncated=noted.truncated,
            verdict_mass=tournament.verdict_mass,
            option=options(tournament.problem, tournament.cluster),
            judgements=tournament.judgements,
            consistency=tournament.consistency,
            by_judge=panel.scores(tournament.problem) if isinstance(panel, PanelJudge) else None,
        )


def rerank(
    prompt: str | Messages,
    candidates: Candidates,
    *,
    judge: Judge | PairFunction | str | Path | None = None,
    strategy: str | Strategy | ScheduleFunction | None = None,
    **options: Any,
) -> Ranking:
    """Ranks the candidates for a prompt, best first.

    A judge that is given by name is loaded at the first call in a thread, and kept until that thread names another one.

    Args:
      prompt: what the candidates answer: a text, or chat messages.
      candidates: texts, Candidates or chat messages.
      judge, strategy: as in `Reranker`.
      options: the other keywords of `Reranker`.
    """
    if judge is None or isinstance(judge, str | Path):
        judge = _KEPT.named(judge)
    return Reranker(judge, strategy, **options).rank(prompt, candidates)


class _Kept(threading.local):
    """Keeps the judge that each thread named last, because a judge may not be used by several threads at once."""

    name: tuple[str | Path, str | None] | None = None  # the judge's, and that of the model in the environment
    judge: Judge

    def named(self, name: str | Path | None) -> Judge:
        from flame_rank.judges.model_location import VARIABLE

        wanted = (name or "default", os.environ.get(VARIABLE))
        if self.name != wanted:
            self.judge, self.name = _judge(name), wanted
        return self.judge


_KEPT = _Kept()


def _problem(prompt: str | Messages | Given, candidates: Candidates | None) -> Problem:
    if candidates is not None:
        return Problem(prompt=cast(str, prompt), candidates=cast(Sequence[str], candidates))
    if isinstance(prompt, str) or is_messages(prompt):
        raise TypeError("rank takes a Problem, or a prompt and its candidates")
    return Problem.of(cast(Given, prompt))


def _judge(judge: Judge | PairFunction | str | Path | None) -> Judge:
    if judge is None or isinstance(judge, str | Path):
        from flame_rank.judges import load

        return load(judge or "default")
    if isinstance(judge, Judge):
        return judge
    if callable(judge):
        return FunctionJudge(judge)
    raise TypeError(f"judge is a {type(judge).__name__}, not a judge, its name or a function f(prompt, pairs)")


def _strategy(strategy: str | Strategy | ScheduleFunction | None, pointwise: bool, options: dict[str, Any]) -> Strategy:
    if strategy is None or isinstance(strategy, str):
        name = strategy or _PAIRWISE
        if "confidence" in options and name != "active":
            raise ValueError(f"confidence is an option of the strategy 'active', not of {name!r}")
        named: Strategy | ScheduleFunction = strategies.by_name(name, **options)
    elif options:
        raise TypeError(
            f"{', '.join(options)} are options for a strategy that is given by name; set them in the strategy object"
        )
    else:
        named = strategy
    if isinstance(named, Strategy):
        if pointwise and named.name in strategies.NAMES:
            return strategies.by_name("pointwise", budget=getattr(named, "budget", None), top=getattr(named, "top", 1))
        return named
    if callable(named):
        return FunctionStrategy(getattr(named, "__name__", type(named).__name__), named)
    raise TypeError(f"strategy is a {type(named).__name__}, not a name, a strategy or a generator function")


def _best_two(ranking: Ranking, cluster: IntArray) -> tuple[int, int] | None:
    """Returns the best candidate and the best of those that are not equal to it; None if all are equal."""
    best, *others = ranking.order
    second = next((i for i in others if cluster[i] != cluster[best]), None)
    return None if second is None else (best, second)
