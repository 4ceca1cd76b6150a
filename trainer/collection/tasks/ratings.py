"""General text quality: one text, rated on a scale."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from statistics import fmean
from typing import Any

from trainer.collection.release_files import Folder, Row, reject_bad
from trainer.collection.tasks.base import Answer, DataSet, Release, Task, rounded_mean

_ZERO_TO_FOUR = ("0", "1", "2", "3", "4")
_ONE_TO_FIVE = ("1", "2", "3", "4", "5")


def helpsteer_data(part: str) -> DataSet:
    """Makes the data set of one part of HelpSteer: "train", on which FLAMe is trained, or "validation", on which it
    is evaluated."""
    return DataSet(
        folder="helpsteer",
        origin="hf:nvidia/HelpSteer",
        licence="CC BY 4.0",
        permissive=True,
        releases=(Release(files=(f"{part}.jsonl",), read=lambda folder: folder.jsonl(f"{part}.jsonl")),),
        downloads={f"hf://datasets/nvidia/HelpSteer/{part}.jsonl.gz": f"{part}.jsonl.gz"},
    )


def helpsteer_rating(aspect: str) -> Callable[[Any], Iterator[Answer]]:
    """Returns a function that yields the rating of one aspect, 0 to 4; the release has one rating for each response."""

    def convert(record: Any) -> Iterator[Answer]:
        yield Answer(context=(record["prompt"], record["response"]), values=(str(record[aspect]),))

    return convert


# aspect -> title, description; the evaluation on the validation part asks the same
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

FEEDBACKQA = DataSet(
    folder="feedbackqa",
    origin="hf:McGill-NLP/feedbackQA",
    licence="Apache-2.0",
    permissive=True,
    releases=(
        Release(files=("feedback_train.json",), read=lambda folder: folder.records("feedback_train.json")),
        Release(
            files=("*_feedback_*.json",),
            read=lambda folder: folder.records("*_feedback_*.json"),
            note="one file for each region and part, as in the authors' repository, test and validation parts included",
        ),
    ),
    downloads={"hf://datasets/McGill-NLP/feedbackQA/data/feedback_train.json": "feedback_train.json"},
)
_FEEDBACKQA_RATINGS = {"Bad": "1", "Could be Improved": "2", "Acceptable": "3", "Excellent": "4"}


def _feedbackqa_context(record: Any) -> tuple[str, str]:
    """Returns the question, and the passage as the annotators saw it: its page's title, its headings and its text."""
    passage = record["passage"]["reference"]
    parts = (passage["page_title"], *passage["section_headers"], passage["section_content"])
    return record["question"], "\n".join(part for part in parts if part)


def _feedbackqa(record: Any) -> Iterator[Answer]:
    """Yields the rounded mean of two or three annotators, as the authors score it; nothing if it is halfway between
    two ratings, because the annotators then do not agree."""
    ratings = [int(_FEEDBACKQA_RATINGS[rating]) for rating in record["rating"]]
    if fmean(ratings) % 1 != 0.5:
        yield Answer(context=_feedbackqa_context(record), values=(rounded_mean(ratings),))


def _feedbackqa_explanation(record: Any) -> Iterator[Answer]:
    """Yields an example for each annotator, because an explanation belongs to its writer's own rating."""
    for rating, explanation in zip(record["rating"], record["feedback"], strict=True):
        context = (*_feedbackqa_context(record), _FEEDBACKQA_RATINGS[rating])
        yield Answer(context=context, values=(explanation,))


_LENS = "https://raw.githubusercontent.com/Yao-Dou/LENS/master/data/"
SIMPEVAL = DataSet(
    folder="lens",
    origin="github:Yao-Dou/LENS",
    licence="Apache-2.0",
    permissive=True,
    releases=(
        Release(files=("simpeval_past.csv", "simpeval_2022.csv"), read=lambda folder: folder.csv("simpeval_*.csv")),
    ),
    downloads={_LENS + name: name for name in ("simpeval_past.csv", "simpeval_2022.csv")},
)


def _simplikert(folder: Folder) -> Iterator[Row]:
    """Yields the rows of all annotators of one simplification as one record, a list."""
    rated: dict[tuple[str, str], list[Any]] = defaultdict(list)
    where: dict[tuple[str, str], str] = {}
    for place, row in reject_bad(folder.csv("simplikert_2022.csv")):
        key = row["Input.id"], row["Input.system"]
        rated[key].append(row)
        where.setdefault(key, place)
    yield from ((where[key], rows) for key, rows in rated.items())


# The direct assessments of the same simplifications, simpDA_2022.csv, are on another scale and left out.
SIMPLIKERT = DataSet(
    folder="lens",
    origin="github:Yao-Dou/LENS",
    licence="Apache-2.0",
    permissive=True,
    releases=(Release(files=("simplikert_2022.csv",), read=_simplikert),),
    downloads={_LENS + "simplikert_2022.csv": "simplikert_2022.csv"},
)


