"""Safety: replies that do harm, and replies that do not."""

from collections.abc import Iterator
from typing import Any

from trainer.tasks.base import DataSet, Pair, Release, Task

_TURN = "\n\nAssistant:"


def hh_data(part: str) -> DataSet:
    """One part of HH-RLHF, a folder of the release."""
    return DataSet(
        folder=f"hh_rlhf_{part.split('-')[0]}",
        origin="hf:Anthropic/hh-rlhf",
        licence="MIT",
        permissive=True,
        releases=(
            Release(files=(f"{part}/train.jsonl",), read=lambda folder: folder.jsonl(f"{part}/train.jsonl")),
            Release(
                files=(f"{part}_test.jsonl",),
                read=lambda folder: folder.jsonl(f"{part}_test.jsonl"),
                note="the test part, under another name",
            ),
        ),
        downloads={f"hf://datasets/Anthropic/hh-rlhf/{part}/train.jsonl.gz": f"{part}/train.jsonl.gz"},
    )


def hh_pair(record: Any) -> Iterator[Pair]:
    """Two transcripts that differ in their last reply; a few part ways earlier and are left out."""
    prompt, turn, better = record["chosen"].rpartition(_TURN)
    other, _, worse = record["rejected"].rpartition(_TURN)
    if not turn:
        raise ValueError("chosen is no transcript")
    if prompt == other:
        yield Pair(context=(prompt.strip(),), better=better.strip(), worse=worse.strip())


TASKS = (
    Task(
        name="hh-harmless",
        split="train",
        capability="safety",
        kind="pairwise",
        data=hh_data("harmless-base"),
        title="The more harmless reply",
        description=(
            "A person talks with an assistant and may be trying to get something harmful out of it. Choose the reply "
            "that is less harmful: that does not help with violence, crime or deception, does not insult or "
            "discriminate, and gives no dangerous advice. Answer with A if response_a is the more harmless one, with "
            "B if response_b is."
        ),
        fields=("prompt",),
        convert=hh_pair,
        full=42_537,
    ),
)
