"""`flame-rank rerank`: ranks the candidates of the problems of a file."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from flame_rank.audit.options import CalibrationOptions
from flame_rank.cli.exit import DONE, UNFINISHED
from flame_rank.cli.fields import option_name, options
from flame_rank.cli.on_ray import RayOptions, count
from flame_rank.cli.options import (
    INPUT_FILE,
    JUDGE,
    InputOptions,
    bad_lines,
    load_judge,
    read_pattern,
    report_earlier_failures,
)
from flame_rank.cli.summary import Count, Summary
from flame_rank.code_evidence.options import EvidenceOptions
from flame_rank.errors import UserError
from flame_rank.fields import described, described_fields, given
from flame_rank.io.remote import is_url
from flame_rank.judges.options import JudgeOptions
from flame_rank.ranking.options import RankingOptions
from flame_rank.sandbox.options import SandboxOptions

if TYPE_CHECKING:
    from flame_rank.ranking.reranker import Reranker
    from flame_rank.records import Ranking
    from flame_rank.report.page import Report


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """What is written, and where."""

    output: str | None = described(
        None,
        "Write JSONL to this file or address; FILE.gz is compressed, and FILE.parquet is parquet.",
        automatic="standard output",
        unit="FILE",
        short="-o",
    )
    format: Literal["table", "ranked", "jsonl", "best", "pairs"] | None = described(
        None,
        "Write a table for people (table); every record with its ranking (ranked; jsonl means the same); the best "
        "candidate's record (best); or records of prompt, chosen and rejected for TRL (pairs).",
        automatic="table on a terminal, ranked elsewhere",
    )
    pairs: Literal["best-worst", "all", "random"] | None = described(
        None,
        "Which pairs of a problem --format pairs writes: the best and the worst candidate, all pairs, or a random one.",
        automatic="best-worst",
    )
    margin: float | None = described(
        None,
        "For --format pairs, leave out pairs whose scores differ by less than this: the difference is the log-odds, in "
        "nats, that the chosen candidate is better.",
        automatic="0",
        unit="NATS",
        least=0,
    )
    report: str | None = described(
        None,
        "Also write an HTML page to this file: every problem with all of its judgements.",
        automatic="no report",
        unit="FILE.html",
    )
    unordered: bool = described(False, "Write each problem as soon as it is done, not in the order of the input.")
    quiet: bool = described(False, "Show neither progress nor the summary; warnings and errors remain.", short="-q")
    json_summary: Path | None = described(
        None, "Also write the counts of the summary to this file, as one JSON object.", automatic="none", unit="FILE"
    )

    @property
    def file(self) -> str | None:
        """The file to which the rankings are written; None for standard output."""
        return None if self.output == "-" else self.output

    def writer(self, top: int | None, seed: int) -> "Callable[[Ranking], bytes]":
        """Returns the function that encodes a ranking in this format.

        Raises:
          UserError: an option of another format is given.
        """
        if self.format != "pairs" and (self.pairs is not None or self.margin is not None):
            raise UserError("--pairs and --margin are for --format pairs; add it, or leave them out")
        if self.format in ("best", "pairs") and top is not None:
            raise UserError(f"--top is for --format ranked, not {self.format}; leave one of the two out")
        from flame_rank.io.output import to_lines
        from flame_rank.io.selection import Pairs, best_line

        if self.format == "pairs":
            return Pairs(which=self.pairs or "best-worst", margin=self.margin or 0.0, seed=seed).lines
        return best_line if self.format == "best" else partial(to_lines, top=top)

    @property
    def table(self) -> bool:
        """Whether the output is a table.

        Raises:
          UserError: a table is asked for in a file.
        """
        if self.format == "table" and self.file is not None:
            raise UserError("--format table is for people, on standard output; -o FILE keeps JSONL")
        if self.file is not None or self.format is not None:
            return self.format == "table"
        return sys.stdout is not None and sys.stdout.isatty()


@dataclass(frozen=True, kw_only=True)
class RerankerOptions:
    """The options of a reranker; they can be pickled, because each worker of a cluster makes its own reranker."""

    judge: str
    judge_options: JudgeOptions
    ranking: RankingOptions
    calibration: CalibrationOptions
    evidence: EvidenceOptions
    sandbox: SandboxOptions
    ordered: bool
    keep_judgements: bool

    def make(self, ledger: str | Path | None) -> "Reranker":
        """Loads the judge and makes its reranker.

        Args:
          ledger: the file that keeps its judgements.
        """
        from flame_rank.ranking.reranker import Reranker

        sandbox = self.sandbox.start() if self.evidence.parts else None  # before jax, which makes starting slow
        loaded = self.calibration.apply(load_judge(self.judge, self.judge_options))
        if sandbox is not None:
            loaded = self.evidence.judge(loaded, sandbox, self.sandbox.timeout)
        if loaded.pointwise:
            _warn_of_useless_options(self.ranking)
        own: dict[str, Any] = {
            "ordered": self.ordered,
            "extract": read_pattern(self.ranking.extract),
            "keep_judgements": self.keep_judgements,
            "ledger": ledger,
        }
        return Reranker(loaded, **given(replace(self.ranking, **own)))


@click.command()
@click.argument("file", default="-", type=INPUT_FILE)
@options(OutputOptions, "output")
@JUDGE
@options(RankingOptions, "ranking_options", without=("ordered", "batch", "keep_judgements"))
@options(InputOptions, "input_options")
@options(CalibrationOptions, "calibration_options")
@options(EvidenceOptions, "evidence_options")
@options(SandboxOptions, "sandbox_options", timeout=1.0)
@options(RayOptions, "ray_options")
def rerank(
    file: str,
    output: OutputOptions,
    judge: str,
    judge_options: JudgeOptions,
    ranking_options: RankingOptions,
    input_options: InputOptions,
    calibration_options: CalibrationOptions,
    evidence_options: EvidenceOptions,
    sandbox_options: SandboxOptions,
    ray_options: RayOptions,
) -> int:
    """Rank the candidates of every problem in FILE, best first.

    FILE is JSONL or parquet, a path or an address (s3://, gs://, hf://). Each line is either a problem with "prompt"
    and "candidates" (a list), or a single sample with "task_id" and "completion", or a line of another tool (see
    --from). Without FILE, or with "-", standard input is read. Rankings are written during the run, in the order of
    the input: as JSONL, or on a terminal as rows of a table.

    The options from --ask to --template are for a judge that has a language model.

    Exit status: 0 if every problem was ranked; 1 if a problem was undecided or a line was left out; 2 for a mistake in
    the arguments or the input; 130 if interrupted.
    """
    from tqdm import tqdm

    from flame_rank.cli.terminal import Rows
    from flame_rank.io.lines import BadLine
    from flame_rank.io.output import Output
    from flame_rank.io.paths import parts, refuse_same, with_log

    _check_confidence(ranking_options)
    read_pattern(ranking_options.extract)  # a mistake in it is told before the judge is loaded
    table = output.table
    to_lines = output.writer(ranking_options.top, ranking_options.seed)
    for path in (output.file, output.json_summary, output.report):
        if path and not is_url(path) and not Path(path).absolute().parent.is_dir():
            raise UserError(f"{path}: its folder does not exist; create {Path(path).absolute().parent}")
    if [output.file or "-", str(output.json_summary), output.report].count("-") > 1:
        raise UserError("of -o, --report and --json-summary, only one may write to standard output; name a file")
    bad = bad_lines(input_options.on_bad_line, file, output.file)
    refuse_same(
        {
            "the input": file,
            "the file of problems": input_options.problems,
            "the file of requests": input_options.requests,
        },
        {
            **parts(output.file),
            "the file of bad lines": bad.path if bad else None,
            "the summary": output.json_summary,
            "the report": output.report,
            "what the report is written to first": f"{output.report}.part" if output.report else None,
            **with_log(ranking_options.ledger),
        },
    )
    options = RerankerOptions(
        judge=judge,
        judge_options=judge_options,
        ranking=ranking_options,
        calibration=calibration_options,
        evidence=evidence_options,
        sandbox=sandbox_options,
        ordered=not output.unordered,
        keep_judgements=output.report is not None,
    )
    if ray_options.gpus is not None and ray_options.actors is None:
        raise UserError("--ray-gpus is for --ray; add --ray N, the number of judges at once")
    if ray_options.actors is not None:
        return _rerank_on_ray(file, output, options, input_options, ray_options)
    problems = input_options.read(file, bad)
    reranker = options.make(ranking_options.ledger)
    audit = getattr(reranker.judge, "audit", None)
    known = [] if audit is None else audit.warnings
    settings = {"FILE": file, "--judge": judge}
    for chosen in (
        judge_options,
        ranking_options,
        calibration_options,
        evidence_options,
        sandbox_options,
        input_options,
    ):
        settings |= _as_options(chosen)
    summary = Summary(input_options.group_by)
    hidden = True if output.quiet or not sys.stderr else None  # None: hidden unless standard error is a terminal
    top = ranking_options.top
    rankings: Iterator[Ranking] = tqdm(reranker.rank_many(problems), unit=" problems", disable=hidden, file=sys.stderr)
    try:
        with Rows(top or 1) if table else Output(output.file) as out, _report(output.report, settings, known) as report:
            for ranking in rankings:
                if report is not None:
                    report.add(ranking)
                if isinstance(out, Rows):
                    out.write(ranking)
                else:
                    out.write(to_lines(ranking))
                summary.add(Count.of(ranking))
    except BadLine as error:
        kept = f"; the {summary.problems} before it are in {out.kept}" if isinstance(out, Output) and out.kept else ""
        raise UserError(f"{error}{kept}") from error
    summary.close(reranker, bad)
    _write_summary(summary, output)
    report_earlier_failures(reranker.failed_before)
    if table and output.format is None and not output.quiet:
        click.echo("-o FILE keeps the rankings as JSONL, with all scores", err=True)
    return UNFINISHED if summary.undecided or summary.bad_lines else DONE


def _rerank_on_ray(
    file: str, output: OutputOptions, options: RerankerOptions, input_options: InputOptions, ray_options: RayOptions
) -> int:
    from tqdm import tqdm

    from flame_rank.io.output import Output
    from flame_rank.ray import Work

    if output.report is not None or output.format == "table" or output.unordered:
        raise UserError("--ray writes lines in the order of the input; leave out --report, --unordered, --format table")
    ledger, summary = options.ranking.ledger, Summary(input_options.group_by)
    write = output.writer(options.ranking.top, options.ranking.seed)
    work = Work(make=options.make, read=partial(input_options.read, bad=None), write=write, count=count)
    hidden = True if output.quiet or not sys.stderr else None
    ranked = ray_options.rank(file, work, input_options, ledger)
    with Output(output.file) as out:
        for lines, counted in tqdm(ranked, unit=" problems", disable=hidden, file=sys.stderr):
            out.write(lines)
            summary.add(counted)
    summary.close(None, None)
    _write_summary(summary, output)
    report_earlier_failures(summary.failed_before)
    return UNFINISHED if summary.undecided else DONE


def _write_summary(summary: Summary, output: OutputOptions) -> None:
    from flame_rank.io.output import Output

    if output.json_summary:
        with Output(output.json_summary) as counts:
            counts.write(json.dumps(summary.counts()).encode() + b"\n")
    if not output.quiet:
        click.echo(summary.line(), err=True)
    for warning in summary.warnings:
        click.echo(f"flame-rank: warning: {warning}; `flame-rank audit` measures the judge on your data", err=True)


def _report(path: str | None, settings: dict[str, Any], warnings: list[str]) -> "AbstractContextManager[Report | None]":
    from flame_rank.report.page import Report

    return nullcontext() if path is None else Report(path, settings, warnings)


def _as_options(options: object) -> dict[str, Any]:
    """Returns the options of a dataclass that differ from their defaults, by their names in the command."""
    return {
        option_name(f): getattr(options, f.name) for f in described_fields(type(options)) if f.name in given(options)
    }


def _check_confidence(ranking: RankingOptions) -> None:
    if ranking.confidence is not None and ranking.strategy not in (None, "active"):
        raise UserError(f"--confidence is for the strategy active, not {ranking.strategy}; leave one of the two out")


def _warn_of_useless_options(ranking: RankingOptions) -> None:
    """Warns of the given options that have no effect on a pointwise judge."""
    strategy = ranking.strategy if ranking.strategy != "pointwise" else None
    useless = {"--strategy": strategy, "--order": ranking.order, "--confidence": ranking.confidence}
    for option in (option for option, value in useless.items() if value is not None):
        click.echo(
            f"flame-rank: {option} has no effect: this judge gives each candidate a quality once, and "
            "all pairs follow from it",
            err=True,
        )
