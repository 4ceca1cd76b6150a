"""Rankings on a cluster, by Ray Data: lines in, the same lines as `flame-rank rerank` writes out."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from flame_rank.errors import UserError

_COLUMN = "text"  # as ray.data.read_text calls it


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
    """Ranks the problems of a Ray data set, as they stream through.

    Each actor has a judge of its own. What an actor was at work on when it was killed is ranked again by another one:
    a problem is judged at least once, and its record comes once.

    Args:
      ds: rows with the column `text`, a line of JSONL each, as `ray.data.read_text` makes them; or rows that are
        problems themselves (`read_parquet`). `read_json` is not for this: it changes numbers and fills fields in.
        A row is a whole problem; samples of one problem in several rows have to be gathered before.
      judge: what `--judge` takes, or a function f(prompt, pairs) that can be pickled.
      actors: number of judges that work at the same time.
      num_cpus, num_gpus: what an actor takes; a fraction of a GPU lets several share it.
      batch_size: problems that an actor ranks together.
      ledger: a file that keeps every judgement. An actor begins with a copy of it and adds to a file of its own in
        LEDGER.parts, in a folder that all machines see; the next call, or `flame-rank ledger merge`, puts these
        together.
      from_format, requests: as in `flame_rank.read_problems`.
      options: as in `flame_rank.Reranker`.

    Returns:
      A data set with the column `text`, a line for each row, in the order of the rows; lazy, as Ray's are.

    Raises:
      UserError: Ray is not installed, or the ledger is unusable.
    """
    try:
        from ray.data import ActorPoolStrategy
    except ImportError as error:
        raise UserError("rerank_dataset needs Ray; pip install 'flame-rank[ray]'") from error
    folder = None if ledger is None else _gathered(Path(ledger).absolute())
    ds.context.execution_options.preserve_order = True
    settings = {"judge": judge, "ledger": ledger and str(Path(ledger).absolute()), "options": options}
    reading = {"from_format": from_format, "requests": requests}
    return ds.map_batches(
        _Actor,
        fn_constructor_kwargs={**settings, "folder": folder and str(folder), "reading": reading},
        batch_size=batch_size,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(size=actors),
        num_cpus=num_cpus,
        num_gpus=num_gpus,
    )


def _gathered(ledger: Path) -> Path:
    """Adds what the actors of earlier runs have left to a ledger; gives the folder for this run's actors."""
    from flame_rank.ledger.merge import merge

    folder = ledger.with_name(ledger.name + ".parts")
    folder.mkdir(parents=True, exist_ok=True)
    left = sorted(folder.glob("*.db"))
    if left:
        merge(ledger, left)
        for part in left:
            part.unlink()
    return folder


@dataclass
class _Lines:
    """A batch's lines as an iterable of bytes that a stream of problems is read from."""

    table: Any

    def __iter__(self) -> Iterator[Any]:
        import msgspec

        if self.table.column_names == [_COLUMN]:
            for line in self.table.column(_COLUMN).to_pylist():
                yield msgspec.Raw(line.encode())
        else:
            yield from self.table.to_pylist()


class _Actor:
    """A judge at work on one batch after the other."""

    def __init__(
        self, judge: Any, ledger: str | None, folder: str | None, options: dict[str, Any], reading: dict[str, Any]
    ):
        from flame_rank.ranking.reranker import Reranker

        own = None
        if folder is not None and ledger is not None:
            own = Path(folder, f"{uuid4().hex}.db")
            if Path(ledger).exists():
                shutil.copyfile(ledger, own)
        self._reranker, self._reading = Reranker(judge, ledger=own, **options), reading

    def __call__(self, table: Any) -> Any:
        import pyarrow

        from flame_rank.io.jsonl import read_problems
        from flame_rank.io.output import to_lines

        problems = list(read_problems(_Lines(table), **self._reading))
        if len(problems) != len(table):
            raise UserError(
                f"{len(table)} rows are {len(problems)} problems: a row is a whole problem; gather the samples of each "
                "before (ds.groupby)"
            )
        lines = [to_lines(ranking).decode().removesuffix("\n") for ranking in self._reranker.rank_many(problems)]
        return pyarrow.table({_COLUMN: lines})
