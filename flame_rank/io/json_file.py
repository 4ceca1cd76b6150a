"""Reads JSON files from elsewhere or from an earlier run; each fault is one line that names the file."""

import json
from pathlib import Path
from typing import Any

import msgspec

from flame_rank.errors import UserError


class BadFile(UserError, ValueError):
    """A file that does not hold what it should: `FILE: what is wrong; what to do`."""


def read(path: Path, kind: Any = None, *, remedy: str = "mend it or fetch it again") -> Any:
    """Reads a JSON file.

    Args:
      kind: what it has to hold, as msgspec takes it; without one, it may hold anything, also the NaN of Python.
      remedy: what to do if it is damaged.

    Raises:
      OSError: it is missing or unreadable.
      BadFile: it is no JSON, or holds something else.
    """
    return decoded(path.read_bytes(), path, kind, remedy=remedy)


def decoded(raw: bytes, where: object, kind: Any = None, *, remedy: str = "mend it or fetch it again") -> Any:
    """What JSON from a file holds.

    Args:
      where: the file, or the line in it, for messages.
      kind, remedy: as in `read`.

    Raises:
      BadFile: it is no JSON, or holds something else.
    """
    try:
        return json.loads(raw) if kind is None else msgspec.json.decode(raw, type=kind)
    except RecursionError:
        fault = "JSON nested too deeply"
    except msgspec.ValidationError as error:
        fault = f"holds something else than it should ({one_line(error)})"
    except ValueError as error:  # of both libraries, and of bytes that are no UTF-8
        fault = f"not whole JSON ({one_line(error)})"
    raise BadFile(f"{where}: {fault}; {remedy}")


def one_line(message: object) -> str:
    """A message, such as an error's, without line breaks."""
    return " ".join(str(message).split())
