"""Unpacks zip and tar archives that come from elsewhere."""

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

# Text is packed to a tenth, a table of one value to a hundredth: what unpacks to more is not a data set.
RATIO, SLACK = 500, 100_000_000  # bytes for each packed one, and as many more
_CHUNK = 1 << 20
_NOT_WHOLE = (*DAMAGED, zipfile.BadZipFile, tarfile.TarError, ValueError, IndexError, OverflowError, struct.error)


def unpack(archive: Path, name: Path) -> None:
    """Unpacks a zip or tar file into its folder, once all of it was read to its end; of what would go elsewhere
    nothing is written. Files of other kinds are left as they are.

    Args:
      archive: the file; gone if it is not whole.
      name: what it is to be called; its ending says what it is, its folder where it goes.

    Raises:
      UserError: it is not whole, encrypted or packed in an unknown way, or unpacks to more than it may.
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
        if error.errno != errno.EINVAL:  # a place before the file's beginning
            raise
        archive.unlink()
        raise UserError(f"{name}: not a whole archive (it names places outside of itself); run it again") from error
    except (RuntimeError, NotImplementedError) as error:  # what zipfile says of a password and of another method
        raise UserError(f"{name}: cannot be unpacked here ({error}); unpack {archive} by hand") from error


def _read_to_its_end(archive: Path, name: Path) -> None:
    """Reads what is below a tar file: unpacking stops at its last entry, and the checksum stands behind that."""
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
        raise UserError(f"{name}: unpacks to more than {size:,} bytes, too much for its size; look at {archive}")
