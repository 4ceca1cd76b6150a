"""The ledger: every judgement, addressed by content, in an SQLite file that strategies, runs and processes share.

A judgement is found again by what was judged and by whom: not by the strategy that asked, nor its seed, nor the place
of a problem in its file. What is recorded stays: of two processes that judge the same, the first one's answer is kept.
"""

import hashlib
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from flame_rank.errors import UserError
from flame_rank.judges.base import Judge
from flame_rank.records import Problem
from strategies.base import FloatArray, IntArray

APPLICATION = int.from_bytes(b"FLMR")  # in the file's header, where `file` and SQLite find it
LAYOUT = 1  # of the tables and of the key; one more whenever either changes
PATIENCE = 60.0  # seconds to wait for other processes that have the file locked

_TRY = 1.0  # seconds that SQLite waits by itself, deaf to Ctrl-C
_CHUNK = 500  # keys of one SELECT; SQLite's limit was 999 for long
_DIGEST = 16  # bytes of a text's sha256 that a row keeps: enough to know the text again

# A row without a rowid: the key is stored once. log_odds has no type, because a column of REAL turns -0.0 into 0.0
# and a run from the ledger would then print other bytes than the run before it.
_TABLES = (
    "CREATE TABLE IF NOT EXISTS judge (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    """CREATE TABLE IF NOT EXISTS judgement (
         key BLOB PRIMARY KEY, judge INTEGER NOT NULL, log_odds, reason TEXT,
         prompt BLOB NOT NULL, first BLOB NOT NULL, second BLOB NOT NULL, pool BLOB
       ) WITHOUT ROWID""",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Known:
    """What the ledger knows of M comparisons of a problem.

    Attributes:
      known: [M] bool, True where a judgement is recorded, valid or not.
      log_odds: [M] float64, in nats; NaN where it is recorded as invalid, or not known.
      reasons: why recorded judgements are invalid, each reason once.
    """

    known: npt.NDArray[np.bool_]
    log_odds: FloatArray
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Digests:
    """sha256 of a problem's texts, 32 bytes each.

    Attributes:
      prompt: of the prompt.
      texts: of each candidate.
      pool: of the candidates' sorted digests, repetitions and given answers included: the same in whatever order they
        stand; None for a judge that does not look at the pool.
    """

    prompt: bytes
    texts: list[bytes]
    pool: bytes | None


class Ledger:
    """One judge's judgements in a ledger file: a context manager.

    The file may be open in many processes at once, on one machine: SQLite's locks do not reach over a network file
    system. One thread at a time uses a Ledger; a process after a fork opens its own.
    """

    def __init__(self, path: str | Path, judge: Judge):
        """Args:
          path: the file; it is made where there is none.
          judge: whose judgements are looked up and recorded. Its name is its identity, so judges that may answer
            differently have different names.

        Raises:
          UserError: the file is no ledger, a newer one's, read-only or locked, or its folder does not exist.
        """
        self.path = Path(path)
        self._judge = _encodable(judge.name)
        self._name = _sha256(self._judge.encode())
        self._pool_aware = judge.pool_aware
        self._digests: WeakKeyDictionary[Problem, _Digests] = WeakKeyDictionary()
        self._connection = _open(self.path, create=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; the last one to close it folds the write-ahead log into it."""
        self._connection.close()

    def look_up(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[Known]:
        """What is known of some comparisons of each problem.

        Args:
          asked: problems, each with its comparisons [M, 2] int64, candidate indices (first, second), as a judge is
            asked.

        Raises:
          UserError: the file cannot be read.
        """
        keys = [self._keys(problem, pairs) for problem, pairs in asked]
        rows = self._rows(list(dict.fromkeys(chain.from_iterable(keys))))
        return [_known([rows.get(key) for key in own]) for own in keys]

    def record(
        self, asked: Sequence[tuple[Problem, IntArray]], answers: Sequence[FloatArray], reasons: Sequence[str | None]
    ) -> None:
        """Records judgements in one transaction, which is committed on return; what is recorded already stays.

        Args:
          asked: problems with their comparisons [M, 2], as in look_up.
          answers: for each problem the log-odds [M] float64, in nats; NaN is recorded as invalid.
          reasons: for each problem why its invalid judgements are; None where nobody knows.

        Raises:
          UserError: the file cannot be written (the disk is full, another process has it locked); none of these
            judgements is recorded, and all earlier ones are.
        """
        rows: list[tuple[bytes | float | str | None, ...]] = []
        for (problem, pairs), log_odds, reason in zip(asked, answers, reasons, strict=True):
            said = None if reason is None else _encodable(reason)
            digests = self._digests_of(problem)
            prompt, pool = digests.prompt[:_DIGEST], digests.pool and digests.pool[:_DIGEST]
            texts, values = digests.texts, np.asarray(log_odds, np.float64).tolist()
            for key, (i, j), value in zip(self._keys(problem, pairs), pairs.tolist(), values, strict=True):
                answer = (None, said) if value != value else (value, None)
                rows.append((key, *answer, prompt, texts[i][:_DIGEST], texts[j][:_DIGEST], pool))
        with told(self.path), transaction(self._connection) as connection:
            # Looked up each time: another process may have vacuumed the judge away.
            connection.execute("INSERT OR IGNORE INTO judge (name) VALUES (?)", (self._judge,))
            [judge] = connection.execute("SELECT id FROM judge WHERE name = ?", (self._judge,)).fetchone()
            connection.executemany(f"INSERT OR IGNORE INTO judgement VALUES (?, {judge:d}, ?, ?, ?, ?, ?, ?)", rows)

    def _keys(self, problem: Problem, pairs: IntArray) -> list[bytes]:
        """The key of each comparison. All parts have one length, so no two lists of them read the same."""
        digests = self._digests_of(problem)
        head, texts, tail = self._name + digests.prompt, digests.texts, digests.pool or b""
        return [_sha256(head + texts[i] + texts[j] + tail) for i, j in pairs.tolist()]

    def _digests_of(self, problem: Problem) -> _Digests:
        """The digests of a problem, made once for as long as it is open."""
        digests = self._digests.get(problem)
        if digests is None:
            texts = [_sha256(text.encode()) for text in problem.texts]
            pool = _sha256(b"".join(sorted(_members(problem, texts)))) if self._pool_aware else None
            digests = _Digests(prompt=_sha256(problem.prompt.encode()), texts=texts, pool=pool)
            self._digests[problem] = digests
        return digests

    def _rows(self, keys: list[bytes]) -> dict[bytes, tuple[float | None, str | None]]:
        """Log-odds and reason of the keys that are there."""
        found: dict[bytes, tuple[float | None, str | None]] = {}
        with told(self.path):
            for start in range(0, len(keys), _CHUNK):
                chunk = keys[start : start + _CHUNK]
                marks = ", ".join("?" * len(chunk))
                select = f"SELECT key, log_odds, reason FROM judgement WHERE key IN ({marks})"
                for key, log_odds, reason in execute(self._connection, select, chunk):
                    found[key] = log_odds, reason
        return found


def _members(problem: Problem, texts: list[bytes]) -> list[bytes]:
    """What a judge that looks at the pool sees of each candidate: its text, and the answer that it is said to have."""
    if problem.answers is None:
        return texts
    said = (b"" if answer is None else b"=" + answer.encode() for answer in problem.answers)
    return [_sha256(text + answer) for text, answer in zip(texts, said, strict=True)]


def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def _encodable(text: str) -> str:
    r"""A text with \udc80 for half of a surrogate pair, as a file's name in an error message may have one."""
    return text.encode(errors="backslashreplace").decode()


def _known(rows: list[tuple[float | None, str | None] | None]) -> Known:
    reasons = dict.fromkeys(row[1] for row in rows if row is not None and row[1] is not None)
    return Known(
        known=np.array([row is not None for row in rows], np.bool_),
        log_odds=np.array([np.nan if row is None or row[0] is None else row[0] for row in rows], np.float64),
        reasons=tuple(reasons),
    )


@contextmanager
def opened(path: str | Path) -> Iterator[sqlite3.Connection]:
    """A ledger that is there, for as long as the block lasts; SQLite's errors in it become the user's.

    Raises:
      UserError: the file is not there, is no ledger, or cannot be read.
    """
    with told(path), closing(_open(Path(path))) as connection:
        yield connection


def _open(path: Path, *, create: bool = False) -> sqlite3.Connection:
    """Opens a ledger; with `create` for writing, and makes it where there is none."""
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: no regular file; a ledger is one")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise UserError(f"{path}: its folder does not exist; create {folder}")
    if not create and not path.exists():
        raise UserError(f"{path}: no such file")
    mode, real = "rwc" if create else "rw", path.resolve()  # beside which SQLite's other files are
    if not create and not os.access(real.parent, os.W_OK) and not Path(f"{real}-wal").exists():
        mode = "ro&immutable=1"  # SQLite reads a write-ahead file only where it can make a file beside it
    with told(path):
        uri = f"{path.absolute().as_uri()}?mode={mode}"
        connection = sqlite3.connect(uri, uri=True, timeout=_TRY, isolation_level=None, check_same_thread=False)
        try:
            if create:
                _make(connection)
            _check(connection, path)
            if create:
                # A batch that is committed survives the end of the process, however it ends: the system has it. Not
                # waiting for the disk (NORMAL, not FULL), a power cut may take the last batches, and never the file.
                execute(connection, "PRAGMA journal_mode = WAL")
                execute(connection, "PRAGMA synchronous = NORMAL")
        except BaseException:
            connection.close()
            raise
    return connection


def _make(connection: sqlite3.Connection) -> None:
    """Makes the tables in an empty file; finds out whether the file can be written, before anything is judged."""
    with transaction(connection):
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
            for table in _TABLES:
                connection.execute(table)
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {LAYOUT}")


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Raises UserError where a file is no ledger that this version reads."""
    [application] = execute(connection, "PRAGMA application_id").fetchone()
    if application != APPLICATION:
        raise UserError(f"{path}: a database, but no ledger; name another file")
    [layout] = execute(connection, "PRAGMA user_version").fetchone()
    if layout > LAYOUT:
        raise UserError(f"{path}: written by a newer version of flame-rank (layout {layout}); update this one")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All of it or nothing. IMMEDIATE: a transaction that begins by reading may find no way to go on to writing."""
    try:
        execute(connection, "BEGIN IMMEDIATE")
        yield connection
        execute(connection, "COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def execute(connection: sqlite3.Connection, statement: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
    """Executes a statement, again and again while another process has the file locked.

    SQLite's own waiting would hold up Ctrl-C, and does not cover all statements: to change the journal's mode while
    another process writes is refused at once.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return connection.execute(statement, parameters)
        except sqlite3.OperationalError as error:
            if _code(error) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary error code; -1 for an error that is not SQLite's but a mistake in this program."""
    extended: int = getattr(error, "sqlite_errorcode", -1)
    return extended & 0xFF if extended >= 0 else -1


_MESSAGES = {
    sqlite3.SQLITE_NOTADB: "no SQLite file, so no ledger; name another file",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; move it away, and a new ledger is made",
    sqlite3.SQLITE_READONLY: "read-only; make the file and its folder writable",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; make the file and its folder readable and writable",
    sqlite3.SQLITE_FULL: "the disk is full; make room and run again: what is recorded so far is kept",
    sqlite3.SQLITE_BUSY: "locked by another process; wait for it to end",
}


@contextmanager
def told(path: str | Path) -> Iterator[None]:
    """Turns SQLite's errors into the user's, which name the file."""
    try:
        yield
    except sqlite3.Error as error:
        if _code(error) < 0:
            raise
        raise UserError(f"{path}: {_MESSAGES.get(_code(error), f'the ledger cannot be used ({error})')}") from error
