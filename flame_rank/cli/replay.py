"""`flame-rank replay`: ranks from a ledger alone, without a judge."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import click

from flame_rank.cli.exit import DONE, UNFINISHED
from flame_rank.cli.fields import options
from flame_rank.cli.options import INPUT_FILE, InputOptions, bad_lines, read_pattern, report_earlier_failures
from flame_rank.cli.summary import counted
from flame_rank.errors import UserError
from flame_rank.fields import given
from flame_rank.ranking.options import RankingOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flame_rank.judges.base import Notes
    from flame_rank.records import Problem
    from strategies.base import FloatArray, IntArray

MISSING = "not in the ledger"
# Whether a judge looks at the pool, and the share of problems in which it compared all other candidates with the same
# one: a judge that rates candidates is asked about nothing else, one that compares pairs about both orders.
_KIND = """
  SELECT max(pool IS NOT NULL), avg(CASE WHEN rows > 1 THEN seconds = 1 END)
  FROM (SELECT pool, count(*) AS rows, count(DISTINCT second) AS seconds
        FROM judgement WHERE judge = ? GROUP BY prompt, pool)"""


class ReplayJudge:
    """Repeats the judgements of one judge from a ledger, and makes no new ones.

    Attributes:
      missing: the number of comparisons that the ledger does not hold.
    """

    def __init__(self, path: Path, name: str, *, pool_aware: bool, pointwise: bool):
        from flame_rank.ledger.store import Ledger

        self.name, self.pool_aware, self.pointwise = name, pool_aware, pointwise
        self.missing = 0
        self._ledger = Ledger(path, self, read_only=True)
        self._failures: WeakKeyDictionary[Problem, dict[str, None]] = WeakKeyDictionary()

    def judge(self, asked: "Sequence[tuple[Problem, IntArray]]") -> "list[FloatArray]":
        """Returns log-odds [M] for each problem; NaN for a judgement that is missing or invalid."""
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
        """Returns why judgements of this problem are left out."""
        from flame_rank.judges.base import Notes

        return Notes(failures=tuple(self._failures.get(problem, ())))

    def verdict_mass(self, problem: "Problem", pairs: "IntArray") -> "FloatArray":
        """Returns P(A) + P(B) [M] as recorded; NaN if it was not recorded."""
        [known] = self._ledger.look_up([(problem, pairs)])
        return known.mass

    def close(self) -> None:
        """Closes the ledger."""
        self._ledger.close()


@click.command()
@click.argument("file", default="-", type=INPUT_FILE)
@click.option(
    "--ledger",
    "path",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Use the judgements in this ledger.",
)
@click.option(
    "--judge", metavar="NAME", help="Use the judgements of this judge.  [default: the only judge in the ledger]"
)
@options(
    RankingOptions,
    "ranking_options",
    without=("confidence", "dedupe", "ledger", "retry_invalid", "ordered", "batch", "keep_judgements", "explain"),
)
@options(InputOptions, "input_options")
@click.option("-o", "--output", metavar="FILE", help="Write the rankings to this file.  [default: standard output]")
def replay(
    file: str,
    path: Path,
    judge: str | None,
    ranking_options: RankingOptions,
    input_options: InputOptions,
    output: str | None,
) -> int:
    """Rank FILE by the judgements in a ledger, without a judge, and report missing judgements.

    Exit status: 0 if all judgements were there; 1 if some are missing, a problem is undecided or a bad line was left
    out; 2 for a mistake in the arguments or the input.
    """
    from flame_rank.io.output import Output, to_lines
    from flame_rank.io.paths import parts, refuse_same, with_log
    from flame_rank.ranking.reranker import Reranker

    bad = bad_lines(input_options.on_bad_line, file, output)
    inputs = {
        "the input": file,
        "the file of problems": input_options.problems,
        "the file of requests": input_options.requests,
        **with_log(path),
    }
    refuse_same(inputs, {**parts(output), "the file of bad lines": bad.path if bad else None})
    extract = read_pattern(ranking_options.extract)
    recorded = _judge(path, judge)
    problems = lacking = undecided = invalid = 0
    try:
        reranker = Reranker(recorded, **given(replace(ranking_options, extract=extract)))
        with Output(output) as out:
            for ranking in reranker.rank_many(input_options.read(file, bad)):
                out.write(to_lines(ranking, ranking_options.top))
                problems += 1
                lacking += MISSING in ranking.reasons
                undecided += not ranking.decided
                invalid += ranking.invalid
    finally:
        recorded.close()
    missing = recorded.missing // 2  # a judgement that failed is asked for twice
    left_out = bad.count if bad else 0
    said = [
        counted(problems, "problem(s)"),
        f"{counted(missing, 'comparison(s) missing')}, of {counted(lacking, 'problem(s)')}",
    ]
    if bad and left_out:
        said.append(counted(left_out, "bad line(s) left out") + (f" (in {bad.path})" if bad.path else ""))
    click.echo("; ".join(said), err=True)
    report_earlier_failures(invalid - missing)
    return UNFINISHED if lacking or undecided or left_out else DONE


def _judge(path: Path, name: str | None) -> ReplayJudge:
    """Returns the judge whose judgements are replayed."""
    from flame_rank.judges.judge_file import is_judge_file
    from flame_rank.ledger.file import opened

    with opened(path) as connection:
        judges = {known: number for number, known in connection.execute("SELECT id, name FROM judge")}
        kinds = {known: connection.execute(_KIND, (number,)).fetchone() for known, number in judges.items()}
    if name is None and len(judges) == 1:
        (name,) = judges
    if name is None or name not in judges:
        mistake = f"holds no judge {name!r}" if name else "holds several judges; say which by --judge"
        if name and is_judge_file(name):
            mistake = f"holds the answers of each judge by itself; rerank --judge {name} --ledger {path} repeats them"
        raise UserError(f"{path}: {mistake}: {', '.join(sorted(judges)) or 'there is none'}")
    pool_aware, alike = kinds[name]
    pointwise = pool_aware if alike is None else alike > 0.5
    return ReplayJudge(path, name, pool_aware=bool(pool_aware), pointwise=bool(pointwise))
