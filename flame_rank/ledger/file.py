"""The file of a ledger: opens it for reading or writing, checks it, and waits for other processes that lock it."""

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
LAYOUT = 1  # version of the tables and of the key; raised whenever either changes
PATIENCE = 60.0  # seconds to wait for other processes that have the file locked

_TRY = 1.0  # seconds that SQLite waits by itself, without heeding Ctrl-C

# WITHOUT ROWID, so that the key is stored once. log_odds has no type, because a REAL column turns -0.0 into 0.0, and a
# run from the ledger would then print other bytes than the run before it.
_TABLES = (
    "CREATE TABLE IF NOT EXISTS judge (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    """CREATE TABLE IF NOT EXISTS judgement (
         key BLOB PRIMARY KEY, judge INTEGER NOT NULL, log_odds, reason TEXT,
         prompt BLOB NOT NULL, first BLOB NOT NULL, second BLOB NOT NULL, pool BLOB
       ) WITHOUT ROWID""",
)
# P(A) + P(B) of the judgements of language models. Older ledgers lack this table, and older programs ignore it; a
# further column would break them, since they write rows of eight.
_MASSES = "TABLE verdict_mass (key BLOB PRIMARY KEY, mass) WITHOUT ROWID"

_STRANGE = """
  SELECT 1 FROM judgement WHERE typeof(log_odds) NOT IN ('real', 'integer', 'null')
    OR typeof(reason) NOT IN ('text', 'null') OR judge NOT IN (SELECT id FROM judge)
  UNION ALL SELECT 1 FROM verdict_mass WHERE typeof(mass) NOT IN ('real', 'integer')
  LIMIT 1"""


@contextmanager
def opened(path: str | Path, access: Access = "read") -> Iterator[sqlite3.Connection]:
    """Opens an existing ledger for the length of a block; SQLite's errors inside the block become UserErrors.

    Raises:
      UserError: the file does not exist, is not a ledger, is damaged, or cannot be read.
    """
    with sqlite_errors(path), closing(connect(Path(path), access)) as connection:
        yield connection


def connect(path: Path, access: Access) -> sqlite3.Connection:
    """Opens a ledger and checks all of it, so that every command reports damage in the same way.

    Args:
      path: the file.
      access: "write" opens it for writing; "make" also creates it if it does not exist; "read" needs no right to write.

    Raises:
      UserError: the file does not exist, is not a ledger, is damaged, or cannot be opened in this way.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: not a regular file, as a ledger must be")
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
                execute(
                    connection, "DELETE FROM judge WHERE FALSE"
                )  # a read-only file fails here, not after the first judgement
                # A committed batch survives the end of the process, however it ends, since the system has it. NORMAL
                # does not wait for the disk as FULL does: a power cut may lose the last batches, but never the file.
                execute(connection, "PRAGMA journal_mode = WAL")
                execute(connection, "PRAGMA synchronous = NORMAL")
        except BaseException:
            connection.close()
            raise
    return connection


def ended(path: Path) -> bool:
    """Returns whether no process has a ledger open any more, and then folds the write-ahead log into it.

    Raises:
      UserError: the file is not a ledger, or cannot be written.
    """
    with sqlite_errors(path), closing(_sqlite(path, "rw")) as connection:
        try:
            connection.execute("PRAGMA journal_mode = DELETE")  # only the last process may
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_BUSY:
                raise
            return False
    return True


def _sqlite(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=_TRY, isolation_level=None, check_same_thread=False)
    connection.text_factory = lambda text: text.decode(errors="backslashreplace")  # damaged text raises no error
    return connection


def _readable(path: Path) -> sqlite3.Connection:
    """Opens a ledger for reading; if it or its folder is read-only, no other process may write it meanwhile."""
    connection = _sqlite(path, "rw")
    try:
        execute(connection, "SELECT 1 FROM sqlite_master")
        return connection
    except sqlite3.Error as error:
        connection.close()
        if _code(error) not in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
            raise
    real = path.resolve()  # SQLite's other files are beside it
    log = real.with_name(real.name + "-wal")
    if not log.exists():
        return _sqlite(real, "ro&immutable=1")
    with TemporaryDirectory() as folder:  # SQLite reads a log only if it can make a file beside it
        copy = Path(folder) / "ledger"
        shutil.copyfile(real, copy)
        shutil.copyfile(log, f"{copy}-wal")
        connection = _sqlite(copy, "rw")
        try:
            execute(connection, "PRAGMA journal_mode = DELETE")  # folds the log into the file
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
    """Raises UserError if a file is not a ledger that this version reads."""
    [application] = execute(connection, "PRAGMA application_id").fetchone()
    if application != APPLICATION:
        raise UserError(f"{path}: a database, but not a ledger; name another file")
    [layout] = execute(connection, "PRAGMA user_version").fetchone()
    if layout > LAYOUT:
        raise UserError(f"{path}: written by a newer version of flame-rank (layout {layout}); update flame-rank")


def _check_content(connection: sqlite3.Connection) -> None:
    """Raises sqlite3.DatabaseError if a page is damaged, or a value is not one that this program writes.

    It takes 2.5 seconds for a million judgements.
    """
    [verdict] = execute(connection, "PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok" or execute(connection, _STRANGE).fetchone():
        damage = sqlite3.DatabaseError(verdict)
        damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise damage


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Runs a block as one transaction, which is committed as a whole or not at all.

    The transaction is IMMEDIATE, because one that begins by reading may be refused when it goes on to write.
    """
    try:
        execute(connection, "BEGIN IMMEDIATE")
        yield connection
        execute(connection, "COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def execute(connection: sqlite3.Connection, statement: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
    """Executes a statement, and repeats it as long as another process has the file locked.

    SQLite's own waiting would delay Ctrl-C, and does not cover all statements: a change of the journal's mode while
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
    """Returns SQLite's primary error code; -1 for an error that is not SQLite's but a mistake in this program."""
    extended: int = getattr(error, "sqlite_errorcode", -1)
    return extended & 0xFF if extended >= 0 else -1


_MESSAGES = {
    sqlite3.SQLITE_NOTADB: "not an SQLite file, so not a ledger; name another file",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; move it away, and a new ledger will be made",
    sqlite3.SQLITE_READONLY: "read-only; make the file and its folder writable",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; make the file and its folder readable and writable",
    sqlite3.SQLITE_FULL: "the disk is full; make room and run again: what is recorded so far is kept",
    sqlite3.SQLITE_BUSY: "locked by another process; wait until that has ended",
}


@contextmanager
def sqlite_errors(path: str | Path) -> Iterator[None]:
    """Turns SQLite's errors into UserErrors that name the file."""
    try:
        yield
    except sqlite3.Error as error:
        if _code(error) < 0:
            raise
        raise UserError(f"{path}: {_MESSAGES.get(_code(error), f'the ledger cannot be used ({error})')}") from error
