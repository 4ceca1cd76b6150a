"""Renders a report card and the table of biases as plain text that is also Markdown."""

from collections.abc import Iterator, Mapping, Sequence

from trainer.measuring.benchmarks import BENCHMARKS, TABLE_1, TABLE_2, wins
from trainer.measuring.bias import Bias
from trainer.measuring.card import PRINTED, Card, Line
from trainer.measuring.cobbler import COLUMNS, KNOWN, TABLE_3


def markdown(card: Card) -> str:
    """Renders the whole card."""
    return "\n".join(_parts(card)) + "\n"


def _parts(card: Card) -> Iterator[str]:
    yield f"Judge: {card.judge}"
    if card.against:
        yield f"\nDifferences are to: {card.against}"
    yield "\nShares in %, with 95 % bootstrap intervals over prompts; in brackets n, the number that was counted.\n"
    yield (
        "Contact: whether a task touches what the judge was trained on, the pretraining of its base model aside. None: "
        "no training example shares thirteen words in a row with it. Not known: no record of the training is there.\n"
    )
    yield (
        "Flips: pairs in which the judge prefers the same place in both orders. P(labels): the model's probability of "
        "all labels together; near 0 it does not answer the question.\n"
    )
    if card.limit is not None:
        yield f"At most {card.limit} examples of each task were asked; the paper's figures are of all.\n"
    if card.benchmarks:
        yield from _table(card.benchmarks, bool(card.against), paper=True)
    yield "\nEach task by itself: accuracy of pairs by the annotators' majority, exact match of labels.\n"
    yield from _table(card.tasks, bool(card.against), paper=False)
    if scales := [(line.name, line.scale) for line in card.tasks if line.scale]:
        yield "\nExpected label against the annotators':\n"
        heads = ["", "Pearson", "Spearman", "mean absolute error"]
        yield from aligned(heads, [[name, *(f"{number:.2f}" for number in scale)] for name, scale in scales])
    if card.not_applicable:
        yield f"\nNot applicable to this judge, which only compares: {', '.join(card.not_applicable)}."
    if card.missing:
        yield f"\nNot at hand: {', '.join(card.missing)}."
    if card.unanswered:
        yield f"\nWithout a valid answer of the judge: {', '.join(card.unanswered)}."
    whole = {line.name: line.share[0] for line in card.benchmarks if line.name in BENCHMARKS and line.paper}
    if whole and card.limit is None:
        yield (
            f"\nAt least as good as all of the paper's language models as judges on {wins(whole)} of the {len(whole)} "
            "benchmarks that are here whole (FLAMe's models: 6 of 12)."
        )
    yield "\nThe paper's Table 1:\n"
    yield from aligned(["", *BENCHMARKS], [[name, *(f"{x:.1f}" for x in row)] for name, row in TABLE_1.items()])
    yield "\nThe paper's Table 2 (RewardBench):\n"
    heads = ["", "Average", "Chat", "Chat Hard", "Safety", "Reasoning"]
    yield from aligned(heads, [[name, *(f"{x:.1f}" for x in row)] for name, row in TABLE_2.items()])


def _table(lines: Sequence[Line], against: bool, *, paper: bool) -> Iterator[str]:
    names = list(dict.fromkeys(name for line in lines for name in line.baselines))
    heads = ["", "metric", "tasks", "this judge", *(["difference"] if against else []), *names]
    heads += [*(["paper: " + PRINTED[0], *PRINTED[1:]] if paper else [])]
    heads += ["flips", "P(labels)", "invalid", "contact"]
    rows = []
    for line in lines:
        cells = [line.name, line.metric, f"{len(line.tasks)} of {line.of}", f"{interval_text(line.share)} ({line.n})"]
        if against:
            cells.append(interval_text(line.difference, sign=True) if line.difference else "-")
        cells += [number_text(line.baselines.get(name)) for name in names]
        if paper:
            cells += [number_text(line.paper.get(row)) for row in PRINTED]
        cells += [number_text(line.flipped), "-" if line.mass is None else f"{line.mass:.3f}"]
        cells += [str(line.invalid), line.contact]
        rows.append(cells)
    yield from aligned(heads, rows)


def number_text(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def interval_text(values: tuple[float, float, float], *, sign: bool = False) -> str:
    middle, low, high = values
    return f"{middle:+.1f} [{low:+.1f}, {high:+.1f}]" if sign else f"{middle:.1f} [{low:.1f}, {high:.1f}]"


def aligned(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Renders a Markdown table with aligned columns."""
    widths = [max(len(row[k]) for row in [heads, *rows]) for k in range(len(heads))]
    for k, row in enumerate([heads, ["-" * width for width in widths], *rows]):
        fill = "-" if k == 1 else " "
        yield "| " + " | ".join(cell.ljust(width, fill) for cell, width in zip(row, widths, strict=True)) + " |"


def biases(
    judge: str, count: int, columns: Mapping[str, Bias], average: float, published: Mapping[str, Mapping[str, float]]
) -> str:
    """Renders Table 3 with the row of a judge.

    Args:
      count: the number of comparisons of each test.
      published: the results of CoBBLEr's authors for each judge.
    """
    lines = [
        f"Judge: {judge}",
        "",
        f"Shares of {count} comparisons, with 95 % bootstrap intervals over instructions.",
        "",
    ]
    lines += aligned(
        ["", "share", "valid"],
        [[name, _shares(column.score), f"{column.valid:.3f}"] for name, column in columns.items()],
    )
    lines += ["", "Beside the paper's Table 3; lower is better:", ""]
    own = [f"{columns[name].score[0]:.2f}" if name in columns else "n/a" for name in COLUMNS]
    rows = [[name, *(f"{share:.2f}" for share in row)] for name, row in TABLE_3.items()]
    lines += aligned(["", "average", *COLUMNS], [["this judge", f"{average:.2f}", *own], *rows])
    if published:
        lines += ["", "By the counts of CoBBLEr's authors (compassion is consistency there):", ""]
        cells = [[name, *(f"{row[column]:.3f}" for column in COLUMNS)] for name, row in published.items()]
        lines += aligned(["", *COLUMNS], cells)
    lines += ["", *(f"- {line}" for line in KNOWN)]
    return "\n".join(lines) + "\n"


def _shares(values: tuple[float, float, float]) -> str:
    middle, low, high = values
    return f"{middle:.3f} [{low:.3f}, {high:.3f}]"
