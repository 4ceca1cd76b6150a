"""The file that a ledger lives in: opened to be written or only read, checked, and locked by other processes."""

import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeAlias

from flame_rank.errors import UserError

Access: TypeAlias = Literal["make", "write", "read"]

APPLICATION = int.from_bytes(b"FLMR")  # in the file's header, where `file` and SQLite find it
LAYOUT = 1  # of the tables and of the key; one more whenever either changes
PATIENCE = 60.0  # seconds to wait for other processes that have the file locked

_TRY = 1.0  # seconds that SQLite waits by itself, deaf to Ctrl-C

# A row without a rowid: the key is stored once. log_odds has no type, because a column of REAL turns -0.0 into 0.0
# and a run from the ledger would then print other bytes than the run before it.
_TABLES = (
    "CREATE TABLE IF NOT EXISTS judge (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    """CREATE TABLE IF NOT EXISTS judgement (
         key BLOB PRIMARY KEY, judge INTEGER NOT NULL, log_odds, reason TEXT,
         prompt BLOB NOT NULL, first BLOB NOT NULL, second BLOB NOT NULL, pool BLOB
       ) WITHOUT ROWID""",
)
# P(A) + P(B) of the judgements of language models. Ledgers of before lack the table, and programs of before do not look
# at it, which a column more would not be true of: they write rows of eight.
_MASSES = "TABLE verdict_mass (key BLOB PRIMARY KEY, mass) WITHOUT ROWID"

_STRANGE = """
  SELECT 1 FROM judgement WHERE typeof(log_odds) NOT IN ('real', 'integer', 'null')
    OR typeof(reason) NOT IN ('text', 'null') OR judge NOT IN (SELECT id FROM judge)
  UNION ALL SELECT 1 FROM verdict_mass WHERE typeof(mass) NOT IN ('real', 'integer')
  LIMIT 1"""


@contextmanager
def opened(path: str | Path, access: Access = "read") -> Iterator[sqlite3.Connection]:
    """Opens a ledger that is there, for as long as the block lasts; SQLite's errors in it become the user's.

    Raises:
      UserError: the file is not there, is no ledger, is damaged, or cannot be read.
    """
    with sqlite_errors(path), closing(connect(Path(path), access)) as connection:
        yield connection


def connect(path: Path, access: Access) -> sqlite3.Connection:
    """Opens a ledger and checks all of it, so that what is damaged is damaged for everyone who opens it.

    Args:
      access: "make" = to write, made where there is none; "write"; or "read", which takes no right to write.

    Raises:
      UserError: the file is not there, is no ledger, is damaged, or cannot be opened so.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: no regular file; a ledger is one")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise UserError(f"{path}: its folder does not exist; create {folder}")
    if access != "make" and not path.exists():
        raise UserError(f"{path}: no such file")
    with sqlite_errors(path):
        connection = _readable(path) if access == "read" else _sqlite(path, "rwc" if access == "make" else "rw")
        try:
            if access == "make":
                _make(connection)
            _check_layout(connection, path)
            if not execute(connection, "SELECT 1 FROM sqlite_master WHERE name = 'verdict_mass'").fetchone():
                execute(connection, f"CREATE {'' if access == 'make' else 'TEMP'} {_MASSES}")
            _check_content(connection)
            if access == "make":
                execute(connection, "DELETE FROM judge WHERE FALSE")  # fails here, before anything is judged
                # A batch that is committed survives the end of the process, however it ends: the system has it. Not
                # waiting for the disk (NORMAL, not FULL), a power cut may take the last batches, and never the file.
                execute(connection, "PRAGMA journal_mode = WAL")
                execute(connection, "PRAGMA synchronous = NORMAL")
        except BaseException:
            connection.close()
            raise
    return connection


def _sqlite(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=_TRY, isolation_level=None, check_same_thread=False)
    connection.text_factory = lambda text: text.decode(errors="backslashreplace")  # words that are damaged do no harm
    return connection


def _readable(path: Path) -> sqlite3.Connection:
    """A connection to a ledger that nobody else writes if it or its folder may only be read."""
    connection = _sqlite(path, "rw")
    try:
        execute(connection, "SELECT 1 FROM sqlite_master")
        return connection
    except sqlite3.Error as error:
        connection.close()
        if _code(error) not in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
            raise
    real = path.resolve()  # beside which SQLite's other files are
    log = real.with_name(real.name + "-wal")
    if not log.exists():
        return _sqlite(real, "ro&immutable=1")
    with TemporaryDirectory() as folder:  # SQLite reads a log only where it can make a file beside it
        copy = Path(folder) / "ledger"
        shutil.copyfile(real, copy)
        shutil.copyfile(log, f"{copy}-wal")
        connection = _sqlite(copy, "rw")
        try:
            execute(connection, "PRAGMA journal_mode = DELETE")  # folds the log in, so that no file is needed by name
        except BaseException:
            connection.close()
            raise
    return connection


def _make(connection: sqlite3.Connection) -> None:
    """Makes the tables in an empty file."""
    with transaction(connection):
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
            for table in _TABLES:
                connection.execute(table)
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {LAYOUT}")


def _check_layout(connection: sqlite3.Connection, path: Path) -> None:
    """Raises UserError where a file is no ledger that this version reads."""
    [application] = execute(connection, "PRAGMA application_id").fetchone()
    if application != APPLICATION:
        raise UserError(f"{path}: a database, but no ledger; name another file")
    [layout] = execute(connection, "PRAGMA user_version").fetchone()
    if layout > LAYOUT:
        raise UserError(f"{path}: written by a newer version of flame-rank (layout {layout}); update this one")


def _check_content(connection: sqlite3.Connection) -> None:
    """Raises sqlite3.DatabaseError if a page is damaged or a value is none that this program writes: 2.5 seconds for a
    million judgements."""
    [said] = execute(connection, "PRAGMA integrity_check(1)").fetchone()
    if said != "ok" or execute(connection, _STRANGE).fetchone():
        damage = sqlite3.DatabaseError(said)
        damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise damage


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
def sqlite_errors(path: str | Path) -> Iterator[None]:
    """Turns SQLite's errors into the user's, which name the file."""
    try:
        yield
    except sqlite3.Error as error:
        if _code(error) < 0:
            raise
        raise UserError(f"{path}: {_MESSAGES.get(_code(error), f'the ledger cannot be used ({error})')}") from error
