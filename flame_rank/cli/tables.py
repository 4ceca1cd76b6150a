"""Prints tables: with rich on a terminal, as aligned plain text to files and programs."""

import sys
from collections.abc import Iterable, Sequence
from typing import Literal

_SHORT = 24  # characters


def print_table(heads: Sequence[str], rows: Iterable[Sequence[object]], *, texts: int) -> None:
    """Prints a table; None is shown as "-".

    Args:
      heads: the columns' names.
      rows: one value for each column.
      texts: the number of columns, from the left, that hold text; the others hold numbers and are aligned at the right.
    """
    cells = [["-" if value is None else str(value) for value in row] for row in rows]
    if sys.stdout is not None and sys.stdout.isatty():  # None if the caller has closed it
        _print_rich(heads, cells, texts)
        return
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    for row in (heads, *cells):
        pairs = list(zip(row, widths, strict=True))
        aligned = [cell.ljust(width) for cell, width in pairs[:texts]] + [cell.rjust(w) for cell, w in pairs[texts:]]
        print("  ".join(aligned).rstrip())


def _print_rich(heads: Sequence[str], cells: Sequence[Sequence[str]], texts: int) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for number, (head, *column) in enumerate(zip(heads, *cells, strict=True)):
        width = max(map(len, (head, *column)))
        # A name is never shortened, because people copy it; neither is what is short. Long texts give way.
        fixed = number == 0 or width <= _SHORT
        justify: Literal["left", "right"] = "left" if number < texts else "right"
        table.add_column(Text(head), justify=justify, no_wrap=fixed, min_width=width if fixed else _SHORT // 2)
    for row in cells:
        table.add_row(*(Text(cell, no_wrap=True, overflow="ellipsis") for cell in row))
    Console().print(table)
