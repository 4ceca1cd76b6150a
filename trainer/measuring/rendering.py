"""A report card as text that is Markdown, too."""

from collections.abc import Iterator, Sequence

from trainer.measuring.benchmarks import BENCHMARKS, TABLE_1, TABLE_2, wins
from trainer.measuring.card import PRINTED, Card, Line


def markdown(card: Card) -> str:
    """The whole card."""
    return "\n".join(_parts(card)) + "\n"


def _parts(card: Card) -> Iterator[str]:
    yield f"Judge: {card.judge}"
    if card.against:
        yield f"\nDifferences are to: {card.against}"
    yield "\nShares in %, with 95 % bootstrap intervals over prompts; in brackets n, the number that was counted.\n"
    if card.benchmarks:
        yield from _table(card.benchmarks, bool(card.against), paper=True)
    yield "\nEach task by itself: accuracy of pairs by the annotators' majority, exact match of labels.\n"
    yield from _table(card.tasks, bool(card.against), paper=False)
    if scales := [(line.name, line.scale) for line in card.tasks if line.scale]:
        yield "\nExpected label against the annotators':\n"
        heads = ["", "Pearson", "Spearman", "mean absolute error"]
        yield from _aligned(heads, [[name, *(f"{number:.2f}" for number in scale)] for name, scale in scales])
    if card.not_applicable:
        yield f"\nNot applicable to this judge, which only compares: {', '.join(card.not_applicable)}."
    if card.missing:
        yield f"\nNot at hand: {', '.join(card.missing)}."
    whole = {line.name: line.share[0] for line in card.benchmarks if line.name in BENCHMARKS and line.paper}
    if whole:
        yield (
            f"\nAt least as good as all of the paper's language models as judges on {wins(whole)} of the {len(whole)} "
            "benchmarks that are here whole (FLAMe's models: 6 of 12)."
        )
    yield "\nThe paper's Table 1:\n"
    yield from _aligned(["", *BENCHMARKS], [[name, *(f"{x:.1f}" for x in row)] for name, row in TABLE_1.items()])
    yield "\nThe paper's Table 2 (RewardBench):\n"
    heads = ["", "Average", "Chat", "Chat Hard", "Safety", "Reasoning"]
    yield from _aligned(heads, [[name, *(f"{x:.1f}" for x in row)] for name, row in TABLE_2.items()])


def _table(lines: Sequence[Line], against: bool, *, paper: bool) -> Iterator[str]:
    names = list(dict.fromkeys(name for line in lines for name in line.baselines))
    heads = ["", "metric", "tasks", "this judge", *(["difference"] if against else []), *names]
    heads += [*(["paper: " + PRINTED[0], *PRINTED[1:]] if paper else []), "flips", "P(labels)", "invalid"]
    rows = []
    for line in lines:
        cells = [line.name, line.metric, f"{len(line.tasks)} of {line.of}", f"{_interval(line.share)} ({line.n})"]
        if against:
            cells.append(_interval(line.difference, sign=True) if line.difference else "-")
        cells += [_number(line.baselines.get(name)) for name in names]
        if paper:
            cells += [_number(line.paper.get(row)) for row in PRINTED]
        cells += [_number(line.flipped), "-" if line.mass is None else f"{line.mass:.3f}", str(line.invalid)]
        rows.append(cells)
    yield from _aligned(heads, rows)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _interval(values: tuple[float, float, float], *, sign: bool = False) -> str:
    middle, low, high = values
    return f"{middle:+.1f} [{low:+.1f}, {high:+.1f}]" if sign else f"{middle:.1f} [{low:.1f}, {high:.1f}]"


def _aligned(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A Markdown table whose columns are aligned."""
    widths = [max(len(row[k]) for row in [heads, *rows]) for k in range(len(heads))]
    for k, row in enumerate([heads, ["-" * width for width in widths], *rows]):
        fill = "-" if k == 1 else " "
        yield "| " + " | ".join(cell.ljust(width, fill) for cell, width in zip(row, widths, strict=True)) + " |"
