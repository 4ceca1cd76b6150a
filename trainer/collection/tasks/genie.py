"""General text quality: GENIE's annotations of answers, explanations and summaries that systems wrote."""

from collections.abc import Iterator
from typing import Any

from trainer.collection.release_files import BadRecord, Folder, Row, reject_bad
from trainer.collection.tasks.base import Answer, DataSet, Pair, Release, Task, rounded_mean

_LIKERT = ("1", "2", "3", "4", "5")
_STEPS = (0.0, 0.25, 0.5, 0.75, 1.0)  # the values of the form's five buttons
_MARGIN = 0.25  # least distance from neutral: on average the annotators at least prefer one weakly

GENIE_RATINGS = DataSet(
    folder="genie",
    origin="https://genie.apps.allenai.org/",
    licence="none stated",
    permissive=False,
    releases=(
        Release(
            files=("ratings/*.jsonl",),
            read=lambda folder: folder.jsonl("ratings/*.jsonl"),
            note="one output a line: task, input, output, and the annotators' agreement, 0 to 1 in steps of 0.25",
        ),
    ),
)


def _xsum(folder: Folder) -> Iterator[Row]:
    """Yields a record for each pair of summaries, with the answers of all its annotators.

    Each submission has a folder with the input of the annotation, from allenai/evaluation-interfaces, and the completed
    forms, by `amti extract tabular`.
    """
    for path in folder.files("xsum/*/xsum-processed.jsonl"):
        submission = Folder(path.parent)
        forms: dict[str, list[Any]] = {}
        for _, row in reject_bad(submission.jsonl("batch-results.jsonl")):
            forms.setdefault(row["hash"], []).append(row)
        for where, row in submission.jsonl("xsum-processed.jsonl"):
            yield where, row if isinstance(row, BadRecord) else row | {"forms": forms.get(row["hash"], [])}


GENIE_XSUM = DataSet(
    folder="genie",
    origin="github:allenai/evaluation-interfaces",
    licence="none stated",
    permissive=False,
    releases=(Release(files=("xsum/*/xsum-processed.jsonl", "xsum/*/batch-results.jsonl"), read=_xsum),),
)
ARC_DA = DataSet(
    folder="genie",
    origin="https://allenai.org/data/arc-da",
    licence="CC BY-SA 4.0, as ARC",
    permissive=True,
    releases=(
        Release(files=("ARC-DA-v1.1/train.jsonl",), read=lambda folder: folder.jsonl("ARC-DA-v1.1/train.jsonl")),
    ),
    downloads={
        "https://aristo-data-public.s3-us-west-2.amazonaws.com/arc-da/ARC-DA-v1.1.zip": "ARC-DA-v1.1.zip",
    },
)


def _step(value: Any) -> float:
    step = float(value)
    if step not in _STEPS:
        raise ValueError(f"{value!r} is not a step of the annotators' scale")
    return step


def _rating(record: Any) -> Iterator[Answer]:
    ratings = [_step(value) for value in record["ratings"]]
    if ratings:
        # Upstream averages the steps, which go from 0 to 1; here their mean is one of the form's five again.
        rating = rounded_mean(4 * step + 1 for step in ratings)
        yield Answer(context=(record["task"], record["input"], record["output"]), values=(rating,))


def _preference(record: Any) -> Iterator[Pair]:
    """Compares a system's summary with the reference, by the overall question.

    The name of a form's field tells which of the two came first, and its value how far that one is preferred.
    """
    shares = []
    for form in record["forms"]:
        if "overall.d" in form:
            shares.append(_step(form["overall.d"]))
        else:
            shares.append(1 - _step(form["overall.r"]))
    if not shares:
        return
    share = sum(shares) / len(shares)  # 1 if all annotators strongly prefer the system's summary
    summaries = record["decoded_pp"], record["reference_pp"]
    better, worse = summaries if share > 0.5 else summaries[::-1]
    tie = abs(share - 0.5) < _MARGIN
    yield Pair(context=(record["gold_story"],), better=better, worse=worse, tie=tie)


def _answer(record: Any) -> Iterator[Answer]:
    answers = record["answers"]
    if not answers or isinstance(answers, str):
        raise ValueError(f"answers is {answers!r}")
    yield Answer(context=(record["question"],), values=(answers[0],))  # all of them are right


TASKS = (
    Task(
        name="genie-rating",
        split="train",
        capability="general text quality",
        kind="pointwise",
        data=GENIE_RATINGS,
        title="Does the output do what its task asks?",
        description=(
            "A system got the input and wrote the output, which should do what the task says: answer a question, "
            "explain what lies between two observations, translate. Rate how far you agree that the output does it "
            "correctly and well: 5 you strongly agree, 4 you agree, 3 you are neutral, 2 you disagree, 1 you strongly "
            "disagree."
        ),
        fields=("task", "input", "output"),
        output_fields=("agreement",),
        labels=_LIKERT,
        convert=_rating,
    ),
    Task(
        name="genie-preference",
        split="train",
        capability="general text quality",
        kind="pairwise",
        data=GENIE_XSUM,
        title="The better one-sentence summary",
        description=(
            "Choose the summary of better overall quality. Weigh which reads more fluently, which repeats itself less, "
            "which states only what is in the text, and which has the text's most important information. Answer with A "
            "if response_a is the better one, with B if response_b is."
        ),
        fields=("text",),
        convert=_preference,
    ),
    Task(
        name="genie-answer",
        split="train",
        capability="general text quality",
        kind="generative",
        data=ARC_DA,
        title="A short answer to a science question",
        description=(
            "The question is from a science examination at school, and no options are given. Answer it in a few words, "
            "rightly and directly, in such a way that annotators who know the subject would accept it as a full answer."
        ),
        fields=("question",),
        output_fields=("answer",),
        labels=(),
        convert=_answer,
        full=1_250,
    ),
)
