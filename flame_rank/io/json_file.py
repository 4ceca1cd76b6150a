"""Reads JSON files from elsewhere or from an earlier run; each fault is one line that names the file."""

import json
from pathlib import Path
from typing import Any

import msgspec

from flame_rank.errors import UserError


class BadFile(UserError, ValueError):
    """A file with wrong content: `FILE: what is wrong; what to do`."""


def read(path: Path, kind: Any = None, *, remedy: str = "mend it or fetch it again") -> Any:
    """Reads a JSON file.

    Args:
      kind: the type of the content, as msgspec takes it; None accepts any JSON, and the NaN that Python writes.
      remedy: what a user should do if the file is damaged.

    Raises:
      OSError: the file is missing or unreadable.
      BadFile: the file is not JSON, or its content has another type.
    """
    return decoded(path.read_bytes(), path, kind, remedy=remedy)


def decoded(raw: bytes, where: object, kind: Any = None, *, remedy: str = "mend it or fetch it again") -> Any:
    """Decodes JSON that was read from a file.

    Args:
      where: the file or its line, for messages.
      kind: as in `read`.
      remedy: as in `read`.

    Raises:
      BadFile: the bytes are not JSON, or their content has another type.
    """
    try:
        return json.loads(raw) if kind is None else msgspec.json.decode(raw, type=kind)
    except RecursionError:
        fault = "JSON nested too deeply"
    except msgspec.ValidationError as error:
        fault = f"holds something else than it should ({one_line(error)})"
    except ValueError as error:  # raised by both libraries, and for bytes that are not UTF-8
        fault = f"not whole JSON ({one_line(error)})"
    raise BadFile(f"{where}: {fault}; {remedy}")


def one_line(message: object) -> str:
    """Returns a message, such as an error's, without line breaks."""
    return " ".join(str(message).split())
