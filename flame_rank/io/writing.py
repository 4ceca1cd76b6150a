"""Writes files and folders such that they are never incomplete and one process at a time writes them."""

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
_SYSTEMS = ("/dev/", "/proc/")
_HERE, _EXCHANGE = -100, 2  # arguments of renameat2: <fcntl.h>, <linux/fs.h>
_HELD: set[tuple[int, int]] = set()  # device and inode, since the system's locks have no effect within one process


def lock(path: Path) -> int:
    """Opens a file for writing by this process alone, until `release` or the end of the process; makes the file if it
    is missing.

    Returns:
      The file descriptor.

    Raises:
      UserError: another process has locked the file; the message names the process.
      OSError: the file cannot be opened.
    """
    while True:
        with suppress(FileNotFoundError):  # before it is opened: closing any descriptor of a file ends its lock
            if _inode(path.stat()) in _HELD:
                raise _taken(path, os.getpid())
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            here = _inode(os.fstat(file))
            if not _locked(file):
                raise _taken(path, _holder(file))
            if here == _inode(path.stat()):
                _HELD.add(here)
                return file
        except FileNotFoundError:  # the file was renamed between opening and locking, as below
            pass
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _taken(path: Path, process: int) -> UserError:
    by = f"process {process}" if process else "another process"
    return UserError(f"{path}: {by} is writing it; wait for its end, or name another file")


def release(file: int) -> None:
    """Closes a file that `lock` opened, and unlocks it."""
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
    """Returns the number of the process that has locked a file; 0 if the system does not report it."""
    if not _LINUX:
        return 0
    form = "hhqqi"  # struct flock: type, whence, start, length, process
    with suppress(OSError):
        asked = struct.pack(form, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        return int(struct.unpack(form, fcntl.fcntl(file, fcntl.F_GETLK, asked))[-1])
    return 0


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Reserves a folder, which may not exist yet, for this process alone.

    Raises:
      UserError: another process writes to the folder.
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
    """Returns the name of a file or folder while it is being written: PATH.part, in the same folder."""
    return path.with_name(path.name + ".part")


def places(path: Path) -> tuple[Path, Path | None]:
    """Returns the file that PATH names, behind a link, and the file to write first and rename to it.

    The second is None where PATH is written to directly: a pipe, /dev/null, or a link of the system's own, such as
    /dev/stdout, whose name would be taken from it.
    """
    if path.is_symlink():
        if str(path.absolute()).startswith(_SYSTEMS) or os.readlink(path).startswith(_SYSTEMS):  # noqa: PTH115 (a text)
            return path, None
        path = path.resolve()
    return path, part_of(path) if path.is_file() or not path.exists() else None


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes PATH.part and renames it to PATH, so that PATH is never incomplete; makes the folder if needed. What
    `places` says is written to directly.

    Args:
      content: text is written as UTF-8.

    Raises:
      UserError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path, part = places(path)
    try:
        (part or path).write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise UserError(f"{part or path}: {error.strerror or error}") from error
    if part is not None:
        part.replace(path)


def put(part: Path, folder: Path) -> None:
    """Replaces a folder by another one, `part`; the old one is deleted.

    On Linux the two are exchanged in one step. Elsewhere, if the process is killed in between, only FOLDER.old may be
    left, and `bring_back` renames it to FOLDER.
    """
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
    """Restores a folder if `put` was killed between its two renames."""
    if not folder.exists() and _old(folder).exists():
        _old(folder).rename(folder)


def _old(folder: Path) -> Path:
    return folder.with_name(folder.name + ".old")


def _exchanged(first: Path, second: Path) -> bool:
    """Exchanges two names in one step, and tells whether the system could do so."""
    try:
        rename = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError):
        return False
    return bool(rename(_HERE, os.fsencode(first), _HERE, os.fsencode(second), _EXCHANGE) == 0)
