"""Files at an address, such as s3://bucket/samples.jsonl, by fsspec."""

from pathlib import Path
from typing import IO, Any, cast

from flame_rank.errors import UserError

_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "hf": "huggingface_hub", "abfs": "adlfs"}


def is_url(path: str | Path | None) -> bool:
    """Whether a path is an address: SCHEME://..."""
    return "://" in str(path)


def remote_file(path: str | Path) -> IO[bytes]:
    """Opens a file at an address, to be read.

    Raises:
      UserError: what reaches it is not installed, or it cannot be reached.
    """
    system, name = _system(str(path))
    try:
        return cast(IO[bytes], system.open(name, "rb"))
    except OSError:
        raise
    except Exception as error:  # each store has its own errors
        raise UserError(
            f"{path}: it cannot be opened ({type(error).__name__}: {' '.join(str(error).split())})"
        ) from error


def put_file(local: Path, path: str | Path) -> None:
    """Copies a file to an address, where it is there at once or not at all.

    Raises:
      UserError: it cannot be written.
    """
    system, name = _system(str(path))
    try:
        system.put_file(str(local), name)
    except Exception as error:
        said = " ".join(str(error).split())
        raise UserError(
            f"{path}: it cannot be written ({type(error).__name__}: {said}); all of it is in {local}"
        ) from error


def _system(path: str) -> tuple[Any, str]:
    """The file system of an address, and the name of the file there."""
    scheme = path.split("://", 1)[0]
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise UserError(f"{path}: an address; pip install 'flame-rank[remote]'") from error
    try:
        system, name = url_to_fs(path)
    except ImportError as error:
        raise UserError(
            f"{path}: {scheme}:// needs another package; pip install {_PACKAGES.get(scheme, scheme)}"
        ) from error
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
    return system, str(name)
