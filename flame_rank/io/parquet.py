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
            yield from batch.to_pylist()
    except (arrow.ArrowException, OSError) as error:
        raise Damaged(" ".join(str(error).split())) from error


def write(lines: Path, path: Path) -> None:
    """Writes a file of JSONL as parquet. Each field of any line is a column, null in the lines without it.

    The lines are read twice: the first pass finds the type of each column.

    Raises:
      UserError: pyarrow is not installed, or a field has values of two types.
    """
    arrow = _arrow()
    schema = arrow.schema([])
    try:
        for table in _tables(arrow, lines, None):
            schema = arrow.unify_schemas([schema, table.schema], promote_options="permissive")
        with arrow.parquet.ParquetWriter(path, schema) as writer:
            for table in _tables(arrow, lines, schema):
                writer.write_table(table)
    except arrow.ArrowException as error:
        path.unlink(missing_ok=True)
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path}: a field has values of two types ({reason}); {lines} is the output as JSONL"
        ) from error


def _tables(arrow: Any, lines: Path, schema: Any) -> Iterator[Any]:
    with lines.open("rb") as file:
        while rows := [json.loads(line) for line in islice(file, _WRITTEN)]:
            yield arrow.Table.from_pylist(rows, schema) if schema else _table(arrow, rows)


def _table(arrow: Any, rows: list[dict[str, Any]]) -> Any:
    """Makes a table of rows with different fields; `from_pylist` would take only the fields of the first row."""
    names = dict.fromkeys(name for row in rows for name in row)
    return arrow.table({name: [row.get(name) for row in rows] for name in names})


def _arrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UserError("parquet needs pyarrow; pip install 'flame-rank[data]', or use JSONL") from error
    return pyarrow
