"""Rankings on a terminal: what a person reads of a problem."""

import io

import pytest
from rich.console import Console

from flame_rank import Problem, Reranker
from flame_rank.cli.terminal import Rows


def longer(prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
    return [len(a) - len(b) for a, b in pairs]


def shown(*problems: Problem, width: int = 80, judge: object = longer, top: int = 1) -> list[str]:
    file = io.StringIO()
    with Rows(top, Console(file=file, width=width)) as rows:
        for ranking in Reranker(judge).rank_many(problems):  # type: ignore[arg-type]
            rows.write(ranking)
    return file.getvalue().splitlines()


def problem(*candidates: str, name: str = "one") -> Problem:
    return Problem(prompt="p", candidates=candidates, name=name)


def test_a_row_for_each_problem() -> None:
    head, *rows = shown(problem("a", "\n  bbb\nc"), problem("same", "same", name="two"))
    assert head.split() == ["problem", "P(best)", "margin", "asked", "best", "candidate"]
    name, p_best, bar, margin, asked, best = rows[0].split()
    assert (name, margin, asked, best) == ("one", "7.00", "2", "bbb")
    assert float(p_best) > 0.9 and bar == "█" * 10
    assert rows[1].split() == ["two", "1.00", "█" * 10, "0", "same"]  # nothing to be better than


def test_the_best_of_each() -> None:
    rows = [row.split() for row in shown(problem("a", "ccc", "bb"), top=2)[1:]]
    assert [row[-1] for row in rows] == ["ccc", "bb"] and rows[0][0] == "one" and rows[1][0].startswith("0.")


def test_a_warning_stands_beneath() -> None:
    rows = shown(problem("a", "b"), judge=lambda prompt, pairs: [1.0] * len(pairs))
    assert rows[2] == "  warning: the judge prefers the same place in both orders of 1 of 1 pairs" and len(rows) == 3


def test_undecided() -> None:
    def fails(prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
        return [float("nan")] * len(pairs)

    assert shown(problem("a", "b"), judge=fails)[1].split() == ["one", "undecided", "2"]


@pytest.mark.parametrize("width", [20, 60, 200])
@pytest.mark.parametrize("text", ["x" * 100_000, "漢字" * 200, "\x1b[31mred\x1b[2J\x07 [bold]b[/bold]", "a\tb\rc", ""])
def test_any_text_is_one_line(text: str, width: int) -> None:
    rows = shown(problem(text, "zz" * 60_000, name=text or "n"), problem(text), width=width)
    assert len(rows) == 3 and all("\x1b" not in row and "\x07" not in row for row in rows)
    assert all(Console(width=999).measure(row).maximum <= width for row in rows if width > 50)
