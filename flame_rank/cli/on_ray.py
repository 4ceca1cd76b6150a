"""`flame-rank rerank --ray`: the same lines from several judges at once, each in a worker of a Ray cluster."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from flame_rank.cli.summary import Count
from flame_rank.errors import UserError
from flame_rank.fields import described

if TYPE_CHECKING:
    from flame_rank.cli.options import InputOptions
    from flame_rank.ray import Work
    from flame_rank.records import Ranking

_SPARE = 2  # processors for what reads and splits lines: with none left for that, Ray waits for ever
_COUNT = msgspec.json.Decoder(Count)


@dataclass(frozen=True, kw_only=True)
class RayOptions:
    """How many judges work on a Ray cluster, and with which resources."""

    actors: int | None = described(
        None,
        "Rank on a Ray cluster (that of RAY_ADDRESS, or a local one), with this many judges at once. Each line of FILE "
        "must be a whole problem. A judgement may be asked again if a worker is lost; each record is written once.",
        automatic="rank in this process",
        unit="JUDGES",
        option="--ray",
        least=1,
    )
    gpus: float | None = described(
        None,
        "For --ray, the share of a GPU that each judge takes, such as 0.5.",
        automatic="none",
        unit="GPUS",
        option="--ray-gpus",
        above=0,
    )

    def rank(
        self, file: str, work: "Work", input_options: "InputOptions", ledger: str | Path | None
    ) -> Iterator[tuple[bytes, Count]]:
        """Yields the lines of each problem and its counts, in the order of the file.

        Args:
          file: JSONL, compressed if its name says so (.gz); a path that all machines see, or an address.
          work: what each worker does.
          input_options: how the file is read; options that choose lines are refused.
          ledger: the file to which every judgement is added at the end.

        Raises:
          UserError: Ray is not installed, an option is given that works only in a single process, or a worker has
            failed.
        """
        if file == "-":
            raise UserError("--ray reads a file, which all workers see; name it instead of standard input")
        if input_options.shard is not None or input_options.on_bad_line != "fail":
            raise UserError("--ray takes no --shard and no --on-bad-line: every line of the file is ranked")
        from flame_rank.ray import COLUMN, gather, rank_rows

        size = {"num_cpus": 1, "num_gpus": self.gpus, "batch_size": 64}
        with _cluster(self.actors or 1) as data:
            path = file if "://" in file else str(Path(file).absolute())
            rows = rank_rows(data.read_text(path), work, actors=self.actors or 1, ledger=ledger, **size)
            for batch in rows.iter_batches(batch_size=None, batch_format="pyarrow"):
                for text, count in zip(batch.column(COLUMN), batch.column("count"), strict=True):
                    lines = text.as_py().encode()
                    yield lines + b"\n" if lines else b"", _COUNT.decode(count.as_py())
        if ledger is not None:
            gather(Path(ledger).absolute())


def count(ranking: "Ranking", remembered: int, failed_before: int) -> bytes:
    """Encodes the counts of a ranking, which a worker sends."""
    return msgspec.json.encode(Count.of(ranking, remembered, failed_before))


@contextmanager
def _cluster(actors: int) -> Iterator[Any]:
    """Connects to the cluster, or starts one on this machine; returns ray.data."""
    try:
        import ray
        import ray.data
        from ray.exceptions import RayError
    except ImportError as error:
        raise UserError("--ray needs Ray; pip install 'flame-rank[ray]'") from error
    own = not ray.is_initialized()
    if own:
        quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
        try:
            ray.init("auto", **quiet)
        except ConnectionError:  # there is none yet
            ray.init(num_cpus=actors + _SPARE, include_dashboard=False, **quiet)
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # errors are reported once, below
    try:
        yield ray.data
    except RayError as error:
        raise UserError(f"a worker has failed: {_reason(error)}") from error
    finally:
        if own:
            ray.shutdown()


def _reason(error: BaseException) -> str:
    """Returns a user's mistake, or the first error of a worker, from the text of the error: only some versions of Ray
    attach the worker's own error. Ray's errors and advice stand at the end of the text."""
    lines = str(error).strip().splitlines()
    errors = [line for line in lines if re.match(r"[\w.]+(?:Error|Exception): ", line)]
    mistakes = [line.partition(": ")[2] for line in errors if line.startswith(f"{UserError.__module__}.")]
    return [*mistakes, *errors, *lines[-1:]][0]
