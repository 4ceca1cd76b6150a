"""General text quality: answers to questions that are based on given sources."""

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

from trainer.collection.tasks.base import Answer, DataSet, Pair, Release, Task

WEBGPT = DataSet(
    folder="webgpt_comparisons",
    origin="hf:openai/webgpt_comparisons",
    licence="none stated",
    permissive=False,
    releases=(Release(files=("comparisons.jsonl",), read=lambda folder: folder.jsonl("comparisons.jsonl")),),
    downloads={
        "https://openaipublic.blob.core.windows.net/webgpt-answer-viewer/comparisons.jsonl": "comparisons.jsonl"
    },
)
FINE_GRAINED_RLHF = DataSet(
    folder="fine_grained_rlhf",
    origin="github:allenai/FineGrainedRLHF",
    licence="Apache-2.0",
    permissive=True,
    releases=(
        Release(files=("train_feedback.json",), read=lambda folder: folder.records("train_feedback.json")),
        Release(
            files=("dev_feedback.json",),
            read=lambda folder: folder.records("dev_feedback.json"),
            note="the development part",
        ),
    ),
    downloads={
        "https://raw.githubusercontent.com/allenai/FineGrainedRLHF/main/tasks/qa_feedback/data/"
        "train_feedback.json": "train_feedback.json"
    },
)
QA_FROM_HF = DataSet(
    folder="extra_qa_from_hf",
    origin="github:lil-lab/qa-from-hf",
    licence="none stated",
    permissive=False,
    releases=(
        Release(files=("train-data-round1to9.jsonl",), read=lambda folder: folder.jsonl("train-data-round1to9.jsonl")),
    ),
    downloads={
        "https://github.com/lil-lab/qa-from-hf/raw/main/data/train/"
        "train-data-round1to9.jsonl.gz": "train-data-round1to9.jsonl.gz"
    },
)


def _quotes(side: Any) -> str:
    """Lists the extracts that an answer was written from, with the numbers by which it cites them."""
    quotes = side["quotes"]
    if isinstance(quotes, dict):  # as columns
        passages = list(zip(quotes["title"], quotes["extract"], strict=True))
    else:
        passages = [(quote["title"], quote["extract"]) for quote in quotes]
    return "\n\n".join(f"[{number}] {title}\n{extract}" for number, (title, extract) in enumerate(passages, 1))


def _webgpt_sides(record: Any) -> tuple[Any, Any, bool]:
    """Returns the better side, the worse one, and whether both are equally good, by the score's sign as upstream."""
    first, second = record
    if first["question"] != second["question"] or abs(first["score"] + second["score"]) > 1e-6:
        raise ValueError("the two answers are to different questions, or their scores are not opposite")
    better, worse = (first, second) if first["score"] >= 0 else (second, first)
    return better, worse, first["score"] == 0


def _webgpt(record: Any) -> Iterator[Pair]:
    better, worse, tie = _webgpt_sides(record)
    texts = ["\n\n".join(filter(None, (side["answer"].strip(), _quotes(side)))) for side in (better, worse)]
    if better["answer"].strip() and worse["answer"].strip():
        yield Pair(context=(better["question"]["full_text"],), better=texts[0], worse=texts[1], tie=tie)


def _webgpt_answer(record: Any) -> Iterator[Answer]:
    """Yields the answers that people preferred to another one; some were written without sources."""
    better, _, tie = _webgpt_sides(record)
    quotes = _quotes(better)
    if quotes and not tie:
        yield Answer(context=(better["question"]["full_text"], quotes), values=(better["answer"],))


def _passages(record: Any) -> str:
    return "\n\n".join(f"{title}\n{' '.join(sentences)}" for title, *sentences in record["passages"])


def _fine_grained(record: Any) -> Iterator[Pair]:
    """Yields the six pairs of four answers: the release has 1 or 2 for the better one of a pair, 0 for neither."""
    answers = [record[f"prediction {number}"] for number in (1, 2, 3, 4)]
    context = record["question"], _passages(record)
    for (first, second), chosen in zip(combinations(answers, 2), record["preference"], strict=True):
        if chosen not in (0, 1, 2):
            raise ValueError(f"a preference is {chosen!r}")
        better, worse = (second, first) if chosen == 2 else (first, second)
        yield Pair(context=context, better=better, worse=worse, tie=chosen == 0)


# The three kinds of errors that the annotators looked for, under their names in the release.
_IRRELEVANT = frozenset({"Irrelevant", "Redundant", "Incoherent"})
_UNVERIFIABLE = frozenset({"Wrong-Grounding", "Unverifiable"})
_MISSING = frozenset({"Missing-Answer", "Missing-Major-Auxiliary", "Missing-Minor-Auxiliary"})


