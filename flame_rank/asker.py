"""Has rounds answered: by the ledger where it knows, by the judge where it does not."""

import threading
from collections.abc import Iterator
from typing import Any, TypeAlias, cast

import numpy as np

from flame_rank.errors import UserError
from flame_rank.judges.base import Judge
from flame_rank.judges.function import FunctionJudge
from flame_rank.ledger import Ledger
from flame_rank.tournament import Tournament
from strategies.base import FloatArray, IntArray

COMMIT = 128  # comparisons at most between two commits to a ledger

_SILENT = "the judge gave no log-odds"
_Part: TypeAlias = tuple[int, IntArray]  # a tournament, and which comparisons of its round


class Asker:
    """A judge with its ledger; the one place that asks again, and that says why a judgement failed.

    Attributes:
      remembered: comparisons that the ledger answered.
      broken: why the judge failed, as long as it has done nothing else; None once a call of it has worked.
    """

    def __init__(self, judge: Judge, ledger: Ledger | None):
        self.remembered = 0
        self.broken: str | None = None
        self._worked = False
        self._failed: set[int] = set()  # which problems, while nothing has worked
        self._judge, self._ledger = judge, ledger
        self._lock = threading.RLock()  # neither of the two is made for several threads at once; a judge may rank

    def ask(self, tournaments: list[Tournament]) -> None:
        """Has the rounds of all these answered, in one call of the judge, and advances them.

        Raises:
          UserError: the ledger cannot be written, or the judge says that the user has something to mend, or has failed
            at every call, of two problems or more.
        """
        asking = [one for one in tournaments if one.round is not None]
        if not asking:
            return
        with self._lock:
            rounds = [cast(IntArray, one.round) for one in asking]
            answers = self._remembered(asking, rounds) if self._ledger else self._judged(asking, rounds)
        if len(self._failed) > 1:
            self.check()
        for one, log_odds in zip(asking, answers, strict=True):
            one.advance(log_odds)

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

    def _remembered(self, asking: list[Tournament], rounds: list[IntArray]) -> list[FloatArray]:
        """Answers from the ledger; what it does not know is judged, and recorded batch by batch."""
        ledger = cast(Ledger, self._ledger)
        answers = [np.full(len(asked), np.nan) for asked in rounds]
        waiting: list[_Part] = []
        pairs = [(one.problem, asked) for one, asked in zip(asking, rounds, strict=True)]
        for k, known in enumerate(ledger.look_up(pairs)):
            answers[k][known.known] = known.log_odds[known.known]
            asking[k].invalid += int(np.isnan(known.log_odds[known.known]).sum())
            asking[k].reasons.update(dict.fromkeys(known.reasons))
            self.remembered += int(known.known.sum())
            left = np.flatnonzero(~known.known)
            waiting += [(k, left[i : i + COMMIT]) for i in range(0, len(left), COMMIT)]
        for batch in _batches(waiting):
            some = [asking[k] for k, _ in batch]
            asked = [rounds[k][at] for k, at in batch]
            heard = self._judged(some, asked)
            ledger.record(
                [(one.problem, pairs) for one, pairs in zip(some, asked, strict=True)],
                heard,
                [self._why(one) if np.isnan(said).any() else None for one, said in zip(some, heard, strict=True)],
            )
            for (k, at), said in zip(batch, heard, strict=True):
                answers[k][at] = said
        return answers

    def _judged(self, asking: list[Tournament], rounds: list[IntArray]) -> list[FloatArray]:
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
        if not self._worked:
            self._watch(asking, answers)
        return answers

    def _watch(self, asking: list[Tournament], answers: list[FloatArray]) -> None:
        """Notes whether the judge works at all. One that answers NaN does: it does not know."""
        for one, log_odds in zip(asking, answers, strict=True):
            own = isinstance(self._judge, FunctionJudge) and self._judge.notes(one.problem).failures
            why = next((reason for reason in (*(own or ()), *one.reasons) if reason != _SILENT), None)
            if why is None or not np.isnan(log_odds).all():
                self._worked, self.broken = True, None
                self._failed.clear()
                return
            self.broken = self.broken or why
            self._failed.add(id(one))

    def _why(self, one: Tournament) -> str:
        """Why judgements of a problem failed: the judge's own words where it has some."""
        notes: Any = getattr(self._judge, "notes", None)
        said = notes(one.problem).failures if notes else ()
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


def _batches(waiting: list[_Part]) -> Iterator[list[_Part]]:
    """Parts of rounds, COMMIT comparisons together at most."""
    batch: list[_Part] = []
    size = 0
    for part in waiting:
        if batch and size + len(part[1]) > COMMIT:
            yield batch
            batch, size = [], 0
        batch.append(part)
        size += len(part[1])
    if batch:
        yield batch
