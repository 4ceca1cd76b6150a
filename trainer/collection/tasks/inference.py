"""Attribution: does one text follow from another?"""

from collections.abc import Iterator
from typing import Any

from trainer.collection.release_files import Folder, Row, map_records
from trainer.collection.tasks.base import Answer, DataSet, Release, Task

_NLI = ("entailment", "neutral", "contradiction")  # Hugging Face's numbers 0, 1, 2
_EVIDENCE = {"SUPPORTS": "supports", "REFUTES": "refutes", "NOT ENOUGH INFO": "neither"}
_PROTOCOLS = ("base", "contrast", "edit_other", "edit_premise", "paragraph")


def _esnli_texts(folder: Folder) -> Iterator[Row]:
    """Yields the repository's line-aligned texts, with the field names of the release."""
    names = ("gold_label", "Sentence1", "Sentence2", "Explanation_1")
    for part in ("dev", "test"):
        texts = f"labels.{part}", f"s1.{part}", f"s2.{part}", f"preproc1_expl_1.{part}"
        rows = folder.lines(*texts, unended=True)
        yield from map_records(rows, lambda row: dict(zip(names, row, strict=True)))


def _vitaminc_samples(folder: Folder) -> Iterator[Row]:
    """Yields records whose fields have other names than in the release and whose labels are in lower case."""
    names = {"claim": "claim", "evidence": "evidence", "label": "label", "unique_id": "id"}

    def upstream(record: Any) -> Any:
        renamed = {name: record[other] for name, other in names.items()}
        return renamed | {"label": renamed["label"].upper()}

    return map_records(folder.jsonl("lifelong_icl_*.jsonl"), upstream)


ESNLI = DataSet(
    folder="esnli",
    origin="github:OanaMariaCamburu/e-SNLI",
    licence="MIT; SNLI's texts CC BY-SA 4.0",
    permissive=True,
    releases=(
        Release(
            files=("esnli_train_1.csv", "esnli_train_2.csv"), read=lambda folder: folder.csv("esnli_train_[12].csv")
        ),
        Release(
            files=tuple(
                f"{name}.{part}" for part in ("dev", "test") for name in ("labels", "s1", "s2", "preproc1_expl_1")
            ),
            read=_esnli_texts,
            note="tokenised texts of the dev and test parts, from the same repository",
        ),
    ),
    downloads={
        f"https://raw.githubusercontent.com/OanaMariaCamburu/e-SNLI/master/dataset/{name}": name
        for name in ("esnli_train_1.csv", "esnli_train_2.csv")
    },
)
MNLI = DataSet(
    folder="mnli",
    origin="hf:nyu-mll/multi_nli",
    licence="OANC; parts CC BY 3.0 and CC BY-SA 3.0",
    permissive=True,
    releases=(
        Release(files=("train-*.parquet",), read=lambda folder: folder.parquet("train-*.parquet")),
        Release(files=("mnli_dev.csv",), read=lambda folder: folder.csv("mnli_dev.csv"), note="dev parts, as CSV"),
    ),
    downloads={"hf://datasets/nyu-mll/multi_nli/data/train-*.parquet": "./"},
)
VITAMINC = DataSet(
    folder="vitaminc",
    origin="hf:tals/vitaminc",
    licence="CC BY-SA 3.0",
    permissive=True,
    releases=(
        Release(files=("train.jsonl",), read=lambda folder: folder.jsonl("train.jsonl")),
        Release(
            files=("lifelong_icl_*.jsonl",),
            read=_vitaminc_samples,
            note="400 pairs under other field names, from INK-USC/Lifelong-ICL",
        ),
    ),
    downloads={"hf://datasets/tals/vitaminc/train.jsonl": "train.jsonl"},
)
NEW_PROTOCOLS = DataSet(
    folder="extra_nli_new_protocols",
    origin="github:google-research-datasets/Textual-Entailment-New-Protocols",
    licence="none stated; Wikipedia's texts CC BY-SA 3.0",
    permissive=False,
    releases=(
        Release(
            files=tuple(f"data/{protocol}/train.tsv" for protocol in _PROTOCOLS),
            read=lambda folder: folder.csv("data/*/train.tsv", delimiter="\t"),
        ),
        Release(
            files=("*_train.tsv",),
            read=lambda folder: folder.csv("*_train.tsv", delimiter="\t"),
            note="four of the five protocols, without paragraphs, in one folder",
        ),
    ),
    downloads={
        "https://raw.githubusercontent.com/google-research-datasets/Textual-Entailment-New-Protocols/"
        f"24a5a1d69b24b6fc6f575f7145d3871f1611df2c/data/{protocol}/train.tsv": f"data/{protocol}/train.tsv"
        for protocol in _PROTOCOLS
    },
)


