"""`flame-rank ledger`: shows what is in a ledger, exports it as JSONL, and drops judgements from it."""

import json
from collections.abc import Generator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click

_PAGE = 1000  # lines that are written together
_SHOWN = 10  # reasons of one judge that are printed

_FILE = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))


@click.group()
def ledger() -> None:
    """Inspect, export, merge or shrink ledgers of judgements."""


@ledger.command()
@_FILE
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
def info(file: Path, as_json: bool) -> None:
    """Print how many judgements each judge has in FILE, how many of them are invalid, and why."""
    judges = count(file)
    total = {
        "bytes": size(file),
        "judgements": sum(judge.judgements for judge in judges),
        "invalid": sum(judge.invalid for judge in judges),
    }
    if as_json:
        click.echo(json.dumps({"file": str(file), **total, "judges": [asdict(judge) for judge in judges]}))
        return
    click.echo(f"{file}: {_counted(total['judgements'], total['invalid'])}, {_megabytes(total['bytes'])}")
    for judge in judges:
        click.echo(f"{judge.name}: {_counted(judge.judgements, judge.invalid)}")
        for group in judge.reasons[:_SHOWN]:
            reason = "no reason given" if group["reason"] is None else " ".join(group["reason"].split())
            click.echo(f"  {group['count']:,} {reason}")
        if len(judge.reasons) > _SHOWN:
            click.echo(f"  and {len(judge.reasons) - _SHOWN:,} reasons more (--json has all)")


@ledger.command()
@_FILE
@click.option("-o", "--output", metavar="FILE", help="Write the judgements to this file.  [default: standard output]")
def export(file: Path, output: str | None) -> None:
    """Write all judgements of FILE as JSONL, one per line, in the order of their keys.

    "key" is the sha256 that identifies a judgement. "prompt", "first" and "second" are the first 16 bytes of the sha256
    of these texts in UTF-8; "pool" is such a hash of all candidates together, or null if the judge does not look at
    them. "log_odds" are the log-odds, in nats, that the first text is better: a number, "Infinity", "-Infinity", or
    null if the judgement is invalid; "reason" then says why. "verdict_mass" is P(A) + P(B), or null if the judge is not
    a language model.
    """
    from flame_rank.errors import UserError
    from flame_rank.io.output import Output
    from flame_rank.io.paths import parts, refuse_same, with_log

    if output and output != "-":
        folder = Path(output).absolute().parent
        if not folder.is_dir():
            raise UserError(f"{output}: its folder does not exist; create {folder}")
    refuse_same(with_log(file), parts(output))
    with closing(exported(file)) as pages, Output(output) as out:
        for lines in pages:
            out.write(lines)


@ledger.command()
@_FILE
@click.option("--invalid", is_flag=True, help="Drop invalid judgements, so that they are asked for again.")
@click.option(
    "--judge", metavar="NAME", help="Drop the judgements of this judge; with --invalid, only its invalid ones."
)
def vacuum(file: Path, invalid: bool, judge: str | None) -> None:
    """Drop judgements from FILE if --invalid or --judge is given, and make the file as small as possible."""
    before = size(file)
    dropped, kept, compact = drop(file, invalid=invalid, judge=judge)
    counts = f"{dropped:,} judgements dropped, {kept:,} kept; {_megabytes(before)} before, {_megabytes(size(file))} now"
    late = "" if compact else " (smaller once the other processes that have it open are done)"
    click.echo(f"{file}: {counts}{late}", err=True)


