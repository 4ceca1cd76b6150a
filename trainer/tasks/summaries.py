"""Summaries, rated by experts."""

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from trainer.tasks.base import Comparison, read_json

_AXES = ("coherence", "consistency", "fluency", "relevance")
_MARGIN = 0.5  # points of five, in the mean over the axes: smaller differences are within the annotators' noise


def summeval(data: Path) -> Iterator[Comparison]:
    """SummEval's expert scores (MIT): sixteen summaries a text; pairs whose mean scores are `_MARGIN` apart."""
    for record in read_json(data / "summeval" / "bartscore_SummEval_data.converted.json").values():
        rated = [
            (sum(system["scores"][axis] for axis in _AXES) / len(_AXES), system["sys_summ"])
            for system in record["sys_summs"].values()
        ]
        for (a, first), (b, second) in combinations(rated, 2):
            if abs(a - b) >= _MARGIN and first != second:
                better, worse = (first, second) if a > b else (second, first)
                yield Comparison(prompt=f"Summarize:\n{record['src']}", better=better, worse=worse)
