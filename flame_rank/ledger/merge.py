"""Merges the ledgers of several processes; a judgement that two of them have is kept once."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flame_rank.ledger.file import connect, execute, opened, sqlite_errors, transaction

_PAGE = 500  # judgements of one transaction, below SQLite's limit of parameters


@dataclass(kw_only=True)
class Merged:
    """The result of a merge.

    Attributes:
      judgements: the number of judgements that were read.
      repeated: the number of those that an earlier ledger had.
      replaced: the number of failures that were replaced by a valid judgement.
      conflicts: the number of valid judgements that differ from the one that is kept.
      largest: the largest of these differences, in nats.
    """

    judgements: int = 0
    repeated: int = 0
    replaced: int = 0
    conflicts: int = 0
    largest: float = 0.0


def merge(into: Path, sources: Sequence[Path]) -> Merged:
    """Adds the judgements of `sources` to the ledger `into`, which is created if it does not exist, and removed again
    if the merge fails.

    The first valid judgement of a comparison is kept; it replaces a failure.

    Raises:
      UserError: a file is not a ledger, is damaged, or cannot be read or written.
    """
    merged, is_new = Merged(), not into.exists()
    try:
        with sqlite_errors(into), closing(connect(into, "make")) as target:
            for source in sources:
                for page in _pages(source):
                    with transaction(target):
                        _add(target, page, merged)
    except BaseException:
        if is_new:  # all that is in it is also in the sources
            for end in ("", "-wal", "-shm"):
                into.with_name(into.name + end).unlink(missing_ok=True)
        raise
    return merged


def _pages(path: Path) -> Iterator[list[tuple[Any, ...]]]:
    """Yields judgements as (key, judge's name, log-odds, reason, prompt, first, second, pool, verdict mass)."""
    rows = """
      SELECT key, name, log_odds, reason, prompt, first, second, pool, mass
      FROM judgement JOIN judge ON judge.id = judge LEFT JOIN verdict_mass USING (key) ORDER BY key"""
    with opened(path) as connection:
        cursor = execute(connection, rows)
        while page := cursor.fetchmany(_PAGE):
            yield page


def _add(target: sqlite3.Connection, page: list[tuple[Any, ...]], merged: Merged) -> None:
    names = dict.fromkeys(row[1] for row in page)
    target.executemany("INSERT OR IGNORE INTO judge (name) VALUES (?)", [(name,) for name in names])
    judges = {name: number for number, name in target.execute("SELECT id, name FROM judge")}
    marks = ", ".join("?" * len(page))
    known = dict(
        target.execute(f"SELECT key, log_odds FROM judgement WHERE key IN ({marks})", [row[0] for row in page])
    )
    new = []
    for key, name, log_odds, *rest in page:
        merged.judgements += 1
        if key in known:
            merged.repeated += 1
            if log_odds is None:
                continue
            if known[key] is not None:
                if log_odds != known[key]:
                    merged.conflicts += 1
                    merged.largest = max(merged.largest, abs(log_odds - known[key]))
                continue
            merged.replaced += 1
        new.append((key, judges[name], log_odds, *rest))
    insert = "INSERT OR REPLACE INTO judgement VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    target.executemany(insert, [row[:-1] for row in new])
    masses = [(row[0], row[-1]) for row in new if row[-1] is not None]
    target.executemany("INSERT OR REPLACE INTO verdict_mass VALUES (?, ?)", masses)
