"""A judge that records its answers in a ledger itself: a member of a panel or of a cascade."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from flame_rank.judges.base import Judge
from flame_rank.ledger.store import Ledger
from flame_rank.records import Problem
from strategies.base import FloatArray, IntArray


class RecordedJudge:
    """Answers from a ledger, asks the judge for judgements that are missing there, and records the valid ones.

    Attributes:
      remembered: the number of comparisons that the ledger answered.
    """

    def __init__(self, judge: Judge, ledger: Ledger):
        self._judge, self._ledger = judge, ledger
        self.name, self.pool_aware, self.pointwise = judge.name, judge.pool_aware, judge.pointwise
        self.remembered = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._judge, name)  # what a judge may have beside: notes, verdict_mass, one_by_one

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        """Returns the log-odds [M] for each problem; NaN for a failed judgement, which is not recorded, so that it
        can be asked for again."""
        recorded = self._ledger.look_up(asked)
        answers = [np.array(known.log_odds) for known in recorded]
        missing = [np.flatnonzero(np.isnan(log_odds)) for log_odds in answers]
        self.remembered += sum(int((~np.isnan(log_odds)).sum()) for log_odds in answers)
        again = [k for k, places in enumerate(missing) if len(places)]
        if not again:
            return answers
        judged = self._judge.judge([(asked[k][0], asked[k][1][missing[k]]) for k in again])
        valid = [np.flatnonzero(~np.isnan(log_odds)) for log_odds in judged]
        pairs = [asked[k][1][missing[k]] for k in again]
        self._ledger.record(
            [(asked[k][0], own[places]) for k, own, places in zip(again, pairs, valid, strict=True)],
            [log_odds[places] for log_odds, places in zip(judged, valid, strict=True)],
            [None] * len(again),
        )
        for k, log_odds in zip(again, judged, strict=True):
            answers[k][missing[k]] = log_odds
        return answers

    def close(self) -> None:
        """Closes the ledger."""
        self._ledger.close()
