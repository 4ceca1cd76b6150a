"""What every task turns its records into."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Of two answers to one prompt, which the annotators held to be the better one."""

    prompt: str
    better: str
    worse: str


def read_lines(path: Path) -> list[Any]:
    """The records of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def majority(votes: Sequence[int]) -> int:
    """The sum of votes of +1 (the first), -1 (the second) and 0 (a tie): its sign is the verdict."""
    return sum(votes)