@ledger.command("merge")
@click.argument("into", metavar="OUT", type=click.Path(dir_okay=False, path_type=Path))
@click.argument(
    "files", metavar="LEDGER...", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
def merge_ledgers(into: Path, files: tuple[Path, ...]) -> None:
    """Add the judgements of every LEDGER to OUT, which is created if it does not exist.

    If several ledgers have a judgement of the same comparison, the first valid one is kept.
    """
    from flame_rank.io.paths import refuse_same, with_log
    from flame_rank.ledger.merge import merge

    refuse_same({f"ledger {k}": file for k, file in enumerate(files, 1)}, with_log(into))
    merged = merge(into, files)
    new = merged.judgements - merged.repeated
    parts = [f"{merged.judgements:,} judgements read", f"{new:,} new"]
    parts += [f"{merged.repeated:,} known already"] if merged.repeated else []
    parts += [f"{merged.replaced:,} failures replaced by valid judgements"] if merged.replaced else []
    if merged.conflicts:
        parts.append(f"{merged.conflicts:,} differ, by {merged.largest:.2g} nats at most: the first ones are kept")
    click.echo(f"{into}: {'; '.join(parts)}", err=True)


@dataclass(frozen=True, kw_only=True)
class JudgeCount:
    """The judgements of one judge.

    Attributes:
      name: the judge's name.
      judgements: their number, invalid ones included.
      invalid: the number of invalid ones.
      reasons: why they are invalid, the most frequent reason first, each with its `count`; a `reason` is None if it is
        not known.
    """

    name: str
    judgements: int
    invalid: int
    reasons: list[dict[str, Any]] = field(default_factory=list)


def count(path: Path) -> list[JudgeCount]:
    """Counts the judgements in a ledger for each judge, in the order of the judges' names.

    Raises:
      UserError: the file does not exist, is not a ledger, or cannot be read.
    """
    from flame_rank.ledger.file import execute, opened

    rows = """
      SELECT name, invalid, reason, n FROM judge JOIN (
        SELECT judge, log_odds IS NULL AS invalid, reason, count(*) AS n FROM judgement GROUP BY 1, 2, 3
      ) ON judge = judge.id ORDER BY name, n DESC, reason"""
    judges: dict[str, list[tuple[bool, str | None, int]]] = {}
    with opened(path) as connection:
        for name, *group in execute(connection, rows):
            judges.setdefault(name, []).append((group[0], group[1], group[2]))
    return [
        JudgeCount(
            name=name,
            judgements=sum(n for _, _, n in groups),
            invalid=sum(n for invalid, _, n in groups if invalid),
            reasons=[{"reason": reason, "count": n} for invalid, reason, n in groups if invalid],
        )
        for name, groups in judges.items()
    ]


def exported(path: Path) -> Generator[bytes, None, None]:
    """Yields the judgements of a ledger as lines; `export` describes their fields.

    Raises:
      UserError: the file does not exist, is not a ledger, or cannot be read.
    """
    import msgspec

    from flame_rank.ledger.file import execute, opened

    columns = ("key", "judge", "prompt", "first", "second", "pool", "log_odds", "reason", "verdict_mass")
    rows = """
      SELECT key, name, prompt, first, second, pool, log_odds, reason, mass
      FROM judgement JOIN judge ON judge.id = judge LEFT JOIN verdict_mass USING (key) ORDER BY key"""
    with opened(path) as connection:
        cursor = execute(connection, rows)
        while page := cursor.fetchmany(_PAGE):
            records = (dict(zip(columns, map(_plain, row), strict=True)) for row in page)
            yield b"".join(msgspec.json.encode(record) + b"\n" for record in records)


def drop(path: Path, *, invalid: bool, judge: str | None) -> tuple[int, int, bool]:
    """Drops judgements and compacts the file.

    Args:
      path: the ledger.
      invalid: drop invalid judgements; with `judge`, only that judge's.
      judge: drop this judge's judgements; with `invalid`, only its invalid ones. Without both, none is dropped.

    Returns:
      The number of dropped judgements, the number that is left, and whether the file could be compacted: it cannot
      while another process reads it.

    Raises:
      UserError: the judge has no judgements here; the file does not exist, is not a ledger, or cannot be written.
    """
    from flame_rank.errors import UserError
    from flame_rank.ledger.file import execute, opened, transaction

    where = ["log_odds IS NULL"] * invalid + ["judge = (SELECT id FROM judge WHERE name = ?)"] * (judge is not None)
    dropped = 0
    with opened(path, "write") as connection:
        names = [name for (name,) in execute(connection, "SELECT name FROM judge ORDER BY name")]
        if judge is not None and judge not in names:
            raise UserError(f"{path}: no judgement by {judge!r}; its judges are {', '.join(names) or 'none'}")
        if where:
            with transaction(connection):
                delete = f"DELETE FROM judgement WHERE {' AND '.join(where)}"
                dropped = connection.execute(delete, [judge] * (judge is not None)).rowcount
                connection.execute("DELETE FROM judge WHERE id NOT IN (SELECT judge FROM judgement)")
                connection.execute("DELETE FROM verdict_mass WHERE key NOT IN (SELECT key FROM judgement)")
        [kept] = execute(connection, "SELECT count(*) FROM judgement").fetchone()
        execute(connection, "VACUUM")
        [busy, *_] = execute(connection, "PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return dropped, kept, not busy


def size(path: Path) -> int:
    """Returns the size of a ledger on disk in bytes, including its write-ahead log."""
    log = Path(f"{path.resolve()}-wal")
    return path.stat().st_size + (log.stat().st_size if log.exists() else 0)


def _plain(value: Any) -> Any:
    """Converts a value for JSON, which has no infinite numbers: they become the words that Protocol Buffers uses."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and abs(value) == float("inf"):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def _counted(judgements: int, invalid: int) -> str:
    return f"{judgements:,} judgements" + (f", {invalid:,} of them invalid" if invalid else "")


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.2f} MB"
