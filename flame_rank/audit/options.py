"""The option --calibration of the commands that rank."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flame_rank.fields import described

if TYPE_CHECKING:
    from flame_rank.judges.base import Judge


@dataclass(frozen=True, kw_only=True)
class CalibrationOptions:
    """The calibration of a judge by an audit."""

    calibration: Path | None = described(
        None,
        "Divide the judge's log-odds by the temperature in this file, which `flame-rank audit --calibration` writes, "
        "so that its probabilities match its accuracy on the labels of the audit.",
        automatic="no calibration",
        unit="FILE",
        exists=True,
    )

    def apply(self, judge: "Judge") -> "Judge":
        """Returns the judge with the temperature applied, and warns of the faults that the audit found.

        Raises:
          UserError: the file is damaged, or for another judge.
        """
        if self.calibration is None:
            return judge
        from flame_rank.audit.calibration import CalibratedJudge, Calibration

        known = Calibration.read(self.calibration, judge.name)
        for warning in known.warnings:
            logging.getLogger("flame_rank").warning("flame-rank: warning: %s", warning)
        return CalibratedJudge(judge, known)
