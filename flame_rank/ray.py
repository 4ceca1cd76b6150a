"""Ranks on a cluster with Ray Data; the output has the same lines as that of `flame-rank rerank`."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from flame_rank.errors import UserError
from flame_rank.io.lines import BadLine

if TYPE_CHECKING:
    from flame_rank.ranking.reranker import Reranker
    from flame_rank.records import Problem, Ranking

COLUMN = "text"  # as ray.data.read_text calls it


def rerank_dataset(
    ds: Any,
    *,
    judge: Any = "default",
    actors: int = 1,
    num_cpus: float | None = 1,
    num_gpus: float | None = None,
    batch_size: int = 256,
    ledger: str | Path | None = None,
    from_format: str | None = None,
    requests: str | Path | None = None,
    **options: Any,
) -> Any:
    """Ranks the problems of a Ray data set as a stream.

    Each actor has its own judge. If an actor is killed, another one ranks its current problems again: a problem may be
    judged twice, but its record is written once.

    Args:
      ds: rows with a line of JSONL in the column `text`, as `ray.data.read_text` makes them, or rows that are problems
        themselves (`read_parquet`). Do not use `read_json`: it changes numbers and adds fields. A row is a whole
        problem; if the samples of a problem are in several rows, group them first.
      judge: what `--judge` takes, or a function f(prompt, pairs) that can be pickled.
      actors: the number of judges that work at the same time.
      num_cpus, num_gpus: the resources of an actor; with a fraction of a GPU several actors share it.
      batch_size: the number of problems that an actor ranks together.
      ledger: a file that keeps every judgement, in a folder that all machines share. An actor begins with a copy of it
        and writes its own file in LEDGER.parts; the next call, or `flame-rank ledger merge`, merges these files.
      from_format, requests: as in `flame_rank.read_problems`.
      options: as in `flame_rank.Reranker`.

    Returns:
      A lazy data set with the column `text`, a line for each row, in the order of the rows.

    Raises:
      UserError: Ray is not installed, or the ledger cannot be used.
    """
    from flame_rank.io.jsonl import read_problems
    from flame_rank.io.output import to_lines

    work = Work(
        make=partial(_reranker, judge, options),
        read=partial(read_problems, from_format=from_format, requests=requests),
        write=to_lines,
    )
    size = {"num_cpus": num_cpus, "num_gpus": num_gpus, "batch_size": batch_size}
    return rank_rows(ds, work, actors=actors, ledger=ledger, **size)


@dataclass(frozen=True, kw_only=True)
class Work:
    """What an actor does with a batch; all of it can be pickled.

    Attributes:
      make: makes the reranker, with the file of a ledger or None.
      read: makes problems from lines or rows.
      write: makes the lines of a ranking.
      count: encodes the counts of a ranking, given the numbers of comparisons of its batch that the ledger answered and
        that failed in earlier runs; None if nothing is counted.
    """

    make: "Callable[[Path | None], Reranker]"
    read: "Callable[[Iterable[Any]], Iterator[Problem]]"
    write: "Callable[[Ranking], bytes]"
    count: "Callable[[Ranking, int, int], bytes] | None" = None


def rank_rows(ds: Any, work: Work, *, actors: int, ledger: str | Path | None, **size: Any) -> Any:
    """Maps the rows of a Ray data set to lines; arguments as in `rerank_dataset`.

    Returns:
      A data set with the column `text` and, if something is counted, the column `count`.
    """
    try:
        from ray.data import ActorPoolStrategy
    except ImportError as error:
        raise UserError("Ray is not installed; pip install 'flame-rank[ray]'") from error
    path = None if ledger is None else Path(ledger).absolute()
    if path is not None:
        gather(path).mkdir(parents=True, exist_ok=True)
    ds.context.execution_options.preserve_order = True
    return ds.map_batches(
        _Actor,
        fn_constructor_args=(work, path, os.getcwd()),  # noqa: PTH109 (a text, which every system can read)
        batch_format="pyarrow",
        compute=ActorPoolStrategy(size=actors),
        **size,
    )


def gather(ledger: Path) -> Path:
    """Adds to a ledger the judgements that actors wrote to files of their own, and removes those files that no actor
    writes any more; returns the folder of the files."""
    from flame_rank.ledger.file import ended
    from flame_rank.ledger.merge import merge

    folder = ledger.with_name(ledger.name + ".parts")
    for part in sorted(folder.glob("*.db")):
        is_complete = ended(part)
        merge(ledger, [part])
        if is_complete:
            part.unlink(missing_ok=True)
    with suppress(OSError):  # it does not exist, or an actor of another run writes there
        folder.rmdir()
    return folder


def _reranker(judge: Any, options: dict[str, Any], ledger: Path | None) -> "Reranker":
    from flame_rank.ranking.reranker import Reranker

    return Reranker(judge, ledger=ledger, **options)


@dataclass
class _Lines:
    """The lines of a batch as a stream of bytes from which problems are read."""

    table: Any

    def __iter__(self) -> Iterator[Any]:
        import msgspec

        if self.table.column_names == [COLUMN]:
            for line in self.table.column(COLUMN).to_pylist():
                yield msgspec.Raw(line.encode())
        else:
            yield from self.table.to_pylist()


class _Actor:
    """A judge that ranks one batch after the other."""

    def __init__(self, work: Work, ledger: Path | None, folder: str):
        with suppress(OSError):  # of another machine
            os.chdir(folder)
        from flame_rank.ledger.merge import merge

        own = None
        if ledger is not None:
            own = ledger.with_name(ledger.name + ".parts") / f"{uuid4().hex}.db"
            if ledger.exists():  # a copy of the file alone would lack what is in its log
                merge(own, [ledger])
        self._work = work
        self._reranker: Reranker | UserError
        try:
            self._reranker = work.make(own)
        except UserError as error:  # raised with the first batch, because Ray restarts an actor whose start fails
            self._reranker = error

    def __call__(self, table: Any) -> Any:
        import pyarrow

        if isinstance(self._reranker, UserError):
            raise self._reranker
        problems = self._read(table)
        before = self._reranker.remembered, self._reranker.failed_before
        rankings = list(self._reranker.rank_many(problems))
        columns: dict[str, Sequence[Any]] = {
            COLUMN: [self._work.write(ranking).decode().removesuffix("\n") for ranking in rankings]
        }
        if self._work.count is not None:
            remembered = self._reranker.remembered - before[0], self._reranker.failed_before - before[1]
            own = [remembered, *[(0, 0)] * (len(rankings) - 1)]
            columns["count"] = [self._work.count(ranking, *r) for ranking, r in zip(rankings, own, strict=True)]
        return pyarrow.table(columns)

    def _read(self, table: Any) -> "list[Problem]":
        """Raises UserError if a row is no problem."""
        try:
            problems = list(self._work.read(_Lines(table)))
        except BadLine as error:
            row = str(table.slice(error.line_number - 1, 1).to_pylist()[0])
            raise UserError(f"{error.message} (the row {row[:200]})") from None
        if len(problems) != len(table):
            raise UserError(
                f"{len(table)} rows hold {len(problems)} problems, but each row must be a whole problem; group the "
                "samples of a problem first (ds.groupby)"
            )
        return problems
