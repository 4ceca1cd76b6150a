"""The command `flame-rank` in this process or in one of its own, and files for it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from places import SUPPORT

COMMAND = [sys.executable, "-c", "from flame_rank.cli.group import main; main()"]
HOME = {**os.environ, "PYTHONPATH": str(SUPPORT)}  # where `functions` is
GOOD = {"prompt": "p", "candidates": ["ccc", "a", "bb"]}  # functions:shorter ranks them 1, 2, 0


@dataclass(frozen=True)
class Done:
    """What a run came to."""

    status: int
    out: bytes
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    def mistake(self, *words: str) -> None:
        """Checks that it was a mistake of the user's, told in one line."""
        last = self.err.splitlines()[-1]
        assert self.status == 2 and "Traceback" not in self.err
        assert last.startswith("Error: ") and all(word in last for word in words)


Run = Callable[..., Done]


def started(*arguments: object, **options: Any) -> subprocess.Popen[bytes]:
    """The command in a process of its own."""
    given: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": HOME} | options
    return subprocess.Popen([*COMMAND, "rerank", *map(str, arguments), "--judge", "functions:slow"], **given)


def write(path: Path, *lines: Any) -> Path:
    """Writes JSON values, and bytes as they are, as lines."""
    path.write_bytes(b"".join((x if isinstance(x, bytes) else json.dumps(x).encode()) + b"\n" for x in lines))
    return path
