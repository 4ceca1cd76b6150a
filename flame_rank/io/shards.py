"""Outputs of the shards of one input, put together again in the order of the input."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from flame_rank.errors import UserError
from flame_rank.io.lines import numbered
from flame_rank.io.streams import opened


def interleaved(files: Sequence[str]) -> Iterator[bytes]:
    """Yields the lines of shards 1/N to N/N, in this order: one of each, again and again.

    Args:
      files: packed or not; as many as there are shards.

    Raises:
      UserError: a file has fewer lines than it is to have, so one is unfinished, missing or out of order. The lines
        before have been yielded.
      OSError: a file cannot be read.
    """
    with ExitStack() as stack:
        shards = [numbered(stack.enter_context(opened(file, file)).lines, file) for file in files]
        count = 0
        while True:
            lines = [next(shard, None) for shard in shards]
            there = [line is not None for line in lines]
            over = any(next(shard, None) for shard in shards) if not all(there) else False
            if over or there != sorted(there, reverse=True):
                raise UserError(
                    f"{files[there.index(False)]}: it ends after {count} lines, and others go on; shards differ by one "
                    "line at most, and those with more come first: is one unfinished, or are they in another order?"
                )
            yield from (line[2].rstrip(b"\r\n") + b"\n" for line in lines if line is not None)
            if not all(there):
                return
            count += 1
