"""Opens files, addresses, standard input and rows in memory as lines of JSONL.

The first bytes show whether a file is compressed (gz, xz, zst) or parquet.
"""

import errno
import gzip
import io
import lzma
import os
import select
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

import msgspec

from flame_rank.errors import UserError
from flame_rank.io.parquet import Damaged
from flame_rank.io.remote import is_url, remote_file

_CHUNK = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Stream:
    """An open file.

    Attributes:
      lines: the content, to be read line by line.
      twice: whether the file can be read a second time at no cost, because it is seekable.
      ready: for a pipe or a terminal, tells whether a line can be read without waiting; None for files, which never
        make a reader wait.
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
    """Decompresses the frames of a zstd file, one after the other."""

    def __init__(self, packed: IO[bytes]):
        try:
            import zstandard
        except ImportError as error:
            raise UserError("compressed by zstd; pip install zstandard, or decompress it first (zstd -d)") from error
        self._packed, self._error = packed, zstandard.ZstdError
        self._begin: Callable[[], Any] = lambda: zstandard.ZstdDecompressor().decompressobj()
        self._frame: Any = None
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            chunk = self._packed.read(_CHUNK)
            if not chunk:
                if self._frame is not None:
                    raise EOFError("the compressed data end early")
                return 0
            unpacked = []
            while chunk:
                self._frame = self._frame or self._begin()
                try:
                    unpacked.append(self._frame.decompress(chunk))
                except self._error as error:
                    raise zlib.error(str(error)) from error
                chunk = b""
                if self._frame.eof:
                    chunk, self._frame = self._frame.unused_data, None
            self._left = memoryview(b"".join(unpacked))
        taken = self._left[: len(buffer)]
        buffer[: len(taken)] = taken
        self._left = self._left[len(taken) :]  # of a view, which is not copied
        return len(taken)


class _Rows:
    """Rows as lines of JSONL; each is encoded when it is read."""

    def __init__(self, given: Iterable[Any]):
        self._given = given

    def __iter__(self) -> Iterator[bytes]:
        encode = msgspec.json.Encoder(enc_hook=_plain).encode
        for row in self._given:
            yield encode(_fields(row)) + b"\n"

    def seekable(self) -> bool:
        return False


def rows(given: Iterable[Any]) -> Stream:
    """Makes a stream of rows, such as those of a data set.

    Args:
      given: mappings, or objects like vLLM's RequestOutput.
    """
    return Stream(lines=cast(IO[bytes], _Rows(given)), twice=False)


def _fields(row: Any) -> Any:
    """Returns a row as a mapping; vLLM's RequestOutput is converted to one."""
    if hasattr(row, "outputs") and hasattr(row, "prompt"):
        from flame_rank.request_output import fields_of

        return fields_of(row)
    return row


def _plain(value: Any) -> Any:
    """Converts a value that JSON lacks: numpy's to numbers and lists, any other mapping to an object."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "isoformat"):  # a pandas.Timestamp
        return value.isoformat()
    raise TypeError(f"a row holds a {type(value).__name__}, which JSON cannot represent; leave that field out")


def _parquet(stream: IO[bytes]) -> IO[bytes]:
    from flame_rank.io.parquet import read_rows

    if not stream.seekable():
        raise UserError("parquet cannot be read from a pipe; name the file")
    return cast(IO[bytes], _Rows(read_rows(stream)))


_PACKED: dict[bytes, Callable[[IO[bytes]], IO[bytes]]] = {  # by the first bytes of the file
    b"\x1f\x8b": _gzip,
    b"\xfd7zXZ\x00": _xz,
    b"\x28\xb5\x2f\xfd": _zst,
    b"PAR1": _parquet,
}


# The exceptions that reading a damaged file raises.
DAMAGED = (Damaged, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)


class _Live(io.RawIOBase):
    """Reads a pipe or a terminal, and waits for its bytes only while `waits` is true."""

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
        """Tells whether there is something to read, or the other end is closed."""
        asking = select.poll()
        asking.register(self._file, select.POLLIN)
        return bool(asking.poll(0))


def _ready(raw: _Live, stream: io.BufferedReader) -> bool:
    raw.waits = False
    try:
        return b"\n" in stream.peek(1) or raw.here()
    finally:
        raw.waits = True


def _head(stream: Any) -> bytes:
    """Returns the first 8 bytes without consuming them."""
    if hasattr(stream, "peek"):
        return bytes(stream.peek(8)[:8])
    if not stream.seekable():
        return b""
    head = bytes(stream.read(8))
    stream.seek(0)
    return head


@contextmanager
def opened(path: str | Path, name: str) -> Iterator[Stream]:
    """Opens a file, or standard input for "-".

    Args:
      name: the file's name in messages.

    Raises:
      OSError: the file cannot be opened.
      UserError: the package that decompresses the file is not installed.
    """
    given = str(path) == "-"
    if given and sys.stdin is None:
        raise OSError(errno.EBADF, "the stream is closed", name)
    remote = is_url(path)
    with nullcontext(sys.stdin.buffer) if given else remote_file(path) if remote else Path(path).open("rb") as file:
        raw = None if file.seekable() else _Live(file.fileno())
        stream: Any = file if raw is None else io.BufferedReader(raw, _CHUNK)
        try:
            head = _head(stream)
        except OSError as error:  # for example a standard input that is open for writing only
            raise OSError(error.errno, error.strerror, name) from error
        unpack = next((how for magic, how in _PACKED.items() if head.startswith(magic)), None)
        if unpack is None:
            ready = None if raw is None else partial(_ready, raw, stream)
            unpacked = Stream(lines=stream, twice=stream.seekable() and not remote, ready=ready)
        else:
            try:
                unpacked = Stream(lines=unpack(stream), twice=False)
            except UserError as error:
                raise UserError(f"{name}: {error}") from error
        yield unpacked
