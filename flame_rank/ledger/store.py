"""The ledger: all judgements in an SQLite file, found by their content, for all strategies, runs and processes.

The key of a judgement depends on the judge and the texts, not on the strategy, its seed, or the problem's position in a
file. A record stays: if two processes judge the same comparison, the first answer is kept. Only failures of earlier
runs are replaced, and only on request.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, cast
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from flame_rank.errors import encodable
from flame_rank.judges.base import Judge
from flame_rank.ledger.file import connect, execute, sqlite_errors, transaction
from flame_rank.records import Problem
from strategies.base import FloatArray, IntArray

_CHUNK = 500  # keys of one SELECT; older versions of SQLite allow 999
_DIGEST = 16  # bytes of a text's sha256 that a row keeps: enough to recognise the text


@dataclass(frozen=True, kw_only=True, eq=False)
class Known:
    """What the ledger holds about M comparisons of a problem.

    Attributes:
      known: [M] bool, True if a judgement is recorded, valid or not.
      log_odds: [M] float64, in nats; NaN if recorded as invalid, or not known.
      mass: [M] float64, P(A) + P(B) of a language model; NaN if not recorded.
      reasons: the distinct reasons why recorded judgements are invalid.
      failed_before: the number of failures of earlier runs or other processes.
    """

    known: npt.NDArray[np.bool_]
    log_odds: FloatArray
    mass: FloatArray
    reasons: tuple[str, ...]
    failed_before: int


class _Row(NamedTuple):
    """A judgement as it is recorded; its log-odds are None if it is invalid."""

    log_odds: float | None
    reason: str | None
    mass: float | None


@dataclass(frozen=True)
class _Unwritten:
    """Judgements that are not in the file yet.

    Attributes:
      rows: for each key the row of the table `judgement` without the judge: key, log-odds, reason, texts.
      masses: for each key P(A) + P(B), if it is known.
    """

    rows: dict[bytes, tuple[bytes | float | str | None, ...]] = field(default_factory=dict)
    masses: dict[bytes, float] = field(default_factory=dict)

    def row(self, key: bytes) -> "_Row":
        """Returns the judgement of a key, as it will be read from the file."""
        log_odds, reason = cast(tuple[float | None, str | None], self.rows[key][1:3])
        return _Row(log_odds, reason, self.masses.get(key))


@dataclass(frozen=True, kw_only=True)
class _Digests:
    """sha256 of a problem's texts, 32 bytes each.

    Attributes:
      prompt: the digest of the prompt.
      texts: the digests of the candidates.
      pool: the digest of the candidates' sorted digests, with repetitions and stated answers, which is the same for
        every order of the candidates; None for a judge that does not look at the pool.
    """

    prompt: bytes
    texts: list[bytes]
    pool: bytes | None


class Ledger:
    """The judgements of one judge in a ledger file: a context manager.

    Many processes on one machine may have the file open at once; SQLite's locks do not work over a network file
    system. One thread at a time may use a Ledger, and a process after a fork has to open its own.
    """

    def __init__(self, path: str | Path, judge: Judge, *, read_only: bool = False, retry_invalid: bool = False):
        """Args:
          path: the file, which is created if it does not exist.
          judge: the judge whose judgements are looked up and recorded. Its name is its identity, so judges that may
            answer differently need different names.
          read_only: open the file for reading only: it must exist, and need not be writable.
          retry_invalid: treat failures of earlier runs as unknown, and replace them by the next judgement.

        Raises:
          UserError: the file is not a ledger, is damaged, written by a newer version, read-only or locked, or its
            folder does not exist.
        """
        self.path = Path(path)
        self._judge = encodable(judge.name)
        self._name = _sha256(self._judge.encode())
        self._pool_aware = judge.pool_aware
        self._digests: WeakKeyDictionary[Problem, _Digests] = WeakKeyDictionary()
        self._retry_invalid = retry_invalid
        self._failed: set[bytes] = set()  # keys that have failed in this run, and are not retried in it
        self._unwritten: _Unwritten | None = None  # inside `together`
        self._connection = connect(self.path, "read" if read_only else "make")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; the last process to close it folds the write-ahead log into it."""
        self._connection.close()

    def look_up(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[Known]:
        """Looks up comparisons of problems.

        Args:
          asked: problems, each with its comparisons [M, 2] int64: candidate indices (first, second), as a judge is
            asked.

        Raises:
          UserError: the file cannot be read.
        """
        keys = [self._keys(problem, pairs) for problem, pairs in asked]
        rows = self._rows(list(dict.fromkeys(chain.from_iterable(keys))))
        before = {key for key, row in rows.items() if row.log_odds is None} - self._failed
        if self._retry_invalid:
            rows, before = {key: row for key, row in rows.items() if key not in before}, set()
        return [_known([rows.get(key) for key in own], sum(key in before for key in own)) for own in keys]

    def record(
        self,
        asked: Sequence[tuple[Problem, IntArray]],
        answers: Sequence[FloatArray],
        reasons: Sequence[str | None],
        masses: Sequence[FloatArray] | None = None,
    ) -> None:
        """Records judgements in one transaction, which is committed on return, or at the end of `together`.

        Existing records stay, except for failures that are retried.

        Args:
          asked: problems with their comparisons [M, 2], as in look_up.
          answers: for each problem the log-odds [M] float64, in nats; NaN is recorded as invalid.
          reasons: for each problem why judgements are invalid; None if it is not known.
          masses: for each problem P(A) + P(B) [M] of a language model; NaN if there is none.

        Raises:
          UserError: the file cannot be written (the disk is full, another process has it locked). Then none of these
            judgements is recorded, and all earlier ones still are.
        """
        fresh = self._unwritten or _Unwritten()
        weighed = masses or [np.full(len(pairs), np.nan) for _, pairs in asked]
        for (problem, pairs), log_odds, reason, mass in zip(asked, answers, reasons, weighed, strict=True):
            stated = None if reason is None else encodable(reason)
            digests = self._digests_of(problem)
            prompt, pool = digests.prompt[:_DIGEST], digests.pool and digests.pool[:_DIGEST]
            texts, values = digests.texts, np.asarray(log_odds, np.float64).tolist()
            each = zip(self._keys(problem, pairs), pairs.tolist(), values, np.asarray(mass).tolist(), strict=True)
            for key, (i, j), value, weight in each:
                invalid = value != value
                answer = (None, stated) if invalid else (value, None)
                fresh.rows.setdefault(key, (key, *answer, prompt, texts[i][:_DIGEST], texts[j][:_DIGEST], pool))
                if invalid:
                    self._failed.add(key)
                elif weight == weight:
                    fresh.masses.setdefault(key, weight)
        if self._unwritten is None:
            self._write(fresh)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Commits at the end of the block, in one transaction, what was recorded inside it; a nested block does not
        commit.

        Raises:
          UserError: as in `record`.
        """
        if self._unwritten is not None:  # a judge that ranks in its turn
            yield
            return
        self._unwritten = unwritten = _Unwritten()
        try:
            yield
        finally:
            self._unwritten = None
            self._write(unwritten)

    def _write(self, fresh: "_Unwritten") -> None:
        if not fresh.rows:
            return
        known = "UPDATE SET (log_odds, reason) = (excluded.log_odds, excluded.reason) WHERE log_odds IS NULL"
        known = known if self._retry_invalid else "NOTHING"
        with sqlite_errors(self.path), transaction(self._connection) as connection:
            # Looked up each time, because another process may have dropped the judge (ledger vacuum).
            connection.execute("INSERT OR IGNORE INTO judge (name) VALUES (?)", (self._judge,))
            [judge] = connection.execute("SELECT id FROM judge WHERE name = ?", (self._judge,)).fetchone()
            insert = f"INSERT INTO judgement VALUES (?, {judge:d}, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO {known}"
            connection.executemany(insert, fresh.rows.values())
            connection.executemany("INSERT OR IGNORE INTO verdict_mass VALUES (?, ?)", fresh.masses.items())

    def _keys(self, problem: Problem, pairs: IntArray) -> list[bytes]:
        """Returns the key of each comparison. The parts of a key have fixed lengths, so different parts never give
        the same key."""
        digests = self._digests_of(problem)
        head, texts, tail = self._name + digests.prompt, digests.texts, digests.pool or b""
        return [_sha256(head + texts[i] + texts[j] + tail) for i, j in pairs.tolist()]

    def _digests_of(self, problem: Problem) -> _Digests:
        """Returns the digests of a problem, which are computed once while it is open."""
        digests = self._digests.get(problem)
        if digests is None:
            texts = [_sha256(text.encode()) for text in problem.texts]
            pool = _sha256(b"".join(sorted(_members(problem, texts)))) if self._pool_aware else None
            digests = _Digests(prompt=_sha256(problem.prompt.encode()), texts=texts, pool=pool)
            self._digests[problem] = digests
        return digests

    def _rows(self, keys: list[bytes]) -> dict[bytes, _Row]:
        """Returns the recorded rows of these keys."""
        rows: dict[bytes, _Row] = {}
        if self._unwritten is not None:
            rows = {key: self._unwritten.row(key) for key in keys if key in self._unwritten.rows}
            keys = [key for key in keys if key not in rows]
        with sqlite_errors(self.path):
            for start in range(0, len(keys), _CHUNK):
                chunk = keys[start : start + _CHUNK]
                marks = ", ".join("?" * len(chunk))
                select = f"""
                  SELECT key, log_odds, reason, mass FROM judgement LEFT JOIN verdict_mass USING (key)
                  WHERE key IN ({marks})"""
                for key, *row in execute(self._connection, select, chunk):
                    rows[key] = _Row(*row)
        return rows


def _members(problem: Problem, texts: list[bytes]) -> list[bytes]:
    """Hashes each candidate as a judge that looks at the pool sees it: its text, and its stated answer."""
    if problem.answers is None:
        return texts
    stated = (b"" if answer is None else b"=" + answer.encode() for answer in problem.answers)
    return [_sha256(text + answer) for text, answer in zip(texts, stated, strict=True)]


def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def _known(rows: list[_Row | None], failed_before: int) -> Known:
    there = [row or _Row(None, None, None) for row in rows]
    return Known(
        known=np.array([row is not None for row in rows], np.bool_),
        log_odds=np.array([np.nan if row.log_odds is None else row.log_odds for row in there], np.float64),
        mass=np.array([np.nan if row.mass is None else row.mass for row in there], np.float64),
        reasons=tuple(dict.fromkeys(row.reason for row in there if row.reason is not None)),
        failed_before=failed_before,
    )
