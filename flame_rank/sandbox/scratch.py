"""Measures and removes a folder that an untrusted process wrote, at any depth, without following links or raising
errors."""

import itertools
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MOST_ENTRIES = 10_000  # files and folders of one program
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove(path: str) -> None:
    """Removes a folder with all its content, when no process writes there any more.

    A folder in a folder is moved up before it is emptied, so that neither a path nor the stack grows with the depth.
    """
    with suppress(OSError):
        _remove_entries(path)
        Path(path).rmdir()


def size(path: str, enough: int) -> int:
    """Counts the bytes on disk of a folder that may be changing; returns more than `enough` if it has more than
    MOST_ENTRIES entries."""
    total = count = 0
    waiting = [path]
    while waiting:
        with suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                total, count = total + 512 * status.st_blocks, count + 1
                if total > enough or count > MOST_ENTRIES:
                    return max(total, enough + 1)
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(entry.path)
    return total


def _remove_entries(path: str) -> None:
    top = os.open(path, _FOLDER)
    numbers = itertools.count()
    try:
        while folders := list(_empty(top, top, numbers)):
            for name in folders:
                with suppress(OSError):
                    os.chmod(name, 0o700, dir_fd=top)  # a folder, as the call before saw; nobody changes it now
                inner = os.open(name, _FOLDER, dir_fd=top)
                try:
                    list(_empty(inner, top, numbers))
                finally:
                    os.close(inner)
                os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)


def _empty(folder: int, top: int, numbers: Iterator[int]) -> Iterator[str]:
    """Removes the files of a folder, and yields the names of its folders, which are moved into `top`."""
    for name in os.listdir(folder):
        if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=folder)
            continue
        if folder == top:
            yield name
            continue
        while True:
            moved = f".{next(numbers)}"
            try:
                os.stat(moved, dir_fd=top, follow_symlinks=False)
            except FileNotFoundError:
                break
        with suppress(OSError):
            os.chmod(name, 0o700, dir_fd=folder)  # a folder that may not be written cannot be moved
        os.rename(name, moved, src_dir_fd=folder, dst_dir_fd=top)
        yield moved
