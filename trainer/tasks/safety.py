"""Replies that do no harm, compared by people."""

from collections.abc import Iterator
from pathlib import Path

from trainer.tasks.base import Comparison, read_lines

_TURN = "\n\nAssistant:"


def hh_harmless(data: Path) -> Iterator[Comparison]:
    """HH-RLHF harmless-base, its test part (MIT): two transcripts that differ in their last reply."""
    for record in read_lines(data / "hh_rlhf_harmless" / "harmless-base_test.jsonl"):
        chosen, rejected = record["chosen"], record["rejected"]
        prompt, _, better = chosen.rpartition(_TURN)
        other, _, worse = rejected.rpartition(_TURN)
        if prompt == other and better != worse:  # a few transcripts part ways earlier
            yield Comparison(prompt=prompt.strip(), better=better.strip(), worse=worse.strip())
