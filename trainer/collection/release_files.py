"""Reads the files of data sets as their authors release them: every record with its position in the files.

A record that cannot be read becomes a BadRecord with the reason, which the caller counts; a file that cannot be read at
all is an error that names it. Nothing is unpickled.
"""

import bz2
import csv
import gzip
import io
import lzma
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias, cast

import msgspec

from flame_rank.errors import UserError
from flame_rank.io import json_file
from flame_rank.io.json_file import one_line
from flame_rank.io.streams import DAMAGED


class BadRecord(ValueError):
    """A record that cannot be used, with the reason."""


Row: TypeAlias = tuple[str, Any]  # "FILE:LINE", and the record or a BadRecord

_AGAIN = "fetch it again"
_CUT = f"the file ends within this line; {_AGAIN}"
_OPEN: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
csv.field_size_limit(sys.maxsize if sys.maxsize < 2**31 else 2**31 - 1)  # some answers are longer than 128 KiB


class Folder:
    """A data set's folder.

    Patterns are relative to it and also match names with .gz, .bz2 or .xz at the end. All files that match a pattern
    are read, in the order of their names.
    """

    def __init__(self, path: Path):
        self.path = path

    def has(self, pattern: str) -> bool:
        """Tells whether a file matches."""
        return bool(self._matches(pattern))

    def files(self, pattern: str) -> list[Path]:
        """Lists the files that match, at least one.

        Raises:
          UserError: no file matches, or a file is empty.
        """
        paths = self._matches(pattern)
        if not paths:
            raise UserError(f"{self.path / pattern}: no such file")
        for path in paths:
            if not path.stat().st_size:
                raise UserError(f"{path}: the file is empty; {_AGAIN}")
        return paths

    def json(self, pattern: str) -> Iterator[Row]:
        """Reads JSON files; the content of each file is one record."""
        for path in self.files(pattern):
            with _naming(path), _open(path) as file:
                content = file.read()
            yield str(path), json_file.decoded(content, path, Any, remedy=_AGAIN)

    def records(self, pattern: str, key: str | None = None) -> Iterator[Row]:
        """Reads the records of JSON files that hold a list or an object of records, at the top or under `key`."""
        for path, value in self.json(pattern):
            content = value
            if key is not None:
                content = value.get(key) if isinstance(value, dict) else None
            if isinstance(content, dict):
                yield from ((f"{path}: {name!r}", record) for name, record in content.items())
            elif isinstance(content, list):
                yield from ((f"{path}: record {k}", record) for k, record in enumerate(content, 1))
            else:
                raise UserError(f"{path}: holds no records{f' under {key!r}' if key else ''}")

    def jsonl(self, pattern: str) -> Iterator[Row]:
        """Reads the lines of JSONL files; skips empty lines."""
        decode = msgspec.json.Decoder().decode
        for path in self.files(pattern):
            with _naming(path), _open(path) as file:
                for number, line in enumerate(file, 1):
                    if line.isspace():
                        continue
                    record: Any
                    try:
                        record = decode(line)
                    except UnicodeDecodeError as error:
                        record = BadRecord(f"not UTF-8 at byte {error.start}")
                    except (msgspec.DecodeError, RecursionError) as error:
                        record = BadRecord(f"not JSON ({error})")
                    yield f"{path}:{number}", record

    def csv(
        self,
        pattern: str,
        *,
        delimiter: str = ",",
        columns: Sequence[str] | None = None,
        quoted: bool = True,
        more: bool = False,
        unended: bool = False,
    ) -> Iterator[Row]:
        """Reads the rows of CSV and TSV files, as column name -> text.

        Args:
          columns: the columns' names, for files without a header.
          quoted: whether quotation marks quote; False for files in which they are ordinary characters.
          more: whether a row may have further columns, which are left out.
          unended: whether the release has no newline after its last row; if the release has one, a file without it was
            cut off.
        """
        for path in self.files(pattern):
            with _naming(path), _open(path) as file:
                # Bytes that are not UTF-8 become surrogates, so that one bad row does not end the file.
                text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
                quoting: Any = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
                lines = _Lines(text)
                rows = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=quoted)
                table = _table(str(path), rows, columns, more, lines if quoted else None)
                yield from _ended(table, lines, unended)

    def parquet(self, pattern: str) -> Iterator[Row]:
        """Reads the rows of parquet files, as column name -> value; needs pyarrow."""
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError as error:
            raise UserError(f"{self.path / pattern}: parquet needs pyarrow; pip install 'flame-rank[data]'") from error
        for path in self.files(pattern):
            row = 0
            try:
                with parquet.ParquetFile(path, page_checksum_verification=True) as file:
                    for batch in file.iter_batches(batch_size=1024):
                        for record in batch.to_pylist():
                            row += 1
                            yield f"{path}: row {row}", record
            except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
                reason = f"not whole parquet after row {row} ({one_line(error)[:200]})"
                raise UserError(f"{path}: {reason}; {_AGAIN}") from error

    def lines(self, *patterns: str, unended: bool = False) -> Iterator[Row]:
        """Reads line-aligned text files, one for each pattern: the lines with the same number become a tuple of texts.

        Args:
          unended: whether the release has no newline after its last line; if the release has one, a file without it was
            cut off.
        """
        paths = [self.files(pattern)[0] for pattern in patterns]
        texts = [_lines(path, unended) for path in paths]
        number = 0
        while True:
            number += 1
            lines = [next(text, None) for text in texts]
            if all(line is None for line in lines):
                return
            for path, line in zip(paths, lines, strict=True):
                if line is None:
                    raise UserError(f"{path}: ends before line {number}, unlike {paths[0].parent}'s other files")
            bad = next((line for line in lines if isinstance(line, BadRecord)), None)
            yield f"{paths[0]}:{number}", bad if bad is not None else tuple(lines)

    def _matches(self, pattern: str) -> list[Path]:
        if not self.path.is_dir():
            return []
        return sorted({path for end in ("", *_OPEN) for path in self.path.glob(pattern + end) if path.is_file()})


