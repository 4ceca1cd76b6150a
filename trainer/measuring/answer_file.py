"""Keeps answers on disk, so that an interrupted run can resume."""

from collections.abc import Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import msgspec

from flame_rank.errors import UserError


class AnswerLine(Protocol):
    """A line of the file.

    Attributes:
      key: the question and the judge.
      valid: whether it was answered; if not, the next run asks it again.
    """

    @property
    def key(self) -> tuple[str, str, str]: ...
    @property
    def valid(self) -> bool: ...


Line = TypeVar("Line", bound=AnswerLine)


class AnswerFile(Generic[Line]):
    """Answers in a file, one JSON object per line; without a path they are in memory only.

    Attributes:
      known: the answers by their keys.
    """

    def __init__(self, kind: type[Line], path: Path | None = None):
        """Args:
          kind: the struct of a line.

        Raises:
          UserError: a line is damaged.
        """
        self._path = path
        self.known: dict[tuple[str, str, str], Line] = {}
        if path is None or not path.exists():
            return
        raw = path.read_bytes()
        whole = raw[: raw.rfind(b"\n") + 1]  # a run that was killed leaves half a line
        if len(whole) < len(raw):
            path.write_bytes(whole)
        for number, text in enumerate(whole.splitlines(), 1):
            try:
                line = msgspec.json.decode(text, type=kind)
            except msgspec.DecodeError as error:
                raise UserError(f"{path}:{number}: not an answer ({error}); remove the line") from error
            if line.valid:
                self.known[line.key] = line

    def add(self, lines: Sequence[Line]) -> None:
        """Adds answers and writes them to the disk at once."""
        for line in lines:
            self.known[line.key] = line
        if self._path is not None:
            with self._path.open("ab") as file:
                file.writelines(msgspec.json.encode(line) + b"\n" for line in lines)
