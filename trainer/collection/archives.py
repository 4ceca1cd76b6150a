"""Unpacks downloaded zip and tar archives, without trust in what they hold."""

import errno
import gzip
import lzma
import struct
import tarfile
import zipfile
from pathlib import Path

from flame_rank.errors import UserError
from flame_rank.io.json_file import one_line
from flame_rank.io.streams import DAMAGED

# Text is packed to a tenth of its size, a table of one value to a hundredth: an archive that unpacks to more than RATIO
# times its size plus SLACK bytes is not a data set.
RATIO, SLACK = 500, 100_000_000
_CHUNK = 1 << 20
_NOT_WHOLE = (*DAMAGED, zipfile.BadZipFile, tarfile.TarError, ValueError, IndexError, OverflowError, struct.error)


def unpack(archive: Path, name: Path) -> None:
    """Unpacks a zip or tar file into its folder, after it was read to its end. Entries that would leave the folder are
    not written. Files of other kinds are left as they are.

    Args:
      archive: the file; it is deleted if it is damaged.
      name: the file's later path: the ending says of what kind it is, the folder where its content goes.

    Raises:
      UserError: the archive is damaged, encrypted or packed by an unknown method, or unpacks to too many bytes.
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
        raise UserError(f"{name}: not a whole archive ({one_line(error)}); run it again") from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # it names a position before the file's beginning
            raise
        archive.unlink()
        raise UserError(f"{name}: not a whole archive (it refers to places outside itself); run it again") from error
    except (RuntimeError, NotImplementedError) as error:  # zipfile's errors for a password and for an unknown method
        raise UserError(f"{name}: cannot be unpacked here ({error}); unpack {archive} by hand") from error


def _read_to_its_end(archive: Path, name: Path) -> None:
    """Reads all of a compressed tar file: unpacking stops at the last entry, and the checksum stands behind it."""
    packed = {b"\x1f\x8b": gzip.open, b"\xfd7": lzma.open}
    with archive.open("rb") as file:
        head = file.read(2)
    size = 0
    with packed.get(head, Path.open)(archive, "rb") as content:  # type: ignore[operator]
        while chunk := content.read(_CHUNK):
            size += len(chunk)
            _allow(size, archive, name)


def _allow(size: int, archive: Path, name: Path) -> None:
    if size > RATIO * archive.stat().st_size + SLACK:
        raise UserError(f"{name}: unpacks to {size:,} bytes or more, which is too much for its size; look at {archive}")