def _simpeval(record: Any) -> Iterator[Answer]:
    """Yields the mean of five annotators (three in 2022), rounded to tens; single ratings differ from it by twelve
    of 100 points."""
    past = "processed_generation" in record
    simplification = record["processed_generation"] if past else record["generation"]
    ratings = [float(record[f"rating_{number}"]) for number in range(1, 6 if past else 4)]
    if not all(0 <= rating <= 100 for rating in ratings):
        raise ValueError(f"ratings are {ratings}")
    if simplification.strip():  # one system wrote nothing once
        yield Answer(context=(record["original"], simplification), values=(rounded_mean([fmean(ratings) / 10]),))


def _likert(aspect: str, lowest: int) -> Callable[[Any], Iterator[Answer]]:
    """Converts the ratings of three annotators to their rounded mean on a scale of five steps, whose lowest becomes
    1."""

    def convert(rows: Any) -> Iterator[Answer]:
        ratings = [int(row[f"Answer.{aspect}"]) - lowest + 1 for row in rows]
        if len(rows) != 3 or not all(1 <= rating <= 5 for rating in ratings):
            raise ValueError(f"ratings are {ratings}")
        context = rows[0]["Input.original"], rows[0]["Input.simplified"]
        yield Answer(context=context, values=(rounded_mean(ratings),))

    return convert


_HELPSTEER_TASKS = tuple(
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

TASKS: tuple[Task, ...] = (
    Task(
        name="feedbackqa",
        split="train",
        capability="general text quality",
        kind="pointwise",
        data=FEEDBACKQA,
        title="How well a passage answers a question",
        description=(
            "Someone asked a question about the pandemic, and a passage of an official web page was given as the "
            "answer. Rate it: 4 (excellent) if it answers the question in full; 3 (acceptable) if it answers it, and "
            "not perfectly; 2 (could be improved) if only part of it helps or something important is missing; 1 (bad) "
            "if it does not answer the question."
        ),
        fields=("question", "answer"),
        output_fields=("rating",),
        labels=("1", "2", "3", "4"),
        convert=_feedbackqa,
    ),
    Task(
        name="feedbackqa-explanation",
        split="train",
        capability="general text quality",
        kind="generative",
        data=FEEDBACKQA,
        title="Why a passage does or does not answer a question",
        description=(
            "Someone asked a question about the pandemic, and a passage of an official web page was given as the "
            "answer. It was rated with 4 (excellent), 3 (acceptable), 2 (could be improved) or 1 (bad). Explain that "
            "rating in a sentence or two: say what the answer does well and what it lacks for this question."
        ),
        fields=("question", "answer", "rating"),
        output_fields=("explanation",),
        labels=(),
        convert=_feedbackqa_explanation,
    ),
    Task(
        name="lens-overall",
        split="train",
        capability="general text quality",
        kind="pointwise",
        data=SIMPEVAL,
        title="Quality of a simplified sentence",
        description=(
            "The simplification should be easier to read than the original sentence, keep its meaning and be good "
            "English. Rate its overall quality from 0 to 10: 10 if it is fluent, keeps all that matters and is far "
            "simpler; around 7 if it is sound and hardly simplifies anything; around 5 if it loses or changes part of "
            "the meaning or has mistakes of grammar; 0 if it is unusable."
        ),
        fields=("original", "simplification"),
        output_fields=("rating",),
        labels=tuple(str(number) for number in range(11)),
        convert=_simpeval,
        full=2_759,
    ),
    Task(
        name="lens-adequacy",
        split="train",
        capability="general text quality",
        kind="pointwise",
        data=SIMPLIKERT,
        title="Meaning kept by a simplification",
        description=(
            "Does the simplification express the meaning of the original sentence? Answer 5 if it keeps all of it that "
            "matters, 4 if it keeps most of it, 3 if it keeps about half of it, 2 if it keeps little of it, and 1 if "
            "its meaning is another one. Leaving out what does not matter is no fault."
        ),
        fields=("original", "simplification"),
        output_fields=("rating",),
        labels=_ONE_TO_FIVE,
        convert=_likert("adequacy", 1),
        full=360,
    ),
    Task(
        name="lens-fluency",
        split="train",
        capability="general text quality",
        kind="pointwise",
        data=SIMPLIKERT,
        title="Fluency of a simplification",
        description=(
            "Is the simplification of the original sentence good English? Answer 5 if it is grammatical and natural "
            "throughout, 4 if there is a small flaw, 3 if it reads awkwardly in places, 2 if it has several mistakes, "
            "and 1 if it can hardly be read. Do not judge whether it is simple or keeps the meaning."
        ),
        fields=("original", "simplification"),
        output_fields=("rating",),
        labels=_ONE_TO_FIVE,
        convert=_likert("fluency", 1),
        full=360,
    ),
    Task(
        name="lens-simplicity",
        split="train",
        capability="general text quality",
        kind="pointwise",
        data=SIMPLIKERT,
        title="How much simpler a simplification is",
        description=(
            "Compare how easy the simplification and the original sentence are to understand. Answer 5 if the "
            "simplification is much simpler than the original, 4 if it is somewhat simpler, 3 if the two are equally "
            "difficult, 2 if it is somewhat harder, and 1 if it is much harder than the original."
        ),
        fields=("original", "simplification"),
        output_fields=("rating",),
        labels=_ONE_TO_FIVE,
        convert=_likert("simplicity", -2),  # -2 to 2 in the release
        full=360,
    ),
    *_HELPSTEER_TASKS,
)
