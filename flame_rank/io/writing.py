"""Files and folders that one process at a time writes, and that are never half there."""

import ctypes
import fcntl
import os
import shutil
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from flame_rank.errors import UserError

_LINUX = sys.platform == "linux"
_HERE, _EXCHANGE = -100, 2  # of renameat2: <fcntl.h>, <linux/fs.h>
_HELD: set[tuple[int, int]] = set()  # device and inode: the system's locks do not hold within one process


def lock(path: Path) -> int:
    """Opens a file to write, made where there is none, for this process alone: until `release`, or until the process
    ends, however it ends.

    Returns:
      its descriptor.

    Raises:
      UserError: another one has it; the process is named.
      OSError: it cannot be opened.
    """
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            here = _inode(os.fstat(file))
            if here in _HELD or not _locked(file):
                who = os.getpid() if here in _HELD else _holder(file)
                by = f"process {who}" if who else "another process"
                raise UserError(f"{path}: {by} is writing it; wait for its end, or name another")
            if here == _inode(path.stat()):
                _HELD.add(here)
                return file
        except FileNotFoundError:  # as is the case below: it was renamed between opening and locking
            pass
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def release(file: int) -> None:
    """Closes what `lock` opened."""
    _HELD.discard(_inode(os.fstat(file)))
    os.close(file)


def _inode(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _locked(file: int) -> bool:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _holder(file: int) -> int:
    """Which process has locked a file; 0 where the system does not say."""
    if not _LINUX:
        return 0
    form = "hhqqi"  # struct flock: type, whence, start, length, process
    with suppress(OSError):
        asked = struct.pack(form, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        return int(struct.unpack(form, fcntl.fcntl(file, fcntl.F_GETLK, asked))[-1])
    return 0


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """A folder, there or not, for this process alone.

    Raises:
      UserError: another process writes to it.
    """
    beside = folder.absolute().with_name(f"{folder.absolute().name}.lock")
    beside.parent.mkdir(parents=True, exist_ok=True)
    try:
        file = lock(beside)
    except UserError as error:
        raise UserError(str(error).replace(str(beside), str(folder), 1)) from None
    try:
        yield
    finally:
        beside.unlink(missing_ok=True)
        release(file)


def part_of(path: Path) -> Path:
    """The name under which a file or a folder is written until it is whole: PATH.part, beside it."""
    return path.with_name(path.name + ".part")


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file beside its place and renames it, so that it is never half there; makes its folder if needed.

    What is there and is no file, such as a pipe or /dev/null, is written to and stays what it is.

    Args:
      content: text is written as UTF-8.

    Raises:
      UserError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(path) if path.is_file() or not path.exists() else path
    try:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise UserError(f"{part}: {error.strerror or error}") from error
    if part != path:
        part.replace(path)


def put(part: Path, folder: Path) -> None:
    """Moves a folder to where another may be, which is then gone. On Linux there is no moment without one of the two;
    elsewhere FOLDER.old may be all that a kill leaves, and `bring_back` makes it FOLDER."""
    if not folder.exists():
        part.rename(folder)
        return
    if _exchanged(part, folder):
        shutil.rmtree(part)
        return
    old = _old(folder)
    shutil.rmtree(old, ignore_errors=True)
    folder.rename(old)
    part.rename(folder)
    shutil.rmtree(old)


def bring_back(folder: Path) -> None:
    """Undoes a `put` that was killed between its two renames."""
    if not folder.exists() and _old(folder).exists():
        _old(folder).rename(folder)


def _old(folder: Path) -> Path:
    return folder.with_name(folder.name + ".old")


def _exchanged(one: Path, other: Path) -> bool:
    """Whether two names were exchanged, at once."""
    try:
        rename = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError):
        return False
    return bool(rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0)
