"""The pointwise evaluations (the paper's section 4.1), which are never trained on: HelpSteer's validation part,
Dipper's paraphrases, and the ratings of summaries that go with the summary feedback comparisons."""

from collections.abc import Callable, Iterator
from typing import Any

from trainer.collection.tasks.base import Answer, DataSet, Release, Task
from trainer.collection.tasks.ratings import HELPSTEER_ASPECTS, helpsteer_data, helpsteer_rating

_ONE_TO_FIVE = tuple("12345")
_ONE_TO_SEVEN = tuple("1234567")
_AXIS_EVALS = "https://openaipublic.blob.core.windows.net/summarize-from-feedback/dataset/axis_evals"
_BATCHES = ("cnndm1", "cnndm3", "cnndm4", "tldraxis1", "tldraxis2")
_AXES = {"overall", "accuracy", "coverage", "coherence"}

DIPPER = DataSet(
    folder="dipper",
    origin="github:martiansideofthemoon/ai-detection-paraphrases",
    licence="Apache-2.0",
    permissive=True,
    releases=(
        Release(
            files=("human_ratings.csv",),
            read=lambda folder: folder.csv("human_ratings.csv", more=True),
            note="the repository has no ratings; whoever gets them from the authors puts them into these columns: "
            "original, paraphrase, rating",
        ),
    ),
)
SUMMARY_AXES = DataSet(
    folder="summary_feedback",
    origin="github:openai/summarize-from-feedback",
    licence="MIT, modified; of software and feedback",
    permissive=True,
    releases=(Release(files=("axis_evals/*.json",), read=lambda folder: folder.jsonl("axis_evals/*.json")),),
    downloads={f"{_AXIS_EVALS}/{name}.json": f"axis_evals/{name}.json" for name in _BATCHES},
)


def _dipper(record: Any) -> Iterator[Answer]:
    yield Answer(context=(record["original"], record["paraphrase"]), values=(record["rating"],))


def _axis(axis: str) -> Callable[[Any], Iterator[Answer]]:
    """Yields each labeller's rating; a summary with several labellers occurs once for each of them."""

    def convert(record: Any) -> Iterator[Answer]:
        info, summary = record["info"], record["summary"]
        axes = summary["axes"]
        if not axes.keys() & _AXES:
            raise ValueError(f"axes are {', '.join(axes)}")
        rating = axes.get(axis)
        if rating is None:  # this labeller was not asked
            return
        text = info["post"] if "post" in info else info["article"]
        yield Answer(context=(info["title"], text, summary["text"]), values=(str(rating),))

    return convert


# axis: title, description
_SUMMARIES = {
    "overall": (
        "Overall quality of a summary",
        "Rate how good the summary is as a whole, as a short stand-in for the text for someone who will not read it: 1 "
        "is terrible; 4 is an okay summary that could be much better; 7 is one that could not be improved. The numbers "
        "between lie between these.",
    ),
    "accuracy": (
        "Accuracy of a summary",
        "Rate whether what the summary says is what the text says. 7: nothing in it is wrong or made up, and it does "
        "not mislead; 4: at least one detail that is not the point is wrong; 1: it contradicts the text or invents its "
        "main point. What is left out does not count here. The numbers between lie between these.",
    ),
    "coverage": (
        "Coverage of a summary",
        "Rate how much of the important information of the text the summary has. 7: all that is needed to understand "
        "the situation in the text; 4: it lacks some of what is important, and the gist comes across; 1: it is of no "
        "help in finding out what the text is about. The numbers between lie between these.",
    ),
    "coherence": (
        "Coherence of a summary",
        "Rate how easy the summary is to read and to understand on its own, whether or not it is right. 7: perfectly "
        "clear; 4: its language or order leaves something unclear; 1: it cannot be understood. The numbers between lie "
        "between these.",
    ),
}

TASKS: tuple[Task, ...] = (
    *(
        Task(
            name=f"helpsteer-val-{aspect}",
            split="eval",
            capability="general text quality",
            kind="pointwise",
            data=helpsteer_data("validation"),
            title=title,
            description=description,
            fields=("prompt", "response"),
            output_fields=("rating",),
            labels=tuple("01234"),
            convert=helpsteer_rating(aspect),
            full=1_789,
        )
        for aspect, (title, description) in HELPSTEER_ASPECTS.items()
    ),
    Task(
        name="dipper",
        split="eval",
        capability="general text quality",
        kind="pointwise",
        data=DIPPER,
        title="Does a paraphrase keep the meaning?",
        description=(
            "A program has paraphrased a passage, with other words and perhaps in another order. Rate how well the "
            "paraphrase keeps the meaning of the original: 5 if both say practically the same; 4 if they do but for "
            "unimportant details; 3 if the gist is the same and some important information differs or is missing; 2 if "
            "they only share a topic or some details; 1 if the paraphrase is about something else."
        ),
        fields=("original", "paraphrase"),
        output_fields=("rating",),
        labels=_ONE_TO_FIVE,
        convert=_dipper,
    ),
    *(
        Task(
            name=f"summary-feedback-{axis}",
            split="eval",
            capability="general text quality",
            kind="pointwise",
            data=SUMMARY_AXES,
            title=title,
            description=description,
            fields=("title", "text", "summary"),
            output_fields=("rating",),
            labels=_ONE_TO_SEVEN,
            convert=_axis(axis),
        )
        for axis, (title, description) in _SUMMARIES.items()
    ),
)
