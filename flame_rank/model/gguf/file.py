"""Reads the header of a GGUF file: its metadata, and where its tensors are. Must agree with the format's description in
ggml (docs/gguf.md), versions 2 and 3.

`gguf.GGUFReader` is not used, because it makes several arrays for every token of a vocabulary: that takes four seconds
for 50,000 tokens and eleven for 150,000.
"""

import mmap
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from flame_rank.io.json_file import one_line

SUFFIX = ".gguf"
_MAGIC = b"GGUF"
# The format's numbers for the types of values.
_SCALARS = {
    0: "<u1",
    1: "<i1",
    2: "<u2",
    3: "<i2",
    4: "<u4",
    5: "<i4",
    6: "<f4",
    7: "?",
    10: "<u8",
    11: "<i8",
    12: "<f8",
}
_STRING, _ARRAY = 8, 9
_MOST = 2**24  # entries of a list, metadata or tensors: a file with more is damaged


@dataclass(frozen=True, kw_only=True)
class Described:
    """A tensor as the header describes it.

    Attributes:
      shape: as in numpy, rows first; in the file the order is reversed.
      kind: the format's number for its type.
      begin: the position of its first byte in the file.
    """

    shape: tuple[int, ...]
    kind: int
    begin: int


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a GGUF file states before its weights.

    Attributes:
      metadata: numbers, strings, and lists of them (numpy arrays for numbers).
      raw: the bytes of the header, from the start of the file.
    """

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, Described]
    raw: bytes

    def get(self, key: str, kind: type | tuple[type, ...], default: Any = None) -> Any:
        """Returns a value of the metadata, or the default if it is missing.

        Raises:
          ValueError: the value has another type than the default.
        """
        if key not in self.metadata:
            return default
        value = self.metadata[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            shown = f"a list of {len(value)}" if isinstance(value, list | np.ndarray) else repr(value)
            raise ValueError(f"{self.path}: {key} = {shown} is of another type than expected")
        return value


def is_gguf(path: Path) -> bool:
    """Tells whether a path names a single file of weights instead of a checkpoint directory."""
    return path.suffix.lower() == SUFFIX and not path.is_dir()


def read(path: Path) -> Header:
    """Reads the header of a GGUF file; no weight is read.

    Raises:
      OSError: the file is missing or unreadable.
      ValueError: the file is not a complete GGUF file of a supported version; the message names it.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path}: not a regular file")
    return _read(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1)  # configuration, tokenizer, template, weights and identity of a judge are read separately
def _read(path: Path, size: int, changed: int) -> Header:
    with path.open("rb") as stream:
        _check(path, stream.read(8))
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return _parsed(path, _Reader(data))
            except (struct.error, IndexError) as error:
                raise ValueError(f"{path}: cut off in its header ({size} bytes); download it again") from error
            except (UnicodeDecodeError, OverflowError, MemoryError) as error:
                raise ValueError(f"{path}: its header is damaged ({error}); download it again") from error


def _check(path: Path, start: bytes) -> None:
    if start == b"version ":
        raise ValueError(f"{path}: a Git LFS pointer, not the weights; fetch them with `git lfs pull`")
    if start[:4] != _MAGIC:
        raise ValueError(f"{path}: not a GGUF file (it does not begin with {_MAGIC.decode()})")
    if len(start) < 8:
        raise ValueError(f"{path}: cut off in its header ({len(start)} bytes); download it again")
    version = int.from_bytes(start[4:], "little")
    if version & 0xFFFF == 0:
        raise ValueError(f"{path}: a big-endian GGUF file; only little-endian ones are read")
    if version not in (2, 3):
        raise ValueError(f"{path}: version {version} of GGUF, but only versions 2 and 3 are read; convert it again")


class _Reader:
    """Reads numbers and strings one after another."""

    def __init__(self, data: mmap.mmap):
        self.data, self.at = data, 8

    def number(self, layout: struct.Struct) -> int:
        (value,) = layout.unpack_from(self.data, self.at)
        self.at += layout.size
        return int(value)

    def count(self) -> int:
        count = self.number(_U64)
        if count > _MOST:
            raise OverflowError(f"a list of {count} values")
        return count

    def string(self) -> str:
        return self.strings(1)[0]

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.string()
        if kind != _ARRAY:
            return self.numbers(kind, 1)[0].item()
        kind, count = self.number(_U32), self.count()
        return self.strings(count) if kind == _STRING else self.numbers(kind, count)

    def strings(self, count: int) -> list[str]:
        texts, at, data, size = [], self.at, self.data, _U64.unpack_from  # local: a vocabulary has 300,000 of them
        for _ in range(count):
            end = at + 8 + size(data, at)[0]
            texts.append(data[at + 8 : end].decode())
            at = end
        self.at = at
        if at > len(data):
            raise IndexError
        return texts

    def numbers(self, kind: int, count: int) -> Any:
        if kind not in _SCALARS:
            raise OverflowError(f"a value of type {kind}")
        dtype = np.dtype(_SCALARS[kind])
        begin, self.at = self.at, self.at + count * dtype.itemsize
        if self.at > len(self.data):
            raise IndexError
        return np.frombuffer(self.data[begin : self.at], dtype)


_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")


def _parsed(path: Path, reader: _Reader) -> Header:
    tensor_count, key_count = reader.count(), reader.count()
    metadata = dict(_distinct(path, ((reader.string(), reader.value(reader.number(_U32))) for _ in range(key_count))))
    entries = list(_distinct(path, (_entry(reader) for _ in range(tensor_count))))
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or not 0 < alignment <= 2**20 or alignment & (alignment - 1):
        raise ValueError(f"{path}: general.alignment = {alignment!r}, not a power of two")
    start = -(-reader.at // alignment) * alignment
    tensors: dict[str, Described] = {}
    for name, (shape, kind, offset) in entries:
        if offset % alignment:
            raise ValueError(f"{path}: {name} is at byte {offset} of the weights, not a multiple of {alignment}")
        tensors[name] = Described(shape=shape, kind=kind, begin=start + offset)
    return Header(path=path, metadata=metadata, tensors=tensors, raw=reader.data[: reader.at])


def _entry(reader: _Reader) -> tuple[str, tuple[tuple[int, ...], int, int]]:
    name, rank = one_line(reader.string()), reader.number(_U32)
    if rank > 4:
        raise OverflowError(f"a tensor of {rank} dimensions")
    shape = tuple(reader.number(_U64) for _ in range(rank))[::-1]
    return name, (shape, reader.number(_U32), reader.number(_U64))


def _distinct(path: Path, pairs: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    seen = set()
    for name, value in pairs:
        if name in seen:
            raise ValueError(f"{path}: names {one_line(name)} twice")
        seen.add(name)
        yield name, value
