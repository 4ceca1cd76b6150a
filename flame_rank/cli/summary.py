"""Summarises a run of `flame-rank rerank`: one line for people, or an object of counts for programs."""

from array import array
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from pathlib import Path

    from flame_rank.cli.options import Skip
    from flame_rank.io.output import Quarantine
    from flame_rank.judges.server.usage import Usage
    from flame_rank.ranking.reranker import Reranker
    from flame_rank.records import Ranking
    from strategies.consistency import Consistency


def counted(count: int, what: str) -> str:
    """Writes a count and what is counted, whose first "(s)" becomes "s" unless the count is 1."""
    return f"{count} {what.replace('(s)', '' if count == 1 else 's', 1)}"


class Count(NamedTuple):
    """What is counted for a problem.

    Attributes:
      name: its name, None if only its place in a file gives it one.
      p_best: the P(best) of the best candidate; None for a problem that is undecided or has one candidate.
      consistency: pairs, flips, triples and cycles, as `Consistency` has them.
      remembered, failed_before: the comparisons that a ledger answered, and the failures of earlier runs; counted here
        only for a worker of a cluster, whose reranker is in another process.
    """

    name: str | None
    candidates: int
    comparisons: int
    undecided: bool
    tied: bool
    unsure: bool
    invalid: int
    truncated: int
    p_best: float | None
    consistency: tuple[int, int, int, int]
    remembered: int = 0
    failed_before: int = 0

    @classmethod
    def of(cls, ranking: "Ranking", remembered: int = 0, failed_before: int = 0) -> Self:
        """Counts a ranking."""
        problem = ranking.problem
        p_best = float(ranking.p_best[ranking.order[0]]) if ranking.decided and len(ranking) > 1 else None
        return cls(
            problem.name if problem.record is None or problem.record.group is not None else None,
            len(ranking),
            ranking.comparisons,
            not ranking.decided,
            bool(ranking.tied),
            ranking.unsure,
            ranking.invalid,
            ranking.truncated,
            p_best,
            (0, 0, 0, 0) if (known := ranking.consistency) is None else known.counts,
            remembered,
            failed_before,
        )


class Summary:
    """Counts rankings by their outcome; takes a few bytes of memory per problem."""

    def __init__(self, group_by: str):
        """Args:
        group_by: the field that names a problem.
        """
        self._group_by = group_by
        self.problems = self.candidates = self.comparisons = 0
        self.undecided = self.tied = self.unsure = self.invalid = self.truncated = 0
        self.remembered = self.failed_before = self.repeated = self.bad_lines = 0
        self._bad_lines_file: Path | None = None
        self._names = array("q")  # hashes
        self._p_best, self._decided = 0.0, 0
        self._consistency = [0, 0, 0, 0]
        self._usage: Usage | None = None
        self._cost: float | None = None
        self._group = False  # whether the judge is made of others, each of which answers a comparison

    def add(self, count: Count) -> None:
        """Adds a problem."""
        self.problems += 1
        self.candidates += count.candidates
        self.comparisons += count.comparisons
        if count.name is not None:
            self._names.append(hash(count.name))
        self.undecided += count.undecided
        self.tied += count.tied
        self.unsure += count.unsure
        self.invalid += count.invalid
        self.truncated += count.truncated
        self.remembered += count.remembered
        self.failed_before += count.failed_before
        self._consistency = [total + own for total, own in zip(self._consistency, count.consistency, strict=True)]
        if count.p_best is not None:
            self._p_best += count.p_best
            self._decided += 1

    def close(self, reranker: "Reranker | None", bad: "Skip | Quarantine | None") -> None:
        """Counts what is known only at the end of a run; `reranker` is None if the workers of a cluster have ranked."""
        import numpy as np

        from flame_rank.judges.panel import members_of

        self.repeated = len(self._names) - len(np.unique(np.array(self._names)))
        if bad is not None:
            self.bad_lines, self._bad_lines_file = bad.count, bad.path
        if reranker is None:
            return
        self._group = bool(members_of(reranker.judge))
        self.remembered, self.failed_before = reranker.remembered, reranker.failed_before
        self._usage = getattr(reranker.judge, "usage", None)
        if self._usage is not None:
            self._cost = self._usage.cost(getattr(reranker.judge, "price", None))

    @property
    def mean_p_best(self) -> float | None:
        """The mean P(best) of the best candidates; None if no problem with several candidates was decided."""
        return self._p_best / self._decided if self._decided else None

    def counts(self) -> dict[str, Any]:
        """Returns the counts by name, for --json-summary."""
        return {
            "problems": self.problems,
            "candidates": self.candidates,
            "comparisons": self.comparisons,
            "from_ledger": self.remembered,
            "failed_before": self.failed_before,
            "undecided": self.undecided,
            "bad_lines": self.bad_lines,
            "repeated": self.repeated,
            "invalid": self.invalid,
            "truncated": self.truncated,
            "tied": self.tied,
            "unsure": self.unsure,
            "mean_p_best": self.mean_p_best,
            "consistency": asdict(self.consistency),
            **({"server": asdict(self._usage), "cost": self._cost} if self._usage is not None else {}),
        }

    @property
    def consistency(self) -> "Consistency":
        """How often the judge contradicted itself in all that was asked."""
        from strategies.consistency import Consistency

        return Consistency(*self._consistency)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Reasons not to trust this judge, from all judgements of the run."""
        return self.consistency.warnings

    def line(self) -> str:
        """Writes the counts for people; a kind of failure is named only if it happened."""
        file = f" (in {self._bad_lines_file})" if self._bad_lines_file else ""
        who = "answers of its judges" if self._group else "of them"
        wrong = [
            (self.remembered, f"{who} from the ledger"),
            (self.undecided, "problem(s) undecided"),
            (self.bad_lines, f"bad line(s) left out{file}"),
            (self.repeated, f"problem(s) with the {self._group_by} of an earlier one, each ranked by itself"),
            (self.invalid, "judgement(s) invalid"),
            (self.truncated, "candidate(s) too long and cut"),
            (self.tied, "problem(s) tied at the top"),
            (self.unsure, "unsure (the best candidate is hardly likelier than the others)"),
        ]
        asked = (self.problems, "problem(s)"), (self.candidates, "candidate(s)"), (self.comparisons, "comparison(s)")
        done = ", ".join(counted(count, what) for count, what in asked)
        done += f" ({self.comparisons / self.problems:.1f} a problem)" if self.problems > 1 else ""
        mean = self.mean_p_best
        sure = [] if mean is None else [f"P(best) {mean:.2f} on average"]
        server = [str(self._usage)] if self._usage is not None else []
        cost = [] if self._cost is None else [f"it cost {self._cost:.4g}"]
        return "; ".join([done, *(counted(count, what) for count, what in wrong if count), *sure, *server, *cost])
