"""Collects warnings about a judge from the judgements of a run: the part of an audit that needs no further
judgements."""

import numpy as np

from flame_rank.audit.probes import SATURATED, VERDICTS, warning_of
from flame_rank.records import Ranking
from strategies.consistency import Consistency


class RunAudit:
    """Counts, over the problems of a run, what an audit warns of."""

    def __init__(self) -> None:
        self._consistency = Consistency()
        self._judgements = self._invalid = self._saturated = self._read = 0
        self._mass = 0.0

    def add(self, ranking: Ranking) -> None:
        """Adds a problem; if its judgements were not kept, invalid and saturated ones are not counted."""
        if ranking.consistency is not None:
            self._consistency += ranking.consistency
        if ranking.verdict_mass is not None:
            self._mass, self._read = self._mass + ranking.verdict_mass, self._read + 1
        if ranking.judgements is not None:
            log_odds = ranking.judgements.log_odds
            self._judgements += len(log_odds)
            self._invalid += int(np.isnan(log_odds).sum())
            self._saturated += int((np.abs(log_odds) > SATURATED).sum())

    def warnings(self) -> list[str]:
        """Returns warnings about the rankings, each with its share."""
        shares = {
            "judgements that are invalid": (self._invalid, self._judgements),
            "judgements over 1000 to 1": (self._saturated, self._judgements),
            VERDICTS: (self._mass, self._read),
        }
        found = [warning_of(name, part / whole) for name, (part, whole) in shares.items() if whole]
        return [*self._consistency.warnings, *(warning for warning in found if warning is not None)]
