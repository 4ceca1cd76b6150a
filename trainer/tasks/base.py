"""What every task turns its records into, and how their files are read."""

import errno
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flame_rank.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Of two answers to one prompt, which the annotators held to be the better one."""

    prompt: str
    better: str
    worse: str


def files(folder: Path, pattern: str) -> list[Path]:
    """The files of a folder whose names match, in order; one at least.

    Raises:
      FileNotFoundError: there is none.
    """
    found = sorted(folder.glob(pattern))
    if not found:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder / pattern))
    return found


def read_lines(path: Path) -> list[Any]:
    """The records of a JSONL file.

    Raises:
      UserError: a line is not JSON.
    """
    lines = enumerate(_text(path).split("\n"), start=1)
    return [_decode(line, f"{path}:{number}") for number, line in lines if line.strip()]


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
      UserError: it is not JSON.
    """
    return _decode(_text(path), str(path))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})") from error


def _decode(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise UserError(f"{where}: not whole JSON ({error})") from error


def majority(votes: Sequence[int]) -> int:
    """The sum of votes of +1 (the first), -1 (the second) and 0 (a tie): its sign is the verdict."""
    return sum(votes)
