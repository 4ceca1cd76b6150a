"""Computes the shares of a mixture by kind and by capability, and draws them as the paper's Figures 2 and 3 do."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from flame_rank.errors import UserError
from trainer.collection.tasks.base import Task


def shares(tasks: Sequence[Task], weights: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Computes the share of each kind and of each capability in a mixture, largest first.

    Args:
      tasks: the mixture's tasks; those without a weight are left out.
      weights: the weight of each task by name, or the number of its examples; they need not sum to 1.
    """
    sums: dict[str, dict[str, float]] = {"kind": defaultdict(float), "capability": defaultdict(float)}
    total = sum(weights.values())
    for task in tasks:
        if task.name in weights:
            sums["kind"][task.kind] += weights[task.name] / total
            sums["capability"][task.capability] += weights[task.name] / total
    return {what: dict(sorted(parts.items(), key=lambda item: -item[1])) for what, parts in sums.items()}


def draw(rows: Mapping[str, Mapping[str, Mapping[str, float]]], file: Path) -> None:
    """Draws pie charts into a file, SVG or PNG by its ending.

    Args:
      rows: title -> a result of `shares`; each makes a row of charts. The paper's Figures 2 and 3 have the shares of
        the examples.

    Raises:
      UserError: matplotlib is not installed, or does not know the file's ending.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("--plot needs matplotlib; pip install 'flame-rank[plot]'") from error
    columns = max(map(len, rows.values()))
    figure = Figure(figsize=(5 * columns, 4 * len(rows)))
    for row, (what, parts) in enumerate(rows.items()):
        for column, (by, sizes) in enumerate(parts.items(), 1):
            panel = figure.add_subplot(len(rows), columns, row * columns + column)
            panel.pie(list(sizes.values()), labels=list(sizes), autopct="%.1f%%", textprops={"fontsize": 8})
            panel.set_title(f"{what} by {by}")
    figure.tight_layout()
    try:
        figure.savefig(file)
    except ValueError as error:
        raise UserError(f"{file}: {error}") from error