def _esnli(record: Any) -> Iterator[Answer]:
    yield Answer(context=(record["Sentence1"], record["Sentence2"]), values=(record["gold_label"],))


def _esnli_explanation(record: Any) -> Iterator[Answer]:
    if record["gold_label"] not in _NLI:
        raise ValueError(f"gold_label is {record['gold_label']!r}")
    context = record["Sentence1"], record["Sentence2"], record["gold_label"]
    yield Answer(context=context, values=(record["Explanation_1"],))


def _mnli(record: Any) -> Iterator[Answer]:
    label = record["label"]
    if label == -1:  # the annotators did not agree
        return
    name = label if isinstance(label, str) else _NLI[label]
    yield Answer(context=(record["premise"], record["hypothesis"]), values=(name,))


def _vitaminc(record: Any) -> Iterator[Answer]:
    yield Answer(context=(record["evidence"], record["claim"]), values=(_EVIDENCE[record["label"]],))


def _new_protocols(record: Any) -> Iterator[Answer]:
    # One annotator wrote and labelled each pair: label1 and gold_label are the same.
    yield Answer(context=(record["sentence1"], record["sentence2"]), values=(record["gold_label"],))


TASKS = (
    Task(
        name="esnli",
        split="train",
        capability="attribution",
        kind="classification",
        data=ESNLI,
        title="Inference from an image's caption",
        description=(
            "The premise describes a scene. Say what it implies for the hypothesis: entailment if the hypothesis is "
            "definitely true of that scene, contradiction if it is definitely false, neutral if it might be either. "
            "Go by the premise and common knowledge of the world alone."
        ),
        fields=("premise", "hypothesis"),
        output_fields=("relation",),
        labels=_NLI,
        convert=_esnli,
        full=549_367,
    ),
    Task(
        name="esnli-explanation",
        split="train",
        capability="attribution",
        kind="generative",
        data=ESNLI,
        title="Explanation of an inference",
        description=(
            "The relation between the premise and the hypothesis is given. Explain in one or two sentences why it "
            "holds: name what in the premise settles it, and do not just repeat the sentences."
        ),
        fields=("premise", "hypothesis", "relation"),
        output_fields=("explanation",),
        labels=(),
        convert=_esnli_explanation,
        full=549_367,
    ),
    Task(
        name="mnli",
        split="train",
        capability="attribution",
        kind="classification",
        data=MNLI,
        title="Inference across genres",
        description=(
            "The premise is taken from speech, fiction or a report. Answer entailment if the hypothesis is definitely "
            "correct about the situation or event in the premise, contradiction if it is definitely incorrect, and "
            "neutral if it might be correct or not."
        ),
        fields=("premise", "hypothesis"),
        output_fields=("relation",),
        labels=_NLI,
        convert=_mnli,
        full=392_702,
    ),
    Task(
        name="vitaminc",
        split="train",
        capability="attribution",
        kind="classification",
        data=VITAMINC,
        title="A claim checked against one piece of evidence",
        description=(
            "The evidence is a passage of Wikipedia; a small edit of it can turn the verdict round, so mind names, "
            "dates and numbers. Answer supports if the evidence shows that the claim is true, refutes if it shows that "
            "the claim is false, and neither if it does not contain enough to tell. Go by the evidence alone, even "
            "where you know better."
        ),
        fields=("evidence", "claim"),
        output_fields=("verdict",),
        labels=tuple(_EVIDENCE.values()),
        convert=_vitaminc,
        full=370_653,
    ),
    Task(
        name="nli-new-protocols",
        split="extra",
        capability="attribution",
        kind="classification",
        data=NEW_PROTOCOLS,
        title="Inference from Wikipedia",
        description=(
            "The premise is a sentence or a paragraph of Wikipedia, at times edited; the hypothesis was written to go "
            "with it. Assume that the premise is true. Answer entailment if the hypothesis must then be true as well, "
            "contradiction if it cannot be true of the same things, and neutral if the premise leaves it open."
        ),
        fields=("premise", "hypothesis"),
        output_fields=("relation",),
        labels=_NLI,
        convert=_new_protocols,
        full=42_500,
    ),
)
