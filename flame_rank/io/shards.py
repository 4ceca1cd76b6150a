"""Merges the outputs of the shards of one input in the order of that input."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from flame_rank.errors import UserError
from flame_rank.io.lines import numbered
from flame_rank.io.streams import opened


def interleaved(files: Sequence[str]) -> Iterator[bytes]:
    """Yields one line of each of the shards 1/N to N/N in turn, until all are at their end.

    Args:
      files: the outputs of all N shards in their order; each may be compressed.

    Raises:
      UserError: the numbers of lines do not fit together, so a file is incomplete, missing or out of order. The lines
        before that point have been yielded.
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
                    f"{files[there.index(False)]}: it ends after {count} lines, but others have more; shards differ by "
                    "one line at most, and the longer ones come first: check that each file is complete, and that "
                    "their order is right"
                )
            yield from (line[2].rstrip(b"\r\n") + b"\n" for line in lines if line is not None)
            if not all(there):
                return
            count += 1