def map_records(rows: Iterator[Row], change: Callable[[Any], Any]) -> Iterator[Row]:
    """Applies a function to the records; a record that it refuses becomes a bad one."""
    for where, record in rows:
        if not isinstance(record, BadRecord):
            try:
                record = change(record)
            except KeyError as error:
                record = BadRecord(f"no field {error.args[0]!r}")
            except (TypeError, ValueError, IndexError, AttributeError) as error:
                record = BadRecord(f"{type(error).__name__}: {error}")
        yield where, record


def reject_bad(rows: Iterator[Row]) -> Iterator[Row]:
    """Yields the rows, and refuses a bad one. It is for files whose rows are joined with others.

    Raises:
      UserError: a record is bad.
    """
    for where, record in rows:
        if isinstance(record, BadRecord):
            raise UserError(f"{where}: {record}")
        yield where, record


def _open(path: Path) -> IO[bytes]:
    return cast(IO[bytes], _OPEN.get(path.suffix, Path.open)(path, "rb"))


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turns the exceptions of a damaged file into an error that names it."""
    try:
        yield
    except DAMAGED as error:
        raise UserError(f"{path}: not a whole compressed file ({error}); {_AGAIN}") from error
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error


def _lines(path: Path, unended: bool) -> Iterator[str | BadRecord]:
    with _naming(path), _open(path) as file:
        for line in file:
            if not line.endswith(b"\n") and not unended:
                yield BadRecord(f"{path.name}: {_CUT}")
                return
            try:
                yield line.decode().rstrip("\r\n")
            except UnicodeDecodeError as error:
                yield BadRecord(f"{path.name}: not UTF-8 at byte {error.start}")


class _Lines:
    """The lines of a file; remembers the last line, and the number of quotation marks since the last reset."""

    def __init__(self, file: io.TextIOWrapper):
        self._file, self.last, self.marks = file, "\n", 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        self.last = next(self._file)
        self.marks += self.last.count('"')
        return self.last


def _ended(rows: Iterator[Row], lines: _Lines, unended: bool) -> Iterator[Row]:
    """Yields the rows; the last one becomes a bad record if the file was cut off in it."""
    before = next(rows, None)
    for row in rows:
        if before is not None:
            yield before
        before = row
    if before is not None:
        cut = not unended and not lines.last.endswith(("\n", "\r"))
        yield (before[0], BadRecord(_CUT)) if cut else before


def _table(path: str, rows: Any, columns: Sequence[str] | None, more: bool, quoted: _Lines | None) -> Iterator[Row]:
    """Yields the rows of a csv.reader as records."""
    while True:
        record: Any
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield f"{path}:{rows.line_num}", BadRecord(f"not CSV ({error})")
            continue
        odd = False
        if quoted is not None:  # quotation marks stand in pairs
            odd, quoted.marks = quoted.marks % 2 == 1, 0
        if not row:
            continue
        if columns is None:
            columns = row
            continue
        if more:
            row = row[: len(columns)]
        if len(row) != len(columns):
            record = BadRecord(f"{len(row)} columns instead of {len(columns)}")
        elif odd:
            record = BadRecord("a quotation mark without its partner")
        elif any(not field.isascii() and not _encodable(field) for field in row):
            record = BadRecord("not UTF-8")
        else:
            record = dict(zip(columns, row, strict=True))
        yield f"{path}:{rows.line_num}", record


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
