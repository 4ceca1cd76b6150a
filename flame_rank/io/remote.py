"""Reads and writes files at an address, such as s3://bucket/samples.jsonl, with fsspec."""

import errno
from pathlib import Path
from typing import IO, Any, cast

from flame_rank.errors import UserError

_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "hf": "huggingface_hub", "abfs": "adlfs"}


def is_url(path: str | Path | None) -> bool:
    """Tells whether a path is an address: SCHEME://..."""
    return "://" in str(path)


def remote_file(path: str | Path) -> IO[bytes]:
    """Opens a file at an address for reading.

    Raises:
      UserError: the package for this kind of address is not installed, or the address cannot be reached.
    """
    system, name = _system(str(path))
    try:
        return cast(IO[bytes], system.open(name, "rb"))
    except OSError as error:  # some have neither a number nor a name
        missing = isinstance(error, FileNotFoundError)
        reason = error.strerror or ("no such file" if missing else str(error))
        raise OSError(error.errno or (errno.ENOENT if missing else errno.EIO), reason, str(path)) from error
    except Exception as error:  # each store has its own errors
        raise UserError(
            f"{path}: it cannot be opened ({type(error).__name__}: {' '.join(str(error).split())})"
        ) from error


def put_file(local: Path, path: str | Path) -> None:
    """Copies a local file to an address, which then holds the whole file or is unchanged.

    Raises:
      UserError: the address cannot be written.
    """
    try:
        system, name = _system(str(path))
        system.put_file(str(local), name)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path}: it cannot be written ({type(error).__name__}: {reason}); the whole output is in {local}"
        ) from error


def check_address(path: str | Path) -> None:
    """Raises UserError if the address has no file's name, or the package for this kind of address is not installed."""
    _system(str(path))
    if not str(path).rsplit("/", 1)[-1]:
        raise UserError(f"{path}: an address must end in a file's name")


def _system(path: str) -> tuple[Any, str]:
    """Returns the file system of an address, and the file's name in it."""
    scheme = path.split("://", 1)[0]
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise UserError(f"{path}: an address needs fsspec; pip install 'flame-rank[remote]'") from error
    try:
        system, name = url_to_fs(path)
    except ImportError as error:
        raise UserError(
            f"{path}: {scheme}:// needs another package; pip install {_PACKAGES.get(scheme, scheme)}"
        ) from error
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
    return system, str(name)
