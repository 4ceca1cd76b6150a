"""Prints rankings on a terminal: a row for each problem as soon as it is done."""

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.table import Table
from rich.text import Text
from tqdm import tqdm

from flame_rank.records import Ranking

_NAME = 18  # characters of a problem's name
_BAR = 10  # characters of a P(best) of 1


class _Console(Console):
    """Raises what a closed pipe raises; rich would end the program with status 1."""

    def on_broken_pipe(self) -> None:
        raise


class Rows:
    """Writes the problem, P(best) of its best candidate, the margin to the next option, the comparisons, and the best
    candidate's first line; in colour if the terminal supports it."""

    def __init__(self, top: int = 1, console: Console | None = None):
        """Args:
        top: the number of rows per problem, one for each of its best candidates.
        console: where the rows are written; None for standard output.
        """
        self._top, self._console = top, console or _Console()
        self._header = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def write(self, ranking: Ranking) -> None:
        """Writes one problem's rows, above the progress bar if there is one."""
        table = Table(box=None, show_header=self._header, header_style="bold", pad_edge=False, expand=True)
        table.add_column("problem", width=_NAME, no_wrap=True)
        table.add_column("P(best)", width=5 + _BAR, no_wrap=True)
        table.add_column("margin", width=6, justify="right", no_wrap=True)
        table.add_column("asked", width=5, justify="right", no_wrap=True)
        table.add_column("best candidate", ratio=1, no_wrap=True, overflow="ellipsis")
        asked = str(ranking.comparisons)
        if not ranking.decided:
            table.add_row(_name(ranking.problem.name), Text("undecided", style="yellow"), "", asked)
        for rank, index in enumerate(ranking.order[: self._top] if ranking.decided else []):
            first = (_name(ranking.problem.name), _margin(ranking), asked) if rank == 0 else ("", "", "")
            bar = _bar(float(ranking.p_best[index]), sure=not ranking.unsure)
            table.add_row(first[0], bar, *first[1:], _line(ranking.problem.texts[index]))
        if ranking.explanation:
            table.add_row("", "", "", "", Text(_line(ranking.explanation).plain, style="dim"))
        self._header = False
        with tqdm.external_write_mode(file=sys.stdout):
            self._console.print(table)
            for warning in ranking.warnings:
                line = Text(f"  warning: {warning}", style="yellow", no_wrap=True, overflow="ellipsis")
                self._console.print(line)


def _name(name: str) -> Text:
    """Shortens a problem's name to its end, because names such as FILE:LINE differ only there."""
    short = name if len(name) <= _NAME else name.rsplit("/", 1)[-1]
    return _line(short if len(short) <= _NAME else "…" + short[1 - _NAME :])


def _bar(p: float, *, sure: bool) -> Text:
    return Text(f"{p:.2f} ") + Text("█" * round(_BAR * p), style="green" if sure else "yellow")


def _margin(ranking: Ranking) -> str:
    """Formats by how many nats the best candidate leads the best one of another option; empty if there is no other."""
    first, *others = ranking.order
    option = ranking.options
    second = next((i for i in others if option[i] != option[first]), None)
    return "" if second is None else f"{min(ranking.scores[first] - ranking.scores[second], 999):.2f}"


def _line(text: str) -> Text:
    """Returns the first line of a text that is not blank, without control characters."""
    line = next((line for line in text[:10_000].splitlines() if line.strip()), "")
    return Text("".join(c if c.isprintable() else " " for c in line.strip()))
