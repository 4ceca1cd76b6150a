"""Collects the right and wrong solutions of each problem from all records of a release."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from trainer.collection.release_files import Row, map_records, reject_bad


@dataclass(slots=True, kw_only=True)
class Solutions:
    """One problem with its right and wrong solutions.

    Attributes:
      human: a person's solution, if there is one.
      right, wrong: the distinct solutions by models, as keys in the order of the release.
    """

    problem: str
    human: str | None = None
    right: dict[str, None] = field(default_factory=dict)
    wrong: dict[str, None] = field(default_factory=dict)

    def add(self, right: Iterable[str], wrong: Iterable[str]) -> None:
        """Adds further solutions."""
        self.right |= dict.fromkeys(right)
        self.wrong |= dict.fromkeys(wrong)

    def sure(self) -> tuple[list[str], list[str]]:
        """Returns the right and the wrong solutions, without texts that are labelled as both."""
        return [text for text in self.right if text not in self.wrong], [
            text for text in self.wrong if text not in self.right
        ]


def gathered(rows: Iterator[Row], read: Callable[[Any], Solutions]) -> Iterator[Row]:
    """Yields a record for each problem, at the position of its first solution."""
    problems: dict[str, tuple[str, Solutions]] = {}
    for where, solutions in reject_bad(map_records(rows, read)):
        _, known = problems.setdefault(solutions.problem, (where, solutions))
        if known is not solutions:
            known.human = known.human or solutions.human
            known.add(solutions.right, solutions.wrong)
    yield from problems.values()
