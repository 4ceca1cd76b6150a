"""Attribution: the ten parts of LLM-AggreFact (Tang et al. 2024), in which a claim is checked against a document."""

from collections.abc import Callable, Iterator
from typing import Any

from trainer.collection.release_files import BadRecord, Folder, Row, map_records
from trainer.collection.tasks.base import Answer, DataSet, Release, Task, majority

_LABELS = ("unsupported", "supported")  # the benchmark's 0 and 1
_RULE = (
    "Answer supported if the document states or implies everything that the claim says, and unsupported if any piece "
    "of it is contradicted by the document or not to be found there. What you know from elsewhere does not count."
)

# the benchmark's name of the part -> title, what document and claim are, number of claims in the test split
_PARTS = {
    "AggreFact-CNN": (
        "A news summary and its article",
        "The claim is a summary of several sentences that a model wrote of the news article in the document.",
        558,
    ),
    "AggreFact-XSum": (
        "A one-sentence summary and its article",
        "The claim is a summary in one sentence that a model wrote of the news article in the document.",
        558,
    ),
    "TofuEval-MediaS": (
        "A summary's sentence and an interview",
        "The document is the transcript of an interview in the media; the claim is a sentence from a model's summary "
        "of it on some topic.",
        726,
    ),
    "TofuEval-MeetB": (
        "A summary's sentence and a council meeting",
        "The document is the transcript of a city council's meeting; the claim is a sentence from a model's summary of "
        "it on some topic.",
        772,
    ),
    "Wice": (
        "A sentence of Wikipedia and what it cites",
        "The claim is a sentence of a Wikipedia article, written by people; the document is the web page that it "
        "cites.",
        358,
    ),
    "Reveal": (
        "A step of reasoning and a paragraph",
        "The claim is a step of a model's chain of reasoning towards the answer of a question; the document is a "
        "paragraph of Wikipedia retrieved for it.",
        1710,
    ),
    "ClaimVerify": (
        "A search engine's sentence and its citation",
        "The claim is a sentence of the answer that a generative search engine gave to a question; the document is "
        "what it cites for it.",
        1088,
    ),
    "FactCheck-GPT": (
        "A chat model's claim and a web snippet",
        "The claim is one piece of a chat model's answer, worded so that it stands alone; the document is a passage "
        "from the web that was retrieved to check it.",
        1566,
    ),
    "ExpertQA": (
        "An answer to an expert and its evidence",
        "The claim is a sentence of a system's answer to a question that an expert of some field asked; the document "
        "is the evidence cited or retrieved for it.",
        3702,
    ),
    "Lfqa": (
        "A long answer's sentence and its sources",
        "The claim is a sentence from a long answer to a question; the document consists of the passages that the "
        "answer was, or could have been, written from.",
        1911,
    ),
}
_STANCES = ("irrelevant", "refute", "partially-support", "completely-support")
_WICE = ("not_supported", "partially_supported", "supported")
_LFQA = ("not_supported", "partially", "supported")
# LFQA's systems, and the passages that the annotators saw beside their answers
_LFQA_DOCUMENTS = {
    "alpaca": "webgpt",
    "alpaca_wdoc": "webgpt",
    "gpt3": "webgpt",
    "gpt3_wdoc": "webgpt",
    "gpt3_whudoc": "human",
    "webgpt": "webgpt",
}


def _official(part: str) -> Release:
    """Selects the claims of one part from the files of the test split, which hold all parts."""

    def read(folder: Folder) -> Iterator[Row]:
        for where, record in folder.parquet("test-*.parquet"):
            if isinstance(record, BadRecord) or record["dataset"] == part:
                yield where, record

    return Release(files=("test-*.parquet",), read=read)


def _whole(value: str, scale: tuple[str, ...]) -> int:
    """Returns 1 for the last value of a scale, full support, and 0 for the others, as Tang et al. do."""
    return int(scale.index(value) == len(scale) - 1)


