"""What a run of `flame-rank rerank` comes to, in one line for people."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from flame_rank.cli.options import Skip
    from flame_rank.io.output import Quarantine
    from flame_rank.records import Ranking


class Summary:
    """What a run came to."""

    def __init__(self) -> None:
        self.problems = self.candidates = self.comparisons = 0
        self.undecided = self.tied = self.unsure = self.invalid = self.truncated = self.remembered = 0
        self.repeated = 0
        self.names: set[int] = set()  # hashes
        self.p_best: list[float] = []

    def add(self, ranking: "Ranking") -> None:
        self.problems += 1
        self.candidates += len(ranking)
        self.comparisons += ranking.comparisons
        name = hash(ranking.problem.name)
        self.repeated += name in self.names
        self.names.add(name)
        self.undecided += not ranking.decided
        self.tied += bool(ranking.tied)
        self.unsure += ranking.unsure
        self.invalid += ranking.invalid
        self.truncated += ranking.truncated
        if ranking.decided and len(ranking) > 1:
            self.p_best.append(float(ranking.p_best[ranking.order[0]]))

    def say(self, bad: "Skip | Quarantine | None", group_by: str) -> None:
        lines = bad.count if bad else 0
        where = f" (in {bad.path})" if bad and bad.path else ""
        wrong = [
            (self.remembered, "of them from the ledger"),
            (self.undecided, "problems undecided"),
            (lines, f"bad lines left out{where}"),
            (self.repeated, f"problems with the {group_by} of an earlier one, each ranked by itself"),
            (self.invalid, "judgements invalid"),
            (self.truncated, "candidates too long and cut"),
            (self.tied, "problems tied at the top"),
            (self.unsure, "problems whose best one is hardly likelier than the others (unsure)"),
        ]
        done = f"{self.problems} problems, {self.candidates} candidates, {self.comparisons} comparisons"
        done += f" ({self.comparisons / self.problems:.1f} a problem)" if self.problems > 1 else ""
        sure = [f"P(best) {sum(self.p_best) / len(self.p_best):.2f} on average"] if self.p_best else []
        click.echo("; ".join([done, *(f"{count} {what}" for count, what in wrong if count), *sure]), err=True)
