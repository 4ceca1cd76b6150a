"""Attribution: claims and summaries checked against their source; extra tasks that are not in the paper."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from trainer.collection.release_files import Folder, Row, map_records
from trainer.collection.tasks.base import Answer, DataSet, Release, Task

_YES_NO = ("yes", "no")
_ENTAILED = {"Entailment": "entailment", "Neutral": "neutral", "Contradiction": "contradiction"}
_SUMMEDITS_REPO = "https://raw.githubusercontent.com/salesforce/factualNLG/master/data/summedits"
_SUMMEDITS = ("ectsum", "news", "podcast", "qmsumm", "sales_call", "sales_email", "samsum", "scitldr")
_REFCHECKER_REPO = "https://raw.githubusercontent.com/amazon-science/RefChecker/main/benchmark/human_annotations_v1"
_REFCHECKER = {"zero_context": "nq", "noisy_context": "msmarco", "accurate_context": "dolly"}
_REFCHECKER_MODELS = ("alpaca_7B", "chatgpt", "claude2", "davinci001", "falcon_40B_instruct", "gpt4", "llama2_70b_chat")


def _refchecker_claims(folder: Folder) -> Iterator[Row]:
    """Yields the answers, each with its question and the passages to check it against."""
    for setting, source in _REFCHECKER.items():
        questions = {record["id"]: record for _, record in folder.records(f"data/{setting}/{source}.json")}
        rows = folder.records(f"{setting}/{source}_*_answers.json")
        yield from map_records(rows, partial(_with_question, questions))


def _with_question(questions: Any, claim: Any) -> Any:
    return questions[claim["id"]] | claim


REFCHECKER = DataSet(
    folder="extra_refchecker",
    origin="github:amazon-science/RefChecker",
    licence="Apache-2.0; parts of the questions and passages CC BY-SA 3.0, MS MARCO's non-commercial",
    permissive=False,
    releases=(
        # data/ holds the questions and passages that the repository's script collects; they are not published as files.
        Release(
            files=tuple(
                name
                for setting, source in _REFCHECKER.items()
                for name in (f"{setting}/{source}_*_answers.json", f"data/{setting}/{source}.json")
            ),
            read=_refchecker_claims,
        ),
    ),
    downloads={
        f"{_REFCHECKER_REPO}/{setting}/{source}_{model}_answers.json": f"{setting}/{source}_{model}_answers.json"
        for setting, source in _REFCHECKER.items()
        for model in _REFCHECKER_MODELS
    },
)
SUMMEDITS = DataSet(
    folder="extra_summedits",
    origin="github:salesforce/factualNLG",
    licence="Apache-2.0",
    permissive=True,
    releases=(
        Release(
            files=tuple(f"summedits_{name}.json" for name in _SUMMEDITS),
            read=lambda folder: folder.records("summedits_*.json"),
        ),
    ),
    downloads={f"{_SUMMEDITS_REPO}/summedits_{name}.json": f"summedits_{name}.json" for name in _SUMMEDITS},
)


def _summac(name: str) -> DataSet:
    """Returns a data set in the form of SummaC's benchmark, whose loader makes it; it is not published as a file."""
    return DataSet(
        folder="extra_summ_human_eval",
        origin="github:tingofurro/summac",
        licence="Apache-2.0",
        permissive=True,
        releases=(Release(files=(f"summac_{name}.json",), read=lambda folder: folder.records(f"summac_{name}.json")),),
    )


def _refchecker(record: Any) -> Iterator[Answer]:
    passages = "\n".join(record["context"])
    for claim in record["claude2_response_kg"]:
        subject, relation, thing = claim["triplet"]
        context = passages, record["question"], record["response"], f"{subject} | {relation} | {thing}"
        yield Answer(context=context, values=(_ENTAILED[claim["human_label"]],))


def _zero_or_one(value: Any) -> str:
    return {0: "no", 1: "yes"}[value]


def _summedits(record: Any) -> Iterator[Answer]:
    yield Answer(context=(record["doc"], record["summary"]), values=(_zero_or_one(record["label"]),))


def _summac_polytope(record: Any) -> Iterator[Answer]:
    """Yields a verdict from the errors of accuracy only: the overall label also counts omissions and repetitions."""
    wrong = {"Inaccuracy_internal", "Inaccuracy_external"}.intersection(record["errors"])
    if record["inaccuracy_label"] != (0 if wrong else 1):
        raise ValueError("inaccuracy_label contradicts the errors")
    yield Answer(context=(record["document"], record["claim"]), values=(_zero_or_one(record["inaccuracy_label"]),))


def _summac_factcc(record: Any) -> Iterator[Answer]:
    yield Answer(context=(record["document"], record["claim"]), values=(_zero_or_one(record["label"]),))


TASKS = (
    Task(
        name="refchecker",
        split="extra",
        capability="attribution",
        kind="classification",
        data=REFCHECKER,
        title="Check of a claim against a reference",
        description=(
            "The claim, as subject, relation and object, was drawn from the response to the question. Check it by the "
            "reference alone: answer entailment if the reference supports the claim, contradiction if it says "
            "otherwise, and neutral if it does not settle whether the claim holds."
        ),
        fields=("reference", "question", "response", "claim"),
        output_fields=("relation",),
        labels=tuple(_ENTAILED.values()),
        convert=_refchecker,
        full=10_733,
    ),
    Task(
        name="summedits",
        split="extra",
        capability="attribution",
        kind="classification",
        data=SUMMEDITS,
        title="Consistency of an edited summary",
        description=(
            "A summary of the document was edited in a detail or two, which may or may not have changed what is true "
            "of it. Answer yes if all facts in the summary are consistent with the document; answer no if any is "
            "contradicted by the document or not to be found in it."
        ),
        fields=("document", "summary"),
        output_fields=("consistent",),
        labels=_YES_NO,
        convert=_summedits,
    ),
    Task(
        name="summac-polytope",
        split="extra",
        capability="attribution",
        kind="classification",
        data=_summac("polytope"),
        title="Accuracy of a summary",
        description=(
            "Say whether the summary is accurate. Answer no if it contradicts the document or states something that "
            "cannot be verified by it; answer yes otherwise. What it leaves out, says twice or tells at too great "
            "length does not count."
        ),
        fields=("document", "summary"),
        output_fields=("accurate",),
        labels=_YES_NO,
        convert=_summac_polytope,
    ),
    Task(
        name="summac-factcc",
        split="extra",
        capability="attribution",
        kind="classification",
        data=_summac("factcc"),
        title="Consistency of a summary's sentence",
        description=(
            "The claim is a sentence of a model's summary of the document, a news article. Answer yes if the claim is "
            "factually consistent with the document; answer no if it misrepresents what the document says."
        ),
        fields=("document", "claim"),
        output_fields=("consistent",),
        labels=_YES_NO,
        convert=_summac_factcc,
    ),
)
