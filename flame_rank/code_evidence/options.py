"""The options about evidence for code, for the commands that rank programs."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, get_args

from flame_rank.errors import UserError
from flame_rank.fields import described

if TYPE_CHECKING:
    from flame_rank.code_evidence.collect import Part
    from flame_rank.code_evidence.judge import EvidenceJudge
    from flame_rank.judges.base import Judge
    from flame_rank.sandbox.pool import Sandbox


@dataclass(frozen=True, kw_only=True)
class EvidenceOptions:
    """Which evidence for code is collected before the judge is asked."""

    evidence: str | None = described(
        None,
        "Run the candidates, which are programs, and rank them by these kinds of evidence, separated by commas: parse, "
        "examples (in the prompt or docstring), agreement (of results on inputs made from examples and signature), "
        "tests (--tests). A judge that compares pairs is asked about equal evidence only; ratings are added to it.",
        automatic="run nothing",
        unit="PART,PART",
    )
    tests: str = described(
        "tests",
        "The field of a problem that has the tests for --evidence tests: Python code, or a list of it.",
        unit="FIELD",
    )

    def judge(self, judge: "Judge", sandbox: "Sandbox", timeout: float) -> "EvidenceJudge":
        """Returns a judge that adds the evidence to the answers of `judge`.

        Args:
          sandbox: where programs run.
          timeout: seconds of processor time for one program.
        """
        from flame_rank.code_evidence.judge import EvidenceJudge
        from flame_rank.code_evidence.questions import read_question

        question = partial(read_question, tests_field=self.tests)
        return EvidenceJudge(judge, self.parts, sandbox, timeout=timeout, question=question)

    @property
    def parts(self) -> "tuple[Part, ...]":
        """The kinds of evidence.

        Raises:
          UserError: a kind is unknown.
        """
        from flame_rank.code_evidence.collect import Part

        known = get_args(Part)
        named = [part.strip() for part in (self.evidence or "").split(",") if part.strip()]
        if unknown := [part for part in named if part not in known]:
            raise UserError(f"--evidence {unknown[0]}: it must be a list of {', '.join(known)}, with commas between")
        return tuple(part for part in known if part in named)
