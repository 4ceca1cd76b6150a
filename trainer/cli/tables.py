"""Tables on standard output: through rich on a terminal, as aligned plain text for programs and files."""

import sys
from collections.abc import Iterable, Sequence


def print_table(heads: Sequence[str], rows: Iterable[Sequence[object]], *, texts: int) -> None:
    """Prints a table; None is shown as "-".

    Args:
      heads: the columns' names.
      rows: one value for each column.
      texts: the number of columns, from the left, that hold text; the others hold numbers and are aligned at the right.
    """
    cells = [["-" if value is None else str(value) for value in row] for row in rows]
    if sys.stdout.isatty():
        _print_rich(heads, cells, texts)
        return
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    for row in (heads, *cells):
        pairs = list(zip(row, widths, strict=True))
        aligned = [cell.ljust(width) for cell, width in pairs[:texts]] + [cell.rjust(w) for cell, w in pairs[texts:]]
        print("  ".join(aligned).rstrip())


def _print_rich(heads: Sequence[str], cells: Iterable[Sequence[str]], texts: int) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for number, head in enumerate(heads):
        name = number == 0  # a name is never shortened: people copy it
        table.add_column(
            Text(head), justify="left" if number < texts else "right", no_wrap=name or number >= texts, overflow="fold"
        )
    for row in cells:
        table.add_row(*map(Text, row))
    Console().print(table)
