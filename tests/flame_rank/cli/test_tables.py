"""Tables: plain text for programs, rich on a terminal."""

import io
import re
import sys

import pytest

from flame_rank.cli.tables import print_table

HEADS = ("name", "kind", "source", "found")
LONG = "github:" + "x" * 300
ROWS = [("a-task", "pairwise", "hf:a", 7), ("b", "x", LONG, None), ("[red]c", "pointwise", "hf:b", 12345)]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_program_reads_aligned_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name", "kind", "found"), [(row[0], row[1], row[3]) for row in ROWS], texts=2)
    assert capsys.readouterr().out.splitlines() == [
        "name    kind       found",
        "a-task  pairwise       7",
        "b       x              -",
        "[red]c  pointwise  12345",
    ]


@pytest.mark.parametrize("width", [60, 200])
def test_a_terminal_shows_the_same_rows_in_its_width(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    print_table(HEADS, ROWS, texts=3)
    lines = re.sub(r"\x1b\[[\d;]*m", "", terminal.getvalue()).splitlines()
    assert len(lines) == 4 and max(map(len, lines)) <= width
    shown = [line.split() for line in lines[1:]]
    assert [(row[0], row[1], row[-1]) for row in shown] == [
        (row[0], row[1], "-" if row[3] is None else str(row[3])) for row in ROWS
    ]
    assert shown[1][2].endswith("…") and shown[2][2] == "hf:b"
