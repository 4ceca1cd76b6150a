"""A judge around another one: what it adds is computed anew in every run, and a ledger holds the answers of the judge
within."""

from collections.abc import Iterable
from typing import Any, Final

from flame_rank.judges.base import Judge
from flame_rank.judges.panel import JudgeGroup

# What a judge may have besides answers, and has no less with another judge around it.
_SAME: Final = frozenset({"audit", "explain", "price", "usage", "verdict_mass"})


class JudgeAround(JudgeGroup):
    """The common base of judges that change the answers of another one."""

    def __init__(self, judge: Judge, name: str, *, same: Iterable[str] = ()):
        """Args:
        judge: the judge within.
        same: more attributes that are those of the judge within.
        """
        super().__init__((judge,), name)
        self._same = _SAME | set(same)

    @property
    def within(self) -> Judge:
        """The judge within."""
        return self.members[0]

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and name in self._same:
            return getattr(self.within, name)
        raise AttributeError(name)


def innermost(judge: Judge) -> Judge:
    """Returns the judge itself, or the one within all judges around it."""
    while isinstance(judge, JudgeAround):
        judge = judge.within
    return judge
