"""Refuses a file that a command would use for two things at once."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from flame_rank.errors import UserError

Named: TypeAlias = Mapping[str, str | Path | None]  # role, such as "the output" -> path; "-": a standard stream


def refuse_same(reads: Named, writes: Named, *, stream: int = 1) -> None:
    """Refuses a file with two roles. Files are compared by device and inode, even if a link or a standard stream leads
    to them.

    Args:
      reads: the files that are read; None for a role without a file. Two of these may be the same file.
      writes: the files that are written.
      stream: the number of the stream that "-" means among `writes`.

    Raises:
      UserError: a file of `writes` is the same as another file of `writes` or `reads`.
    """
    known: dict[tuple[object, ...], str] = {}
    for name, path in reads.items():
        if (identity := _identity(path, 0)) is not None:
            known[identity] = name
    for name, path in writes.items():
        if (identity := _identity(path, stream)) is None:
            continue
        if identity in known:
            raise UserError(f"{path}: {name} is the same file as {known[identity]}; name another one")
        known[identity] = name


def _identity(path: str | Path | None, stream: int) -> tuple[object, ...] | None:
    """Returns what is equal for two paths of the same file; None if it may have two roles (a pipe, a terminal,
    /dev/null)."""
    if path is None:
        return None
    try:
        status = os.fstat(stream) if str(path) == "-" else Path(path).stat()
    except FileNotFoundError:
        return ("path", os.path.realpath(path))
    except OSError:  # a closed stream, a folder without permission: opening it will raise the error
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def parts(output: str | Path | None) -> Named:
    """Names the files that an output writes: OUTPUT and, until it is complete, OUTPUT.part."""
    if output is None or str(output) == "-":
        return {"the standard output": "-"}
    return {"the output": output, "what the output is written to first": f"{output}.part"}


def with_log(ledger: str | Path | None) -> Named:
    """Names the files that a ledger writes."""
    names = {"the ledger": "", "the ledger's log": "-wal", "the ledger's index": "-shm"}
    return {name: f"{ledger}{end}" for name, end in names.items()} if ledger is not None else {}
