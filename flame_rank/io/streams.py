"""Bytes of a file or of standard input, unpacked where their first bytes say that they are packed."""

import errno
import gzip
import io
import lzma
import os
import select
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from flame_rank.errors import UserError

_CHUNK = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Stream:
    """An open file.

    Attributes:
      lines: what is read, line by line.
      twice: it can be sought, and so read again, at no cost.
      ready: of what comes live (a pipe, a terminal): whether a line can be read without waiting for one; None for
        files, which never let one wait.
    """

    lines: IO[bytes]
    twice: bool
    ready: Callable[[], bool] | None = None


def _gzip(stream: IO[bytes]) -> IO[bytes]:
    return cast(IO[bytes], gzip.GzipFile(fileobj=stream))


def _xz(stream: IO[bytes]) -> IO[bytes]:
    return cast(IO[bytes], lzma.LZMAFile(stream))


def _zst(stream: IO[bytes]) -> IO[bytes]:
    return io.BufferedReader(_Zst(stream), _CHUNK)


class _Zst(io.RawIOBase):
    """What frames of zstd hold, one after the other."""

    def __init__(self, packed: IO[bytes]):
        try:
            import zstandard
        except ImportError as error:
            raise UserError("packed by zstd; pip install zstandard, or unpack it first (zstd -d)") from error
        self._packed, self._error = packed, zstandard.ZstdError
        self._begin: Callable[[], Any] = lambda: zstandard.ZstdDecompressor().decompressobj()
        self._frame: Any = None
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            chunk = self._packed.read(_CHUNK)
            if not chunk:
                if self._frame is not None:
                    raise EOFError("it ends in the middle")
                return 0
            while chunk:
                self._frame = self._frame or self._begin()
                try:
                    self._left += self._frame.decompress(chunk)
                except self._error as error:
                    raise zlib.error(str(error)) from error
                chunk = b""
                if self._frame.eof:
                    chunk, self._frame = self._frame.unused_data, None
        taken = self._left[: len(buffer)]
        buffer[: len(taken)] = taken
        self._left = self._left[len(taken) :]
        return len(taken)


_PACKED: dict[bytes, Callable[[IO[bytes]], IO[bytes]]] = {  # by the first bytes
    b"\x1f\x8b": _gzip,
    b"\xfd7zXZ\x00": _xz,
    b"\x28\xb5\x2f\xfd": _zst,
}


# What reading a damaged one raises.
DAMAGED = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)


class _Live(io.RawIOBase):
    """What comes from a pipe or a terminal; waits for it, but where it is asked not to."""

    def __init__(self, file: int):
        self._file = file
        self.waits = True

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if not self.waits and not self.here():
            return None
        taken = os.read(self._file, len(buffer))
        buffer[: len(taken)] = taken
        return len(taken)

    def here(self) -> bool:
        """Whether there is something to read, or nothing will come any more."""
        asking = select.poll()
        asking.register(self._file, select.POLLIN)
        return bool(asking.poll(0))


def _ready(raw: _Live, stream: io.BufferedReader) -> bool:
    raw.waits = False
    try:
        return b"\n" in stream.peek(1) or raw.here()
    finally:
        raw.waits = True


@contextmanager
def opened(path: str | Path, name: str) -> Iterator[Stream]:
    """Opens a file, or standard input for "-".

    Args:
      name: of the file, for messages.

    Raises:
      OSError: it cannot be opened.
      UserError: what unpacks it is not installed.
    """
    given = str(path) == "-"
    if given and sys.stdin is None:
        raise OSError(errno.EBADF, "it is closed", name)
    with nullcontext(sys.stdin.buffer) if given else Path(path).open("rb") as file:
        raw = None if file.seekable() else _Live(file.fileno())
        stream: Any = file if raw is None else io.BufferedReader(raw, _CHUNK)
        try:
            head = stream.peek(8)[:8] if hasattr(stream, "peek") else b""
        except OSError as error:  # a standard input that is open for writing only, say
            raise OSError(error.errno, error.strerror, name) from error
        unpack = next((how for magic, how in _PACKED.items() if head.startswith(magic)), None)
        if unpack is None:
            ready = None if raw is None else partial(_ready, raw, stream)
            found = Stream(lines=stream, twice=stream.seekable(), ready=ready)
        else:
            try:
                found = Stream(lines=unpack(stream), twice=False)
            except UserError as error:
                raise UserError(f"{name}: {error}") from error
        yield found
