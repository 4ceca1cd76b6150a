"""Unpacks downloaded zip and tar archives without trusting their content."""

import errno
import gzip
import lzma
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

from flame_rank.errors import UserError
from flame_rank.io.json_file import one_line
from flame_rank.io.streams import DAMAGED

# Text is packed to a tenth of its size, a table of one value to a hundredth: an archive that unpacks to more than RATIO
# times its size plus SLACK bytes is not a data set.
RATIO, SLACK = 500, 100_000_000
_CHUNK = 1 << 20
_NOT_WHOLE = (*DAMAGED, zipfile.BadZipFile, tarfile.TarError, ValueError, IndexError, OverflowError, struct.error)


def unpack(archive: Path, name: Path) -> None:
    """Reads a zip or tar file to its end and then unpacks it into its folder. Entries with a path outside that folder
    are not written. Files of other kinds are left unchanged.

    Args:
      archive: the file; it is deleted if it is damaged.
      name: the file's final path: its ending shows the kind of archive, and its folder receives the content.

    Raises:
      UserError: the archive is damaged, encrypted or compressed by an unknown method, or its content is too large.
    """
    try:
        if name.suffix == ".zip":
            with zipfile.ZipFile(archive) as content:
                _allow(sum(entry.file_size for entry in content.infolist()), archive, name)
                if (bad := content.testzip()) is not None:
                    raise zipfile.BadZipFile(f"{bad} is damaged")
                content.extractall(name.parent)
        elif ".tar" in name.suffixes or name.suffix == ".tgz":
            _read_to_its_end(archive, name)
            with tarfile.open(archive) as members:
                members.extractall(name.parent, filter="data")
    except _NOT_WHOLE as error:
        archive.unlink()
        raise UserError(f"{name}: incomplete or damaged archive ({one_line(error)}); run the command again") from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # it names a position before the file's beginning
            raise
        archive.unlink()
        raise UserError(
            f"{name}: damaged archive (it refers to places outside itself); run the command again"
        ) from error
    except (RuntimeError, NotImplementedError) as error:  # zipfile's errors for a password and for an unknown method
        raise UserError(f"{name}: cannot be unpacked here ({error}); unpack {archive} by hand") from error


def _read_to_its_end(archive: Path, name: Path) -> None:
    """Reads a compressed tar file to its end, because unpacking stops at the last entry, before the checksum."""
    packed: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"\xfd7": lzma.open}
    with archive.open("rb") as file:
        head = file.read(2)
    size = 0
    with packed.get(head, Path.open)(archive, "rb") as content:
        while chunk := content.read(_CHUNK):
            size += len(chunk)
            _allow(size, archive, name)


def _allow(size: int, archive: Path, name: Path) -> None:
    if size > RATIO * archive.stat().st_size + SLACK:
        raise UserError(f"{name}: unpacks to {size:,} bytes or more, which is too much for its size; look at {archive}")
