"""Has rounds answered: by the ledger where it knows, by the judge where it does not."""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias, cast
from weakref import WeakSet

import numpy as np

from flame_rank.errors import UserError
from flame_rank.judges.base import Judge, notes
from flame_rank.ledger.store import Ledger
from flame_rank.ranking.pace import Pace
from flame_rank.ranking.tournament import Tournament
from strategies.base import FloatArray, IntArray

COMMIT = 128  # comparisons at most between two commits to a ledger
HEALTHY = 0.5  # P(A) + P(B); below, a judge mostly wants to say something else than a verdict

_SILENT = "the judge gave no log-odds"
_Part: TypeAlias = tuple[int, IntArray]  # a tournament, and which comparisons of its round

_unhealthy: WeakSet[Judge] = WeakSet()  # judges of which it has been said
# Who may ask from inside a call of a judge, be it from another thread or event loop: one at a time.
_inside: ContextVar[Mapping["JudgeRunner", threading.Lock]] = ContextVar("_inside")


class JudgeRunner:
    """A judge with its ledger; the one place that asks again, and that says why a judgement failed.

    Attributes:
      remembered: comparisons that the ledger answered.
      failed_before: how many of these are failures of earlier runs.
      broken: why the judge failed, as long as it has done nothing else; None once a call of it has worked.
    """

    def __init__(self, judge: Judge, ledger: Ledger | None):
        self.remembered = self.failed_before = 0
        self.broken: str | None = None
        self._worked = False
        self._failed: set[int] = set()  # which problems, while nothing has worked
        self._judge, self._ledger = judge, ledger
        self._pace = None if hasattr(judge, "one_by_one") else Pace(COMMIT)
        self._mass, self._weighed = 0.0, 0
        self._lock = threading.Lock()  # neither of the two is made for several threads at once
        self._process = os.getpid()

    @property
    def inside(self) -> bool:
        """Whether this is asked from inside a call of the judge, which ranks in its turn."""
        return self in _inside.get({})

    def ask(self, tournaments: list[Tournament]) -> None:
        """Has the rounds of all these answered and advances them; in one call of the judge if no ledger keeps answers.

        Raises:
          UserError: the ledger cannot be written, or the judge says that the user has something to mend, or has failed
            at every call, of two problems or more.
        """
        asking = [one for one in tournaments if one.round is not None]
        if not asking:
            return
        with self._turn():
            rounds = [cast(IntArray, one.round) for one in asking]
            answers = self._remembered(asking, rounds) if self._ledger else self._judged(asking, rounds)
        if len(self._failed) > 1:
            self.check()
        for one, (log_odds, mass) in zip(asking, answers, strict=True):
            self._weigh(one, mass)
            one.advance(log_odds)
        if self._mass < HEALTHY * self._weighed:
            self._warn()

    def check(self) -> None:
        """Raises:
        UserError: the judge has failed at every call.
        """
        if self.broken is not None:
            raise UserError(f"the judge {self._judge.name} fails at every call: {self.broken}")

    def reasons(self, one: Tournament, failures: tuple[str, ...]) -> tuple[str, ...]:
        """Why judgements of a tournament were left out, with what its judge noted."""
        reasons = dict.fromkeys([*failures, *one.reasons]) if one.invalid else {}
        if len(reasons) > 1:  # a judge that says why need not be told that it said nothing
            reasons.pop(_SILENT, None)
        return tuple(reasons)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Waits until nobody else asks; from inside a call, nobody else who is inside it, too.

        Raises:
          UserError: this is a fork of the process that opened the ledger, or that was asking.
        """
        if os.getpid() != self._process and (self._ledger is not None or self._lock.locked()):
            raise UserError(
                f"this Reranker belongs to process {self._process}, of which this is a fork; make one after the fork"
            )
        outer = _inside.get({})
        with outer.get(self, self._lock):
            token = _inside.set({**outer, self: threading.Lock()})
            try:
                yield
            finally:
                _inside.reset(token)

    def _weigh(self, one: Tournament, mass: FloatArray) -> None:
        known = mass[~np.isnan(mass)]
        one.mass, one.weighed = one.mass + float(known.sum()), one.weighed + len(known)
        self._mass, self._weighed = self._mass + float(known.sum()), self._weighed + len(known)

    def _warn(self) -> None:
        """Says of a judge, once, that it does not answer with verdicts."""
        if self._judge not in _unhealthy:
            _unhealthy.add(self._judge)
            logging.getLogger("flame_rank").warning(
                "flame-rank: warning: A and B have %.2g of the judge's probability; it does not follow the prompt, and "
                "its ranking says little (another --template, or a model tuned on instructions?)",
                self._mass / self._weighed,
            )

    def _remembered(self, asking: list[Tournament], rounds: list[IntArray]) -> list[FloatArray]:
        """What `_judged` gives, from the ledger; what it does not know is judged, and recorded call by call."""
        ledger = cast(Ledger, self._ledger)
        answers = [np.full((2, len(asked)), np.nan) for asked in rounds]
        waiting: deque[_Part] = deque()
        pairs = [(one.problem, asked) for one, asked in zip(asking, rounds, strict=True)]
        for k, known in enumerate(ledger.look_up(pairs)):
            answers[k][:, known.known] = known.log_odds[known.known], known.mass[known.known]
            asking[k].invalid += int(np.isnan(known.log_odds[known.known]).sum())
            asking[k].reasons.update(dict.fromkeys(known.reasons))
            self.remembered += int(known.known.sum())
            self.failed_before += known.failed_before
            waiting.append((k, np.flatnonzero(~known.known)))
        pace = self._pace
        while batch := _next_batch(waiting, pace.size if pace else COMMIT, whole=not pace):
            some = [asking[k] for k, _ in batch]
            asked = [rounds[k][at] for k, at in batch]
            start = time.perf_counter()
            heard = self._judged(some, asked)
            if pace:
                pace.took(sum(map(len, asked)), time.perf_counter() - start)
            log_odds, mass = [said[0] for said in heard], [said[1] for said in heard]
            ledger.record(
                [(one.problem, pairs) for one, pairs in zip(some, asked, strict=True)],
                log_odds,
                [self._why(one) if np.isnan(said).any() else None for one, said in zip(some, log_odds, strict=True)],
                mass,
            )
            for (k, at), said in zip(batch, heard, strict=True):
                answers[k][:, at] = said
        return answers

    def _judged(self, asking: list[Tournament], rounds: list[IntArray]) -> list[FloatArray]:
        """The judge's log-odds and P(A) + P(B), [2, M] for each; what failed is asked once more, then left out."""
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
        weigh: Any = getattr(self._judge, "verdict_mass", lambda problem, pairs: np.full(len(pairs), np.nan))
        masses = [weigh(one.problem, asked) for one, asked in zip(asking, rounds, strict=True)]
        return [np.stack(both) for both in zip(answers, masses, strict=True)]

    def _watch(self, asking: list[Tournament], answers: list[FloatArray]) -> None:
        """Notes whether the judge works at all. One that answers NaN does: it does not know."""
        for one, log_odds in zip(asking, answers, strict=True):
            noted = notes(self._judge, one.problem)
            own = noted.failures if noted.broken else ()
            why = next((reason for reason in (*own, *one.reasons) if reason != _SILENT), None)
            if why is None or not np.isnan(log_odds).all():
                self._worked, self.broken = True, None
                self._failed.clear()
                return
            self.broken = self.broken or why
            self._failed.add(id(one))

    def _why(self, one: Tournament) -> str:
        """Why judgements of a problem failed: the judge's own words where it has some."""
        said = notes(self._judge, one.problem).failures
        return next((reason for reason in (*said, *one.reasons) if reason != _SILENT), _SILENT)

    def _answers(self, asking: list[Tournament], rounds: list[IntArray]) -> list[FloatArray]:
        """One call of the judge, or one for each problem where that call raised; NaN for what raises again."""
        try:
            return self._call(asking, rounds)
        except UserError:  # for the user to mend: to ask again is of no use
            raise
        except SystemExit as error:
            raise UserError(
                f"the judge {self._judge.name} ends the program ({error!r}); let it raise instead"
            ) from error
        except Exception as error:
            if len(asking) == 1:
                asking[0].reasons[f"{type(error).__name__}: {error}"[:300]] = None
                return [np.full(len(rounds[0]), np.nan)]
        return [self._answers([one], [asked])[0] for one, asked in zip(asking, rounds, strict=True)]

    def _call(self, asking: list[Tournament], rounds: list[IntArray]) -> list[FloatArray]:
        answers = self._judge.judge([(one.problem, asked) for one, asked in zip(asking, rounds, strict=True)])
        answers = [np.array(log_odds, np.float64) for log_odds in answers]
        shapes, wanted = [a.shape for a in answers], [(len(asked),) for asked in rounds]
        if shapes != wanted:
            raise ValueError(f"judge {self._judge.name} returned shapes {shapes} where {wanted} were asked")
        return answers


def _next_batch(waiting: deque[_Part], most: int, *, whole: bool) -> list[_Part]:
    """Takes parts of rounds from the front, `most` comparisons at most; if `whole`, what has no more is not cut."""
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
