"""`flame-rank audit`: measures a judge's faults on the user's own data."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flame_rank.cli.exit import DONE, UNFINISHED
from flame_rank.cli.fields import options
from flame_rank.cli.options import INPUT_FILE, JUDGE, InputOptions, bad_lines, load_judge
from flame_rank.cli.tables import print_table
from flame_rank.errors import UserError
from flame_rank.fields import described
from flame_rank.judges.options import JudgeOptions

if TYPE_CHECKING:
    from flame_rank.audit.calibration import Bin
    from flame_rank.audit.statistics import Figure

_WIDTH = 40  # characters of a bar of 100 %


@dataclass(frozen=True, kw_only=True)
class AuditOptions:
    """Which data an audit uses, and where its results go."""

    labels: str | None = described(
        None,
        "Compare the judge with the labels in this field: a list in each problem, or a value in each candidate. Labels "
        "are numbers (the higher, the better), or true and false.",
        automatic="no labels",
        unit="FIELD",
    )
    calibration: Path | None = described(
        None,
        "Write to this file the temperature that fits the labels best, for `rerank --calibration`.",
        automatic="none",
        unit="FILE",
    )
    pairs: int = described(28, "Ask about at most this many pairs of each problem.", unit="PAIRS", least=1)
    limit: int | None = described(None, "Audit the first N problems only.", automatic="all problems", unit="N", least=1)
    seed: int = described(0, "Seed of the random choice of pairs and of the bootstrap intervals.", least=0)
    json: Path | None = described(
        None, "Write the figures to this file as well, as JSON.", automatic="none", unit="FILE"
    )


@click.command()
@click.argument("file", default="-", type=INPUT_FILE)
@JUDGE
@options(InputOptions, "input_options", without=("shard",))
@options(AuditOptions, "wanted")
def audit(file: str, judge: str, judge_options: JudgeOptions, input_options: InputOptions, wanted: AuditOptions) -> int:
    """Measure a judge's faults on your own data before you trust it, with or without labels.

    FILE is a file that rerank can read. The judge is asked about pairs in both orders, about a candidate and itself,
    and about candidates with an addition that should not matter: a note to the judge, and padding. Intervals are
    bootstrap intervals over problems. The column "q" is a p-value, corrected for the number of figures that are tested.
    The column "seen" is the smallest effect that four of five such audits would find: a smaller effect may exist
    although it is not reported.

    Exit status: 0 if every line was read; 1 if a line was left out; 2 for a mistake in the arguments or the input.
    """
    from itertools import islice

    from tqdm import tqdm

    from flame_rank.audit.asking import ask
    from flame_rank.audit.calibration import Calibration, Labelled, differ, read_labels
    from flame_rank.audit.probes import probe, warnings_of
    from flame_rank.audit.statistics import corrected
    from flame_rank.io.paths import refuse_same
    from flame_rank.io.writing import write_whole

    if wanted.calibration is not None and wanted.labels is None:
        raise UserError("--calibration is fitted to labels; name their field with --labels")
    for path in (wanted.calibration, wanted.json):
        if path is not None and not path.absolute().parent.is_dir():
            raise UserError(f"{path}: its folder does not exist; create {path.absolute().parent}")
    bad = bad_lines(input_options.on_bad_line, file, None)
    refuse_same(
        {
            "the input": file,
            "the file of problems": input_options.problems,
            "the file of requests": input_options.requests,
        },
        {
            "the file of bad lines": bad.path if bad else None,
            "the calibration": wanted.calibration,
            "the figures": wanted.json,
        },
    )
    problems = list(islice(input_options.read(file, bad), wanted.limit))
    labels = {} if wanted.labels is None else {problem: read_labels(problem, wanted.labels) for problem in problems}
    if wanted.labels is not None and not any(label is not None and differ(label) for label in labels.values()):
        raise UserError(f"{file}: no two candidates of a problem have different labels in {wanted.labels!r}")
    loaded = load_judge(judge, judge_options)
    with tqdm(total=len(problems), unit=" problems", disable=None) as bar:
        asked = list(ask(loaded, problems, most_pairs=wanted.pairs, seed=wanted.seed, done=bar.update))
    if not asked:
        raise UserError(f"{file}: no problem has two candidates of different texts, so there is nothing to compare")
    figures = probe(asked, wanted.seed)
    labelled = None
    if wanted.labels is not None:
        labelled = Labelled.of(asked, [labels[a.problem] for a in asked])
        if not len(labelled.all):
            raise UserError(f"{file}: no pair with different labels in {wanted.labels!r} has a valid judgement")
        figures += labelled.figures(wanted.seed)
    figures = corrected(figures)
    click.echo(f"{loaded.name}: {len(asked)} problems, {sum(len(a.pairs) for a in asked)} pairs in both orders")
    _print(figures)
    reliability = labelled.reliability() if labelled is not None else []
    if reliability:
        _print_reliability(reliability)
    for warning in (warnings := warnings_of(figures)):
        click.echo(f"warning: {warning}")
    if wanted.json is not None:
        record = {"judge": loaded.name, "problems": len(asked), "figures": [vars(f) for f in figures]}
        if labelled is not None:
            record["reliability"] = [vars(b) for b in reliability]
        write_whole(wanted.json, json.dumps(record | {"warnings": warnings}, indent=1) + "\n")
    if wanted.calibration is not None and labelled is not None:
        by_name = {figure.name: figure.value for figure in figures}
        Calibration(
            judge=loaded.name,
            temperature=labelled.temperature() or 1.0,
            pairs=len(labelled.all),
            problems=sum(len(lead) > 0 for lead in labelled.leads),
            flips=by_name["pairs that flip with the order"] or 0.0,
            contradictions=by_name["triples that contradict themselves"] or 0.0,
        ).write(wanted.calibration)
        click.echo(f"{wanted.calibration}: for rerank --calibration, with this judge", err=True)
    return UNFINISHED if bad and bad.count else DONE


def _print(figures: "list[Figure]") -> None:
    rows = []
    for f in figures:
        interval = None if f.low is None else f"[{_number(f.low, f.unit)}, {_number(f.high, f.unit)}]"
        q = None if f.q is None else "<0.001" if f.q < 0.001 else f"{f.q:.3f}"
        rows.append((f.name, _number(f.value, f.unit), interval, q, _number(f.detectable, f.unit), f.n or None))
    print_table(("figure", "value", "95 %", "q", "seen", "n"), rows, texts=1)


def _print_reliability(bins: "list[Bin]") -> None:
    """Prints a reliability plot: how often the judge is right at each confidence; a calibrated bar ends at its mark."""
    rows = []
    for b in bins:
        right, sure = (round(_WIDTH * share) for share in (b.right, b.confidence))
        bar = "".join("|" if k == sure else "█" if k < right else " " for k in range(_WIDTH + 1)).rstrip()
        confidence = f"{100 * b.low:.0f} to {100 * b.high:.0f} %"
        rows.append((confidence, bar, _number(b.confidence, "share"), _number(b.right, "share"), b.n))
    click.echo()
    print_table(("confidence", "█ right, | confidence", "mean", "right", "n"), rows, texts=2)
    click.echo()


def _number(value: float | None, unit: str) -> str | None:
    """Formats a figure for people: shares in %, other figures in their own unit."""
    if value is None:
        return None
    return f"{100 * value:.1f} %" if unit == "share" else f"{value:.2f}{f' {unit}' if unit else ''}"