def _has_error(kinds: frozenset[str]) -> Callable[[Any], Iterator[Answer]]:
    """Tells whether the first answer has an error of these kinds; the others were not annotated for errors."""

    def convert(record: Any) -> Iterator[Answer]:
        feedback = record["feedback"]
        errors = {error["error type"] for error in (*feedback["errors"], *feedback["missing-info"])}
        if unknown := errors - _IRRELEVANT - _UNVERIFIABLE - _MISSING:
            raise ValueError(f"error type is {min(unknown)!r}")
        context = record["question"], _passages(record), record["prediction 1"]
        yield Answer(context=context, values=("yes" if errors & kinds else "no",))

    return convert


_FEEDBACK = {"Correct": "correct", "Partially Correct": "partially", "Wrong": "wrong"}


def _qa_from_hf(record: Any) -> Iterator[Answer]:
    context = record["question"], record["context"], record["pred"]
    yield Answer(context=context, values=(_FEEDBACK[record["feedback"]],))


_ERRORS = (
    (
        "irrelevant",
        _IRRELEVANT,
        "Irrelevant, repeated or incoherent text in an answer",
        "The answer to the question was written from the passages. Answer with yes if some part of it, however short, "
        "does not help to answer the question, repeats what the answer has said before or makes no sense where it "
        "stands; with no if every part of it is to the point. Whether it is true does not count here.",
    ),
    (
        "unverifiable",
        _UNVERIFIABLE,
        "Claims in an answer that its sources do not bear out",
        "The answer to the question was written from the passages. Answer with yes if it states a fact that the "
        "passages contradict or that cannot be found in them, true or not; with no if all its facts are borne out by "
        "the passages. Parts of the answer that have nothing to do with the question do not count.",
    ),
    (
        "missing",
        _MISSING,
        "Information that is missing from an answer",
        "The answer to the question was written from the passages. Answer with yes if the passages hold something that "
        "belongs to a complete answer and that it leaves out: an answer to one reading of the question, or a detail "
        "that helps to understand it; with no if nothing of that kind is missing.",
    ),
)

TASKS: tuple[Task, ...] = (
    Task(
        name="webgpt",
        split="train",
        capability="general text quality",
        kind="pairwise",
        data=WEBGPT,
        title="The more useful answer with sources",
        description=(
            "Each response is an answer to the question, followed by the numbered extracts of web pages that it cites. "
            "Choose the one that is more useful to the asker: what it says is supported by trustworthy extracts, "
            "answers the question, is coherent and free of needless text. Do not trust claims without support. Answer "
            "with A if response_a is the better one, with B if response_b is."
        ),
        fields=("question",),
        convert=_webgpt,
    ),
    Task(
        name="webgpt-answer",
        split="train",
        capability="general text quality",
        kind="generative",
        data=WEBGPT,
        title="An answer from extracts of web pages",
        description=(
            "Answer the question from the numbered extracts of web pages. Write a coherent answer in your own words "
            "that is right, to the point and as long as the question needs, and cite the extracts by their numbers in "
            "square brackets behind what they support. Do not state what no extract supports."
        ),
        fields=("question", "extracts"),
        output_fields=("answer",),
        labels=(),
        convert=_webgpt_answer,
    ),
    Task(
        name="fine-grained-rlhf",
        split="train",
        capability="general text quality",
        kind="pairwise",
        data=FINE_GRAINED_RLHF,
        title="The better answer from passages",
        description=(
            "Both responses answer the question from the passages of an encyclopedia. Choose the better one: it "
            "answers all readings of the question, says only what the passages bear out, leaves out what was not "
            "asked, does not repeat itself and is clear. Answer with A if response_a is the better one, with B if "
            "response_b is."
        ),
        fields=("question", "passages"),
        convert=_fine_grained,
    ),
    *(
        Task(
            name=f"fine-grained-rlhf-{name}",
            split="train",
            capability="general text quality",
            kind="classification",
            data=FINE_GRAINED_RLHF,
            title=title,
            description=description,
            fields=("question", "passages", "answer"),
            output_fields=(name,),
            labels=("yes", "no"),
            convert=_has_error(kinds),
            full=2_853,
        )
        for name, kinds, title, description in _ERRORS
    ),
    Task(
        name="qa-from-hf",
        split="extra",
        capability="general text quality",
        kind="classification",
        data=QA_FROM_HF,
        title="Correctness of an answer taken from a passage",
        description=(
            "The answer was taken from the passage word for word, or it says that the question cannot be answered from "
            "it. Compare it with the passage: correct if it is a right and sufficient answer, or if the passage indeed "
            "has none; partially if it is part of the answer, or has it among other things; wrong if it does not "
            "answer the question."
        ),
        fields=("question", "passage", "answer"),
        output_fields=("verdict",),
        labels=("correct", "partially", "wrong"),
        convert=_qa_from_hf,
        full=1_819,
    ),
)
