"""Answers rounds of comparisons: from the ledger if it holds a judgement, otherwise by the judge."""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, TypeAlias, cast
from weakref import WeakSet

import numpy as np

from flame_rank.errors import UserError, encodable
from flame_rank.judges.base import Judge, notes
from flame_rank.ledger.store import Ledger
from flame_rank.ranking.admission import QUICK
from flame_rank.ranking.pace import Pace
from flame_rank.ranking.tournament import Tournament
from flame_rank.records import Problem
from strategies.base import FloatArray, IntArray

COMMIT = 128  # comparisons at most between two commits to a ledger
HEALTHY = 0.5  # of P(A) + P(B): below it, a model mostly wants to write something else than a verdict

_SILENT = "the judge gave no log-odds"
_Answer: TypeAlias = tuple[FloatArray, FloatArray | None]  # log-odds [M], and P(A) + P(B) [M] of a language model
_Part: TypeAlias = tuple[int, IntArray]  # a tournament's index, and the indices of comparisons of its round

_warned_of: WeakSet[Judge] = WeakSet()
# Locks for whoever asks from inside a call of a judge, from another thread or event loop perhaps: one at a time.
_inside: ContextVar[Mapping["JudgeRunner", threading.Lock]] = ContextVar("_inside")


class JudgeRunner:
    """Asks a judge, with its ledger. Only this class asks failed comparisons again, and explains why a judgement
    failed.

    Attributes:
      remembered: the number of comparisons that the ledger answered.
      failed_before: how many of them are failures of earlier runs.
      broken: why the judge fails, while every call has failed; None once a call has worked.
    """

    def __init__(self, judge: Judge, ledger: Ledger | None):
        self.remembered = self.failed_before = 0
        self.broken: str | None = None
        self._worked = False
        self._failed: set[int] = set()  # ids of the problems that failed, as long as every call has failed
        self._judge, self._ledger = judge, ledger
        self._pace = None if hasattr(judge, "one_by_one") else Pace(COMMIT)
        self._one_by_one = getattr(judge, "one_by_one", False)
        self._at_once: Callable[[Problem], bool] = getattr(judge, "at_once", _never) if ledger is None else _never
        self._mass, self._weighed = 0.0, 0
        self._lock = threading.Lock()  # neither judge nor ledger is made for several threads at once
        self._process = os.getpid()

    @property
    def inside(self) -> bool:
        """Whether the caller is inside a call of this judge, as happens if the judge itself calls `rank`."""
        return self in _inside.get({})

    def ask(self, tournaments: list[Tournament]) -> None:
        """Gets the rounds of these tournaments answered, and advances the tournaments.

        Without a ledger the judge is called once: about the problems for which it has `at_once`, while the others are
        left to the next call; about all problems if there are none of these. With a ledger each call has as many
        comparisons as one commit. A judge that is called for each problem separately is asked about one problem at a
        time until the problem is done; after QUICK seconds, the rest is left to the next call.

        Raises:
          UserError: the ledger cannot be written, the judge reports a user's mistake, or it has failed at every call
            for two problems or more.
        """
        asking = [tournament for tournament in tournaments if tournament.round is not None]
        if not asking:
            return
        with self._turn():
            if not self._one_by_one:
                self._ask([t for t in asking if self._at_once(t.problem)] or asking)
                return
            deadline = time.monotonic() + QUICK
            with nullcontext() if self._ledger is None else self._ledger.together():
                for tournament in asking:
                    while tournament.round is not None:
                        self._ask([tournament])
                        if time.monotonic() > deadline:
                            return

    def _ask(self, asking: list[Tournament]) -> None:
        rounds = [cast(IntArray, tournament.round) for tournament in asking]
        answers = self._remembered(asking, rounds) if self._ledger else self._judged(asking, rounds)
        if len(self._failed) > 1:
            self.check()
        for tournament, (log_odds, mass) in zip(asking, answers, strict=True):
            if mass is not None:
                self._weigh(tournament, mass)
            tournament.advance(log_odds)
        if self._mass < HEALTHY * self._weighed:
            self._warn()

    def check(self) -> None:
        """Raises UserError if the judge has failed at every call."""
        if self.broken is not None:
            raise UserError(f"the judge {self._judge.name} fails at every call: {self.broken}")

    def reasons(self, tournament: Tournament, failures: tuple[str, ...]) -> tuple[str, ...]:
        """Lists why judgements of a tournament were left out, beginning with the failures that its judge noted."""
        reasons = dict.fromkeys(map(encodable, [*failures, *tournament.reasons])) if tournament.invalid else {}
        if len(reasons) > 1:  # the judge has given a reason of its own
            reasons.pop(_SILENT, None)
        return tuple(reasons)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Waits until no other caller asks the judge or, inside a call of the judge, until no other caller inside that
        call does.

        Raises:
          UserError: this process is a fork of the one that opened the ledger or was asking.
        """
        if os.getpid() != self._process and (self._ledger is not None or self._lock.locked()):
            raise UserError(
                f"process {self._process} made this Reranker, and this process is a fork of it; make one after the fork"
            )
        outer = _inside.get({})
        with outer.get(self, self._lock):
            token = _inside.set({**outer, self: threading.Lock()})
            try:
                yield
            finally:
                _inside.reset(token)

    def _weigh(self, tournament: Tournament, mass: FloatArray) -> None:
        """Adds P(A) + P(B) [M] to the sums of a tournament and of the run."""
        known = mass[~np.isnan(mass)]
        if not len(known):
            return
        total, count = float(known.sum()), len(known)
        tournament.mass, tournament.weighed = tournament.mass + total, tournament.weighed + count
        self._mass, self._weighed = self._mass + total, self._weighed + count

    def _warn(self) -> None:
        """Warns, once for each judge, that it does not answer with verdicts."""
        if self._judge not in _warned_of:
            _warned_of.add(self._judge)
            logging.getLogger("flame_rank").warning(
                "flame-rank: warning: A and B have %.2g of the judge's probability; it does not follow the prompt, and "
                "its ranking says little (another --template, or a model tuned on instructions?)",
                self._mass / self._weighed,
            )

    def _remembered(self, asking: list[Tournament], rounds: list[IntArray]) -> list[_Answer]:
        """Returns the same as `_judged`, from the ledger; the judge is asked for the rest, which is recorded call by
        call."""
        ledger = cast(Ledger, self._ledger)
        answers = [np.full((2, len(asked)), np.nan) for asked in rounds]
        waiting: deque[_Part] = deque()
        pairs = [(tournament.problem, asked) for tournament, asked in zip(asking, rounds, strict=True)]
        for k, known in enumerate(ledger.look_up(pairs)):
            answers[k][:, known.known] = known.log_odds[known.known], known.mass[known.known]
            asking[k].invalid += int(np.isnan(known.log_odds[known.known]).sum())
            asking[k].reasons.update(dict.fromkeys(known.reasons))
            self.remembered += int(known.known.sum())
            self.failed_before += known.failed_before
            waiting.append((k, np.flatnonzero(~known.known)))
        pace = self._pace
        while batch := _next_batch(waiting, pace.size if pace else COMMIT, whole=not pace):
            batched = [asking[k] for k, _ in batch]
            asked = [rounds[k][at] for k, at in batch]
            start = time.perf_counter()
            judged = self._judged(batched, asked)
            if pace:
                pace.took(sum(map(len, asked)), time.perf_counter() - start)
            ledger.record(
                [(tournament.problem, pairs) for tournament, pairs in zip(batched, asked, strict=True)],
                [log_odds for log_odds, _ in judged],
                [
                    self._why(t) if np.isnan(log_odds).any() else None
                    for t, (log_odds, _) in zip(batched, judged, strict=True)
                ],
                [np.full(len(log_odds), np.nan) if mass is None else mass for log_odds, mass in judged],
            )
            for (k, at), (log_odds, mass) in zip(batch, judged, strict=True):
                answers[k][0, at] = log_odds
                answers[k][1, at] = np.nan if mass is None else mass
        return [(log_odds, mass) for log_odds, mass in answers]

    def _judged(self, asking: list[Tournament], rounds: list[IntArray]) -> list[_Answer]:
        """Returns the judge's answers to each tournament.

        A comparison that failed is asked once more; if it fails again it is left out, as NaN.
        """
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
        if not self._worked:
            self._watch(asking, answers)
        weigh: Any = getattr(self._judge, "verdict_mass", None)
        if weigh is None:
            return [(log_odds, None) for log_odds in answers]
        return [
            (log_odds, weigh(tournament.problem, asked))
            for tournament, asked, log_odds in zip(asking, rounds, answers, strict=True)
        ]

    def _watch(self, asking: list[Tournament], answers: list[FloatArray]) -> None:
        """Notes whether the judge works at all. An answer of NaN counts as working: the judge says that it does not
        know."""
        for tournament, log_odds in zip(asking, answers, strict=True):
            noted = notes(self._judge, tournament.problem)
            own = noted.failures if noted.broken else ()
            why = next((reason for reason in (*own, *tournament.reasons) if reason != _SILENT), None)
            if why is None or not np.isnan(log_odds).all():
                self._worked, self.broken = True, None
                self._failed.clear()
                return
            self.broken = self.broken or why
            self._failed.add(id(tournament))

    def _why(self, tournament: Tournament) -> str:
        """Returns why judgements of a problem failed, in the judge's own words if it has any."""
        failures = notes(self._judge, tournament.problem).failures
        return next((reason for reason in (*failures, *tournament.reasons) if reason != _SILENT), _SILENT)

    def _answers(self, asking: list[Tournament], rounds: list[IntArray]) -> list[FloatArray]:
        """Calls the judge once; if that raises an error, calls it for each problem, with NaN for a problem that
        raises again."""
        try:
            return self._call(asking, rounds)
        except UserError:  # a mistake of the user's, which asking again does not mend
            raise
        except SystemExit as error:
            raise UserError(
                f"the judge {self._judge.name} ends the program ({error!r}); let it raise an error instead"
            ) from error
        except Exception as error:
            if len(asking) == 1:
                asking[0].reasons[f"{type(error).__name__}: {error}"[:300]] = None
                return [np.full(len(rounds[0]), np.nan)]
        return [self._answers([tournament], [asked])[0] for tournament, asked in zip(asking, rounds, strict=True)]

    def _call(self, asking: list[Tournament], rounds: list[IntArray]) -> list[FloatArray]:
        answers = self._judge.judge([(t.problem, asked) for t, asked in zip(asking, rounds, strict=True)])
        answers = [np.array(log_odds, np.float64) for log_odds in answers]
        shapes, wanted = [log_odds.shape for log_odds in answers], [(len(asked),) for asked in rounds]
        if shapes != wanted:
            raise ValueError(f"judge {self._judge.name} returned shapes {shapes}; {wanted} were asked for")
        return answers


def _never(problem: Problem) -> bool:
    return False


def _next_batch(waiting: deque[_Part], most: int, *, whole: bool) -> list[_Part]:
    """Takes the next parts of rounds, `most` comparisons at most; if `whole`, a part that fits is not split."""
    batch: list[_Part] = []
    room = most
    while waiting and room:
        k, left = waiting[0]
        if whole and batch and min(len(left), most) > room:
            break
        waiting.popleft()
        if len(left) > room:
            waiting.appendleft((k, left[room:]))
        if len(left):
            batch.append((k, left[:room]))
            room -= len(left[:room])
    return batch
