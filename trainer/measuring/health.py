"""Measures how well the better response can be told without reading it (the paper's appendix B): by its length, and
by words that only one of the two responses has."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from trainer.collection.examples import Example

TELLING = 8  # words that are listed for either side
_WORD = re.compile("\\w+(?:['\u2019]\\w+)?")


@dataclass(frozen=True, kw_only=True)
class Health:
    """The results for the pairs of one section.

    Attributes:
      n: the number of pairs.
      longer: the number of pairs whose better response has more characters.
      shorter: the number of pairs whose better response has fewer characters.
      telling: for each of the most telling words, the % of pairs in which only the better response has it, minus the %
        in which only the worse one has it; the highest first, without words that round to 0.
    """

    n: int
    longer: int
    shorter: int
    telling: tuple[tuple[str, float], ...]

    @property
    def by_length(self) -> float:
        """The accuracy in % of a judge that always prefers the longer response, or always the shorter one, whichever
        is better here; equal lengths count half."""
        return 100 * (max(self.longer, self.shorter) + (self.n - self.longer - self.shorter) / 2) / self.n


def health(examples: Iterable[Example]) -> Health:
    """Measures pairs; tied ones are left out."""
    pairs = [_sides(example) for example in examples if example.label in ("A", "B")]
    differences = [len(better) - len(worse) for better, worse in pairs]
    return Health(
        n=len(pairs),
        longer=sum(difference > 0 for difference in differences),
        shorter=sum(difference < 0 for difference in differences),
        telling=_telling(pairs),
    )


def _sides(example: Example) -> tuple[str, str]:
    """Returns the better response and the worse one."""
    first, second = example.values[-2:]
    return (first, second) if example.label == "A" else (second, first)


def _telling(pairs: Sequence[tuple[str, str]]) -> tuple[tuple[str, float], ...]:
    counts: Counter[str] = Counter()
    for better, worse in pairs:
        of_better, of_worse = ({*map(str.lower, _WORD.findall(text))} for text in (better, worse))
        counts.update(of_better - of_worse)
        counts.subtract(of_worse - of_better)
    ranked = sorted(((word, 100 * count / len(pairs)) for word, count in counts.items()), key=lambda item: -item[1])
    most = ranked[:TELLING] + ranked[-TELLING:] if len(ranked) > 2 * TELLING else ranked
    return tuple((word, share) for word, share in most if round(share))
