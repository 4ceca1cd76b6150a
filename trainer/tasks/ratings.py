"""General text quality: one text, rated on a scale."""

from collections.abc import Callable, Iterator
from typing import Any

from trainer.tasks.base import Answer, DataSet, Release, Task

_ZERO_TO_FOUR = ("0", "1", "2", "3", "4")


def helpsteer_data(part: str) -> DataSet:
    """One part of HelpSteer: "train", which FLAMe learns from, or "validation", which it is evaluated on."""
    return DataSet(
        folder="helpsteer",
        origin="hf:nvidia/HelpSteer",
        licence="CC BY 4.0",
        permissive=True,
        releases=(Release(files=(f"{part}.jsonl",), read=lambda folder: folder.jsonl(f"{part}.jsonl")),),
        downloads={f"hf://datasets/nvidia/HelpSteer/{part}.jsonl.gz": f"{part}.jsonl.gz"},
    )


def helpsteer_rating(aspect: str) -> Callable[[Any], Iterator[Answer]]:
    """The rating of one aspect, 0 to 4, by the one annotator that the release has for a response."""

    def convert(record: Any) -> Iterator[Answer]:
        yield Answer(context=(record["prompt"], record["response"]), values=(str(record[aspect]),))

    return convert


# aspect: title, description; the evaluation on the validation part asks the same
HELPSTEER_ASPECTS = {
    "helpfulness": (
        "Helpfulness of a response",
        "Rate how helpful the response is to someone who wrote the prompt: 4 if it does all that was asked, in its "
        "spirit too; 3 if it is mostly helpful and could be a little better; 2 if it helps in part and misses "
        "something of what was wanted; 1 if it is hardly of use; 0 if it is of no use or has misunderstood the "
        "prompt. Answer with one number from 0 to 4.",
    ),
    "correctness": (
        "Correctness of a response",
        "Rate how correct the response is: whether all facts that the prompt calls for are in it, and whether what it "
        "says is free of errors. 4 is right and complete, without anything false or made up; 3 has a small slip or "
        "omission; 2 mixes right and wrong or lacks much; 1 is mostly wrong; 0 is wrong or besides the point "
        "throughout. Answer with one number from 0 to 4.",
    ),
    "coherence": (
        "Coherence of a response",
        "Rate how consistent and clear the writing of the response is, whether or not it is right: 4 if every part is "
        "easy to follow and fits the others; 3 if something small is unclear; 2 if it is a little disordered, "
        "repetitive or contradicts itself; 1 if it is mostly hard to follow; 0 if no sense can be made of it. Answer "
        "with one number from 0 to 4.",
    ),
    "complexity": (
        "Complexity of a response",
        "Rate the intellectual depth that it takes to write the response, not whether that depth was wanted: 0 if "
        "anyone who masters the language could have written it; 1 for simple wording and matter; 2 for what takes some "
        "schooling; 3 for advanced terms and ideas; 4 if only an expert of the field could have written it. Answer "
        "with one number from 0 to 4.",
    ),
    "verbosity": (
        "Verbosity of a response",
        "Rate how much detail the response has in relation to what the prompt asks for: 0 if it is succinct, with "
        "nothing beyond the point; 1 if it is rather short; 2 if its length is between the two; 3 if it is rather "
        "long; 4 if it is verbose, with much detail that was not needed or much said more than once. This is a measure "
        "of length, not of quality. Answer with one number from 0 to 4.",
    ),
}

_HELPSTEER = tuple(
    Task(
        name=f"helpsteer-{aspect}",
        split="train",
        capability="general text quality",
        kind="pointwise",
        data=helpsteer_data("train"),
        title=title,
        description=description,
        fields=("prompt", "response"),
        output_fields=("rating",),
        labels=_ZERO_TO_FOUR,
        convert=helpsteer_rating(aspect),
        full=35_331,
    )
    for aspect, (title, description) in HELPSTEER_ASPECTS.items()
)

TASKS: tuple[Task, ...] = (*_HELPSTEER,)
