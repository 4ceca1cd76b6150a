"""`flame-rank replay`: rankings from a ledger alone, without a judge."""

from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import click

import strategies
from flame_rank.cli.options import ANSWER, read_pattern, say_failed_before
from flame_rank.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flame_rank.judges.base import Notes
    from flame_rank.records import Problem
    from strategies.base import FloatArray, IntArray

MISSING = "not in the ledger"


class ReplayJudge:
    """Says what a judge has said before, and nothing else.

    Attributes:
      missing: comparisons that the ledger does not know.
    """

    def __init__(self, path: Path, name: str, *, pool_aware: bool):
        from flame_rank.ledger.store import Ledger

        self.name, self.pool_aware = name, pool_aware
        self.pointwise = pool_aware  # as the one that ships, which alone looks at the pool
        self.missing = 0
        self._ledger = Ledger(path, self, read_only=True)
        self._failures: WeakKeyDictionary[Problem, dict[str, None]] = WeakKeyDictionary()

    def judge(self, asked: "Sequence[tuple[Problem, IntArray]]") -> "list[FloatArray]":
        """Log-odds [M] for each problem; NaN for what is missing and for what was invalid."""
        answers = []
        for (problem, _), known in zip(asked, self._ledger.look_up(asked), strict=True):
            reasons = dict.fromkeys(known.reasons)
            if not known.known.all():
                reasons[MISSING] = None
                self.missing += int((~known.known).sum())
            self._failures.setdefault(problem, {}).update(reasons)
            answers.append(known.log_odds)
        return answers

    def notes(self, problem: "Problem") -> "Notes":
        """Why judgements of this problem are left out."""
        from flame_rank.judges.base import Notes

        return Notes(failures=tuple(self._failures.get(problem, ())))

    def verdict_mass(self, problem: "Problem", pairs: "IntArray") -> "FloatArray":
        """P(A) + P(B) [M] as it was recorded; NaN where it was not."""
        [known] = self._ledger.look_up([(problem, pairs)])
        return known.mass

    def close(self) -> None:
        """Closes the ledger."""
        self._ledger.close()


@click.command()
@click.argument("file", default="-", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option(
    "--ledger", "path", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE"
)
@click.option("--judge", metavar="NAME", help="Whose judgements; needed where the ledger holds several judges'.")
@click.option("--strategy", type=click.Choice(strategies.NAMES), help="Which pairs to look up.")
@click.option("--order", type=click.Choice(["both", "random", "fixed"]), help="In which order a pair is asked.")
@click.option("--budget", type=click.IntRange(min=1), metavar="N", help="Comparisons of one problem at most.")
@ANSWER
@click.option("--top", type=click.IntRange(min=1), metavar="K", help="As in rerank.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the strategy's coins.")
@click.option("-o", "--output", metavar="FILE", help="Write here instead of to standard output.")
def replay(
    file: str, path: Path, judge: str | None, output: str | None, answer: str | None, top: int | None, **options: Any
) -> int:
    """Rank FILE by the judgements in a ledger, without a judge, and say what is missing there.

    Exit status: 0 all there; 1 judgements are missing or a problem is undecided; 2 a mistake in what was given.
    """
    from flame_rank.io.jsonl import read_problems
    from flame_rank.io.output import Output, to_lines
    from flame_rank.io.paths import parts, refuse_same, with_log
    from flame_rank.ranking.reranker import Reranker

    refuse_same({"the input": file, **with_log(path)}, parts(output))
    extract = read_pattern(answer)
    voice = _judge(path, judge)
    problems = lacking = undecided = invalid = 0
    try:
        with Output(output) as out:
            for ranking in Reranker(voice, top=top, extract=extract, **options).rank_many(read_problems(file)):
                out.write(to_lines(ranking, top))
                problems += 1
                lacking += MISSING in ranking.reasons
                undecided += not ranking.decided
                invalid += ranking.invalid
    finally:
        voice.close()
    missing = voice.missing // 2  # asked for twice, as a judgement that failed is
    click.echo(f"{problems} problems; {missing} comparisons missing, of {lacking} problems", err=True)
    say_failed_before(invalid - missing)
    return 1 if lacking or undecided else 0


def _judge(path: Path, name: str | None) -> ReplayJudge:
    """The one whose judgements are replayed."""
    from flame_rank.ledger.file import opened

    with opened(path) as connection:
        rows = connection.execute(
            "SELECT name, EXISTS (SELECT 1 FROM judgement WHERE judge = judge.id AND pool IS NOT NULL) FROM judge"
        ).fetchall()
    judges = {row[0]: bool(row[1]) for row in rows}
    if name is None and len(judges) == 1:
        (name,) = judges
    if name is None or name not in judges:
        said = f"holds no judge {name!r}" if name else "holds several judges; say which by --judge"
        raise UserError(f"{path}: {said}: {', '.join(sorted(judges)) or 'there is none'}")
    return ReplayJudge(path, name, pool_aware=judges[name])
