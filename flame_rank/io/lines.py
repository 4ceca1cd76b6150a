"""Reads lines of JSONL as objects whose values are not decoded yet, and explains what is wrong with a bad line."""

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from flame_rank.errors import UserError, encodable
from flame_rank.io.streams import DAMAGED, opened
from flame_rank.records import RawFields

PROBLEM = '{"prompt": "...", "candidates": ["..."]}'

_BOM = b"\xef\xbb\xbf"
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


class BadLine(UserError, ValueError):
    """A line that does not have the form of its file: `FILE:LINE: what is wrong; what to do`.

    Attributes:
      file: the file's path, or stdin.
      line_number: the line's number, from 1.
      message: what is wrong with the line and what to do about it.
    """

    def __init__(self, file: str, line_number: int, message: str):
        super().__init__(file, line_number, message)
        self.file, self.line_number, self.message = file, line_number, message

    def __str__(self) -> str:
        return f"{self.file}:{self.line_number}: {self.message}"


class EmptyInput(UserError, ValueError):
    """A file without any good line."""


def name_of(path: str | Path) -> str:
    """Returns a file's name in messages: its path, or stdin for "-"."""
    return "stdin" if str(path) == "-" else encodable(str(path))


def read_objects(path: str | Path, like: str) -> Iterator[tuple[int, RawFields]]:
    """Yields the number (from 1) and the object of each line of a file; skips blank lines.

    Args:
      path: the file, which may be compressed (gz, xz, zst).
      like: an example of a line, for messages.

    Raises:
      BadLine: a line does not hold an object.
      OSError: the file cannot be read.
    """
    file = name_of(path)
    with opened(path, file) as stream:
        for _, number, line in numbered(stream.lines, file):
            try:
                fields = parse(clean(line), like)
            except (ValueError, MemoryError) as error:
                raise BadLine(file, number, wrong(error)) from None
            yield number, RawFields(fields)


def numbered(stream: IO[bytes], file: str) -> Iterator[tuple[int, int, bytes]]:
    """Yields the offset in bytes, the number (from 1) and the bytes of each line that is not blank."""
    offset, number = stream.tell() if stream.seekable() else 0, 0
    try:
        for number, line in enumerate(stream, 1):
            if clean(line):
                yield offset, number, line
            offset += len(line)
    except DAMAGED as error:
        damage = f"damaged: it cannot be decompressed to its end ({error}), after line {number}"
        raise OSError(errno.EIO, damage, file) from error
    except MemoryError as error:
        raise BadLine(file, number + 1, wrong(error)) from None
    except OSError as error:
        raise OSError(error.errno, error.strerror, file) from error


def clean(line: bytes) -> bytes:
    """Strips white space and the byte order mark with which some editors begin a file."""
    return line.removeprefix(_BOM).strip()


def wrong(error: Exception) -> str:
    """Explains the error that a line raised."""
    if isinstance(error, MemoryError):
        return "too large for the memory; remove the line, or split it"
    return "JSON nested too deeply; mend or remove the line" if isinstance(error, RecursionError) else str(error)


def parse(line: bytes, like: str = PROBLEM) -> dict[str, msgspec.Raw]:
    """Splits a clean line into its fields, whose values are not decoded.

    Args:
      like: an example of a line, for messages.

    Raises:
      ValueError: the line is not a JSON object in UTF-8.
    """
    try:
        line.decode()  # msgspec does not look into the strings that it leaves undecoded
        return _OBJECT.decode(line)
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start + 1}; convert the file (iconv -t UTF-8)") from None
    except msgspec.ValidationError:
        if line == b"[" or line.startswith(b"[{"):
            raise ValueError("not a JSON object, but an array; write one object a line (jq -c '.[]' FILE)") from None
        raise ValueError(f"not a JSON object; a line is {like}") from None
    except RecursionError:
        raise ValueError("JSON nested too deeply; mend or remove the line") from None
    except msgspec.DecodeError as error:
        if line == b"{":
            remedy = "write an object that takes several lines as one line (jq -c . FILE)"
            raise ValueError(f"not JSON by itself; {remedy}") from None
        if b"," in line and line[:1] not in b'{["':
            raise ValueError(
                f"not JSON, perhaps CSV; write each row as an object, {like} (csvjson, or pandas' "
                "to_json(orient='records', lines=True))"
            ) from None
        raise ValueError(
            f"not JSON ({error}); mend or remove the line: it must be one whole object, without NaN and without half "
            "of a surrogate pair"
        ) from None
