"""General text quality: long answers to questions."""

from collections.abc import Iterator
from typing import Any

from trainer.collection.tasks.base import Answer, DataSet, Pair, Release, Task

_HURDLES_FILE = "hurldes_pairwise_human_preferences.jsonl"  # spelt so upstream
_VALIDITY = {True: "valid", False: "invalid"}
# What makes a question and its answer invalid; "assumptions_rejected" is the README's spelling.
_REASONS = {
    "no_valid_answer": "no valid answer",
    "nonsensical_question": "nonsensical question",
    "assumption_rejected": "assumption rejected",
    "assumptions_rejected": "assumption rejected",
    "multiple_questions": "multiple questions",
}
_AGREED = 2  # annotators of the three who must have given a reason

HURDLES = DataSet(
    folder="hurdles_lfqa",
    origin="github:carriex/lfqa_eval",  # publishes the comparisons of Krishna et al. (2021) as records
    licence="none stated",
    permissive=False,
    releases=(Release(files=(_HURDLES_FILE,), read=lambda folder: folder.jsonl(_HURDLES_FILE)),),
    downloads={
        "https://media.githubusercontent.com/media/carriex/lfqa_eval/5202745be28c1574c79c18c95143a797567eded9/"
        f"preference_data/{_HURDLES_FILE}": _HURDLES_FILE
    },
    sha256={_HURDLES_FILE: "89d3bde3538c73d633af5387f2c64a1717da804d3db1b3ac970700faf1657967"},
)
LFQA_VALIDITY = DataSet(
    folder="lfqa_validity",
    origin="github:utcsnlp/lfqa_discourse",
    licence="none stated",
    permissive=False,
    releases=(
        Release(files=("validity_annotation.jsonl",), read=lambda folder: folder.jsonl("validity_annotation.jsonl")),
    ),
    downloads={
        "https://raw.githubusercontent.com/utcsnlp/lfqa_discourse/HEAD/data/validity_annotation.jsonl": (
            "validity_annotation.jsonl"
        )
    },
)


def _hurdles(record: Any) -> Iterator[Pair]:
    a, b, preference = record["answer_a"], record["answer_b"], record["overall_preference"]
    if preference not in (-1, 0, 1):  # answer_a, neither, answer_b
        raise ValueError(f"overall_preference is {preference!r}")
    better, worse = (b, a) if preference == 1 else (a, b)
    yield Pair(context=(record["question"],), better=better, worse=worse, tie=preference == 0)


def _validity(record: Any) -> Iterator[Answer]:
    context = record["question"], record["answer_paragraph"]
    yield Answer(context=context, values=(_VALIDITY[record["is_valid"]],))


def _validity_reason(record: Any) -> Iterator[Answer]:
    # An annotator who finds no fault has an empty list, or one with an empty reason.
    given = [{_REASONS[reason] for reason in reasons if reason} for reasons in record["invalid_reason"]]
    agreed = [
        reason for reason in dict.fromkeys(_REASONS.values()) if sum(reason in answer for answer in given) >= _AGREED
    ]
    if _VALIDITY[record["is_valid"]] == "invalid" and agreed:
        yield Answer(context=(record["question"], record["answer_paragraph"]), values=("; ".join(agreed),))


TASKS = (
    Task(
        name="hurdles-lfqa",
        split="train",
        capability="general text quality",
        kind="pairwise",
        data=HURDLES,
        title="The better long answer to a question",
        description=(
            "Two paragraphs answer a question that somebody asked to have explained in simple words; each is written "
            "by a person or by a language model. Choose the one that is the better answer as a whole: on the question, "
            "coherent, and right as far as you can tell. Answer with A if response_a is better, with B if response_b "
            "is."
        ),
        fields=("question",),
        convert=_hurdles,
    ),
    Task(
        name="lfqa-validity",
        split="train",
        capability="general text quality",
        kind="classification",
        data=LFQA_VALIDITY,
        title="Validity of a question and its long answer",
        description=(
            "Decide whether question and answer make a valid pair. Answer invalid if the question is nonsensical or "
            "several questions at once, if the answer rejects what the question assumes, or if the paragraph does not "
            "answer the question; answer valid if none of this holds. Whether the answer is true is not asked."
        ),
        fields=("question", "answer"),
        output_fields=("validity",),
        labels=tuple(_VALIDITY.values()),
        convert=_validity,
        full=1_591,
    ),
    Task(
        name="lfqa-validity-reason",
        split="train",
        capability="general text quality",
        kind="generative",
        data=LFQA_VALIDITY,
        title="Why a question and its long answer are invalid",
        description=(
            "This question and its answer are no valid pair. Say why with one or more of these reasons, with '; ' "
            "between them: no valid answer (the paragraph does not answer the question), nonsensical question (it "
            "cannot be understood), assumption rejected (the answer disputes what the question takes for granted), "
            "multiple questions (several are asked at once)."
        ),
        fields=("question", "answer"),
        output_fields=("reason",),
        labels=(),
        convert=_validity_reason,
        full=312,
    ),
)
