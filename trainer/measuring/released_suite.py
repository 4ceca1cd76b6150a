"""Runs a judge over a released benchmark, and prints the results.

Each prompt is a problem with all of its responses, so that a judge that looks at the pool sees it whole; pairs are
asked in both orders, in the words in which `flame-rank rerank` asks them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from flame_rank.judges.base import Judge
from strategies.base import FloatArray
from trainer.measuring.answer_file import AnswerFile
from trainer.measuring.released import BENCHMARKS, Item
from trainer.measuring.released_figures import Answers, Row
from trainer.measuring.rendering import aligned, interval_text, number_text

_TOGETHER = 16  # items for one call of the judge


class ItemLine(msgspec.Struct, frozen=True, kw_only=True):
    """A judge's answers to an item, in the file; None for a judgement that failed."""

    judge: str
    benchmark: str
    item: str
    forward: tuple[float | None, ...]
    backward: tuple[float | None, ...]

    @property
    def key(self) -> tuple[str, str, str]:
        """Judge, benchmark and item."""
        return self.judge, self.benchmark, self.item

    @property
    def valid(self) -> bool:
        """Whether no judgement failed."""
        return None not in (*self.forward, *self.backward)


def ask(
    judge: Judge,
    benchmark: str,
    items: Sequence[Item],
    kept: AnswerFile[ItemLine],
    *,
    done: Callable[[int], object] = lambda count: None,
) -> list[Answers]:
    """Has a judge answer the items, except those whose answers are in `kept`.

    Args:
      done: is called with the number of items that were answered since the last call.
    """
    new = [item for item in items if (judge.name, benchmark, item.name) not in kept.known]
    done(len(items) - len(new))
    for start in range(0, len(new), _TOGETHER):
        group = new[start : start + _TOGETHER]
        heard = judge.judge([(item.problem, np.concatenate([item.pairs, item.pairs[:, ::-1]])) for item in group])
        kept.add([_line(judge.name, benchmark, item, said) for item, said in zip(group, heard, strict=True)])
        done(len(group))
    return [_answers(item, kept.known[judge.name, benchmark, item.name]) for item in items]


def _line(judge: str, benchmark: str, item: Item, said: FloatArray) -> ItemLine:
    values = [float(value) if np.isfinite(value) else None for value in said.tolist()]
    half = len(values) // 2
    return ItemLine(
        judge=judge, benchmark=benchmark, item=item.name, forward=tuple(values[:half]), backward=tuple(values[half:])
    )


def _answers(item: Item, line: ItemLine) -> Answers:
    forward, backward = (np.array(part, np.float64) for part in (line.forward, line.backward))
    return Answers(item=item, forward=forward, backward=backward)


@dataclass(frozen=True, kw_only=True)
class ReleasedCard:
    """All figures of a judge on a released benchmark.

    Attributes:
      judge: the judge's identity.
      against: the identity of the judge with which it is compared; empty without one.
      invalid: the number of items with a failed judgement, which are not counted.
      flipped: the share of pairs, in %, in which the judge prefers the same position in both orders.
      limit: the most items of a part that were asked; None = all of them.
    """

    benchmark: str
    judge: str
    against: str
    rows: tuple[Row, ...]
    invalid: int
    flipped: float
    limit: int | None = None


def share_flipped(answers: Sequence[Answers]) -> float:
    """Returns the % of pairs in which the judge prefers the same place in both orders."""
    flips = np.concatenate([a.forward * a.backward > 0 for a in answers if a.valid])
    return 100 * float(flips.mean())


def markdown(card: ReleasedCard) -> str:
    """Renders the whole card as plain text that is also Markdown."""
    return "\n".join(_parts(card)) + "\n"


def _parts(card: ReleasedCard) -> Iterator[str]:
    yield f"Judge: {card.judge}"
    if card.against:
        yield f"\nDifferences are to: {card.against}"
    yield f"\n{BENCHMARKS[card.benchmark].origin}: shares in %, with 95 % bootstrap intervals over prompts.\n"
    if card.limit is not None:
        yield f"At most {card.limit} prompts of each part were asked.\n"
    heads = ["", "n", "this judge", *(["difference"] if card.against else []), "chance", "longer"]
    cells = []
    for row in card.rows:
        difference = [interval_text(row.difference, sign=True)] if row.difference is not None else []
        cells.append(
            [
                row.name,
                str(row.n),
                interval_text(row.share),
                *difference,
                number_text(row.chance),
                number_text(row.longer),
            ]
        )
    yield from aligned(heads, cells)
    yield f"\nThe judge prefers the same place in both orders in {card.flipped:.1f} % of the pairs."
    if card.invalid:
        yield f"{card.invalid} prompts have a judgement that failed, and are not counted."