def _stance(record: Any) -> dict[str, Any]:
    label = _whole(record["stance"], _STANCES)
    evidence = record["evidence"].replace("\0", "")  # two web pages contain them
    return {"dataset": "FactCheck-GPT", "doc": evidence, "claim": record["claim"], "label": label}


def _wice(record: Any) -> dict[str, Any]:
    label = _whole(record["label"], _WICE)
    return {"dataset": "Wice", "doc": "\n".join(record["evidence"]), "claim": record["claim"], "label": label}


def _lfqa(folder: Folder) -> Iterator[Row]:
    """Yields a record for each sentence on which at least two of its three annotators agree."""
    documents: dict[str, dict[int, str]] = {}
    for name in sorted(set(_LFQA_DOCUMENTS.values())):
        rows = folder.records(f"lfqa/docs/docs-{name}.json")
        documents[name] = {row["question_id"]: "\n\n".join(doc["text"] for doc in row["docs"]) for _, row in rows}
    for system, name in _LFQA_DOCUMENTS.items():
        for where, answer in folder.records(f"lfqa/annotations-{system}.json"):
            for number, sentence in enumerate(answer["annotations"], 1):
                vote = majority(sentence["labels"])
                if vote is not None:
                    claim = sentence["answer"].removesuffix("</s>")  # Alpaca's end token
                    doc = documents[name][answer["question_id"]]
                    record = {"dataset": "Lfqa", "doc": doc, "claim": claim, "label": _whole(vote, _LFQA)}
                    yield f"{where}, sentence {number}", record


# The sources that can be had without the benchmark; partial support counts as no support in all three.
_SOURCES = {
    "FactCheck-GPT": Release(
        files=("factcheck_gpt/subtask3_claim_evidence_stance.jsonl",),
        read=lambda folder: map_records(folder.jsonl("factcheck_gpt/subtask3_claim_evidence_stance.jsonl"), _stance),
        note="all claims and snippets of Factcheck-GPT's own repository; the benchmark has a half of them",
    ),
    "Wice": Release(
        files=("wice/entailment_retrieval_claim/test.jsonl",),
        read=lambda folder: map_records(folder.jsonl("wice/entailment_retrieval_claim/test.jsonl"), _wice),
        note="the test claims of WiCE's own repository, each with the whole cited page",
    ),
    "Lfqa": Release(
        files=("lfqa/annotations-*.json", "lfqa/docs/docs-webgpt.json", "lfqa/docs/docs-human.json"),
        read=_lfqa,
        note="all sentences of the authors' repository with a majority of annotators; the benchmark has a half of them",
    ),
}


def _data(part: str) -> DataSet:
    return DataSet(
        folder="llm_aggrefact",
        origin="hf:lytang/LLM-AggreFact",
        licence="CC BY-ND 4.0; for evaluation only; its terms are to be accepted before it can be fetched",
        permissive=False,
        releases=(_official(part), *((_SOURCES[part],) if part in _SOURCES else ())),
        downloads={"hf://datasets/lytang/LLM-AggreFact/data/test-*.parquet": "./"},
    )


def _claim_of(part: str) -> Callable[[Any], Iterator[Answer]]:
    def convert(record: Any) -> Iterator[Answer]:
        if record["dataset"] != part:
            raise ValueError(f"dataset is {record['dataset']!r}")
        if record["label"] not in (0, 1):
            raise ValueError(f"label is {record['label']!r}")
        yield Answer(context=(record["doc"], record["claim"]), values=(_LABELS[record["label"]],))

    return convert


TASKS: tuple[Task, ...] = tuple(
    Task(
        name="aggrefact-" + part.lower().removeprefix("aggrefact-"),
        split="eval",
        capability="attribution",
        kind="classification",
        data=_data(part),
        title=title,
        description=f"{what} {_RULE}",
        fields=("document", "claim"),
        output_fields=("verdict",),
        labels=_LABELS,
        convert=_claim_of(part),
        full=claims,
    )
    for part, (title, what, claims) in _PARTS.items()
)
