"""Reads the rows of a parquet file one batch at a time, and writes lines of JSONL as parquet."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

from flame_rank.errors import UserError

_READ = 256  # rows that are read at once
_WRITTEN = 4096  # rows per row group


class Damaged(Exception):
    """A file that cannot be read to its end."""


def read_rows(stream: IO[bytes]) -> Iterator[dict[str, Any]]:
    """Yields the rows of a parquet file.

    Raises:
      Damaged: the file is not complete.
      UserError: pyarrow is not installed.
    """
    arrow = _arrow()
    try:
        for batch in arrow.parquet.ParquetFile(stream).iter_batches(batch_size=_READ):
            yield from _in_microseconds(arrow, batch).to_pylist()
    except (arrow.ArrowException, OSError, ValueError, OverflowError) as error:
        raise Damaged(" ".join(str(error).split())) from error


def _in_microseconds(arrow: Any, batch: Any) -> Any:
    """Casts times in nanoseconds, as pandas writes them, which Python's own types cannot hold."""
    fields = [
        field.with_type(arrow.timestamp("us", field.type.tz))
        if arrow.types.is_timestamp(field.type) and field.type.unit == "ns"
        else field
        for field in batch.schema
    ]
    return arrow.Table.from_batches([batch]).cast(arrow.schema(fields), safe=False)


def write(lines: IO[bytes], path: Path, *, output: Path, kept: Path) -> None:
    """Writes a file of JSONL as parquet. Each field of any line is a column, null in the lines without it.

    The lines are read twice: the first pass finds the type of each column.

    Args:
      output, kept: the names of the output and of the file of lines, for messages.

    Raises:
      UserError: pyarrow is not installed, or the lines cannot be parquet: a field has values of two types, or a number
        that is too large.
    """
    arrow = _arrow()
    schema = arrow.schema([])
    try:
        for table in _tables(arrow, lines, None):
            schema = arrow.unify_schemas([schema, table.schema], promote_options="permissive")
        with arrow.parquet.ParquetWriter(path, schema) as writer:
            for table in _tables(arrow, lines, schema):
                writer.write_table(table)
    except (arrow.ArrowException, OverflowError, ValueError, RecursionError) as error:
        path.unlink(missing_ok=True)
        kinds = "a field has values of two types" if isinstance(error, arrow.ArrowException) else "a value has no place"
        raise UserError(f"{output}: {kinds} ({' '.join(str(error).split())}); {kept} is the output as JSONL") from error


def _tables(arrow: Any, lines: IO[bytes], schema: Any) -> Iterator[Any]:
    lines.seek(0)
    while rows := [json.loads(line) for line in islice(lines, _WRITTEN)]:
        yield arrow.Table.from_pylist(rows, schema) if schema else _table(arrow, rows)


def _table(arrow: Any, rows: list[dict[str, Any]]) -> Any:
    """Makes a table of rows with different fields; `from_pylist` would take only the fields of the first row."""
    names = dict.fromkeys(name for row in rows for name in row)
    return arrow.table({name: [row.get(name) for row in rows] for name in names})


def check_installed() -> None:
    """Raises UserError if pyarrow is not installed."""
    _arrow()


def _arrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UserError("parquet needs pyarrow; pip install 'flame-rank[data]', or use JSONL") from error
    return pyarrow
