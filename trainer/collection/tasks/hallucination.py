"""Attribution: does an answer, a summary or a biography state something that its source, or reality, does not
support?"""

import json
from collections.abc import Callable, Iterator
from typing import Any

from trainer.collection.release_files import BadRecord, Folder, Row, map_records
from trainer.collection.tasks.base import Answer, DataSet, Release, Task, rounded_mean

_CORRECTNESS = ("1", "2", "3", "4", "5")
_YES_NO = ("yes", "no")
_SUPPORT = {"S": "supported", "NS": "not supported", "IR": "irrelevant"}
_ACCURACY = {"major_inaccurate": "1", "minor_inaccurate": "2", "accurate": "3"}
_RAGTRUTH = {
    "task_type": ("QA", "Summary", "Data2txt"),
    "split": ("train", "test"),
    "quality": ("good", "incorrect_refusal", "truncated"),
}
_SYSTEMS = ("ChatGPT", "InstructGPT", "PerplexityAI")
_FACTSCORE_REPO = "https://raw.githubusercontent.com/google-deepmind/long-form-factuality/main/third_party/factscore"


def _mocha_answers(folder: Folder) -> Iterator[Row]:
    """Yields the answers of each data set that MOCHA is made of: data set -> identifier -> answer."""
    for path, parts in folder.json("**/train.json"):
        for part, answers in parts.items():
            yield from ((f"{path}: {part} {name!r}", answer) for name, answer in answers.items())


def _ragtruth_responses(folder: Folder) -> Iterator[Row]:
    """Yields the responses, each with the source that it should be based on."""
    sources = {record["source_id"]: record for _, record in folder.jsonl("source_info.jsonl")}
    yield from map_records(folder.jsonl("response.jsonl"), lambda response: sources[response["source_id"]] | response)


def _wikibio_regenerated(folder: Folder) -> Iterator[Row]:
    """Yields the passages of SelfCheckGPT's replication, with the field names of the release."""
    names = {"main_passage": "gpt3_text", "main_sentences": "gpt3_sentences"}
    rows = folder.records("dataset-generated.json")
    yield from map_records(rows, lambda record: {names.get(name, name): value for name, value in record.items()})


MOCHA = DataSet(
    folder="mocha",
    origin="github:anthonywchen/MOCHA",
    licence="CC BY-SA 4.0",
    permissive=True,
    releases=(Release(files=("**/train.json",), read=_mocha_answers),),
    downloads={"https://github.com/anthonywchen/MOCHA/raw/main/data/mocha.tar.gz": "mocha.tar.gz"},
)
RAGTRUTH = DataSet(
    folder="ragtruth",
    origin="github:ParticleMedia/RAGTruth",
    licence="MIT",
    permissive=True,
    releases=(Release(files=("response.jsonl", "source_info.jsonl"), read=_ragtruth_responses),),
    downloads={
        f"https://raw.githubusercontent.com/ParticleMedia/RAGTruth/main/dataset/{name}": name
        for name in ("response.jsonl", "source_info.jsonl")
    },
)
FACTSCORE = DataSet(
    folder="factscore",
    origin="github:shmsw25/FActScore",
    licence="MIT",
    permissive=True,
    releases=(
        Release(
            files=tuple(f"{name}.jsonl" for name in _SYSTEMS),
            read=lambda folder: (row for name in _SYSTEMS for row in folder.jsonl(f"{name}.jsonl")),
        ),
    ),
    # The authors publish the files in an archive on a drive; another project publishes the same files.
    downloads={f"{_FACTSCORE_REPO}/labeled_data/{name}.jsonl": f"{name}.jsonl" for name in _SYSTEMS},
)
HALUEVAL = DataSet(
    folder="halueval_general",
    origin="github:RUCAIBox/HaluEval",
    licence="MIT",
    permissive=True,
    # The three other files hold hallucinations that a model was asked to write.
    releases=(Release(files=("general_data.json",), read=lambda folder: folder.jsonl("general_data.json")),),
    downloads={"https://raw.githubusercontent.com/RUCAIBox/HaluEval/main/data/general_data.json": "general_data.json"},
)
WIKIBIO = DataSet(
    folder="wikibio_hallucination",
    origin="hf:potsawee/wiki_bio_gpt3_hallucination",
    licence="CC BY-SA 3.0",
    permissive=True,
    releases=(
        Release(
            files=("evaluation-*.parquet",),
            read=lambda folder: folder.parquet("evaluation-*.parquet"),
        ),
        Release(
            files=("dataset-generated.json",),
            read=_wikibio_regenerated,
            note="half of the passages, from a replication of SelfCheckGPT",
        ),
    ),
    downloads={"hf://datasets/potsawee/wiki_bio_gpt3_hallucination/data/evaluation-*.parquet": "./"},
)


def _mocha(record: Any) -> Iterator[Answer]:
    context = record["context"], record["question"], record["reference"], record["candidate"]
    yield Answer(context=context, values=(rounded_mean([record["score"]]),))  # the release has the mean


def _ragtruth(kind: str, source: Callable[[Any], tuple[str, ...]]) -> Callable[[Any], Iterator[Answer]]:
    """Converts the responses of one of the three kinds; `source` gives the fields before the response."""

    def convert(record: Any) -> Iterator[Answer]:
        for name, known in _RAGTRUTH.items():
            if record[name] not in known:
                raise ValueError(f"{name} is {record[name]!r}")
        # As in the authors' training, refusals and responses that were cut off are left out.
        if record["task_type"] != kind or record["split"] != "train" or record["quality"] != "good":
            return
        label = "yes" if record["labels"] else "no"  # a span that an annotator marked
        yield Answer(context=(*source(record["source_info"]), record["response"]), values=(label,))

    return convert


def _factscore(record: Any) -> Iterator[Answer]:
    for sentence in record["annotations"] or ():  # none if the system did not write a biography
        for fact in sentence["human-atomic-facts"] or ():  # none if the sentence is not about the person
            context = record["topic"], record["output"], fact["text"]
            yield Answer(context=context, values=(_SUPPORT[fact["label"]],))


def _halueval(record: Any) -> Iterator[Answer]:
    yield Answer(context=(record["user_query"], record["chatgpt_response"]), values=(record["hallucination"],))


def _wikibio(record: Any) -> Iterator[Answer]:
    for sentence, label in zip(record["gpt3_sentences"], record["annotation"], strict=True):
        context = record["wiki_bio_text"], record["gpt3_text"], sentence
        yield Answer(context=context, values=(_ACCURACY[label],))


def _business(record: Any) -> tuple[str]:
    if not isinstance(record, dict):
        raise BadRecord("the source is not structured data")
    return (json.dumps(record, ensure_ascii=False),)


TASKS = (
    Task(
        name="mocha",
        split="train",
        capability="attribution",
        kind="pointwise",
        data=MOCHA,
        title="Correctness of an answer to a question on a passage",
        description=(
            "Rate how correct the candidate is as an answer to the question on the passage, given the reference, which "
            "is a right answer: how well the candidate says what the reference says. 5 means completely correct, other "
            "words or not; 4 mostly correct; 3 about half correct; 2 mostly wrong; 1 completely wrong, or no answer to "
            "the question."
        ),
        fields=("passage", "question", "reference", "candidate"),
        output_fields=("correctness",),
        labels=_CORRECTNESS,
        convert=_mocha,
        full=31_069,
    ),
    Task(
        name="ragtruth-qa",
        split="train",
        capability="attribution",
        kind="classification",
        data=RAGTRUTH,
        title="Hallucination in an answer from passages",
        description=(
            "A model was to answer the question by the retrieved passages alone. Say whether the response holds a "
            "hallucination: answer yes if any span of it contradicts the passages or states something that they "
            "neither say nor imply, though it be true; answer no if all of it is grounded in the passages, which "
            "includes saying that they do not hold the answer."
        ),
        fields=("question", "passages", "response"),
        output_fields=("hallucination",),
        labels=_YES_NO,
        convert=_ragtruth("QA", lambda source: (source["question"], source["passages"])),
    ),
    Task(
        name="ragtruth-summary",
        split="train",
        capability="attribution",
        kind="classification",
        data=RAGTRUTH,
        title="Hallucination in a summary of news",
        description=(
            "A model was to summarise the article. Say whether the response holds a hallucination: answer yes if any "
            "span of it contradicts the article or brings in a detail, name, number or conclusion that the article "
            "neither gives nor implies; answer no if all of it is grounded in the article. What it leaves out does not "
            "count."
        ),
        fields=("article", "response"),
        output_fields=("hallucination",),
        labels=_YES_NO,
        convert=_ragtruth("Summary", lambda source: (source,)),
    ),
    Task(
        name="ragtruth-data2text",
        split="train",
        capability="attribution",
        kind="classification",
        data=RAGTRUTH,
        title="Hallucination in a text on structured data",
        description=(
            "A model was to describe a local business by the data, a JSON object that includes customers' reviews. Say "
            "whether the response holds a hallucination: answer yes if any span of it contradicts the data or states "
            "something that is not in the data; a value of null says nothing either way, so that neither its presence "
            "nor its absence may be claimed. Answer no if all of the response is grounded in the data."
        ),
        fields=("data", "response"),
        output_fields=("hallucination",),
        labels=_YES_NO,
        convert=_ragtruth("Data2txt", _business),
    ),
    Task(
        name="factscore",
        split="train",
        capability="attribution",
        kind="classification",
        data=FACTSCORE,
        title="Is a fact of a biography true?",
        description=(
            "A model wrote the biography of the person, and the fact is one piece of information out of it. Judge the "
            "fact by what Wikipedia has on the person. Answer supported if it is borne out; not supported if it is "
            "wrong or nowhere to be found; irrelevant if it does not inform about the person at all, such as what kind "
            "of thing something named in passing is, or only hangs on another statement."
        ),
        fields=("person", "biography", "fact"),
        output_fields=("verdict",),
        labels=tuple(_SUPPORT.values()),
        convert=_factscore,
        full=16_040,
    ),
    Task(
        name="halueval",
        split="train",
        capability="attribution",
        kind="classification",
        data=HALUEVAL,
        title="Hallucination in an assistant's response",
        description=(
            "An assistant responded to the query. Say whether the response holds a hallucination. Answer yes if it "
            "states something that is factually wrong or made up, that cannot be verified, or that claims what a "
            "language model does not do or have, or if it misses what the query asks for; answer no otherwise."
        ),
        fields=("query", "response"),
        output_fields=("hallucination",),
        labels=_YES_NO,
        convert=_halueval,
    ),
    Task(
        name="wikibio-hallucination",
        split="train",
        capability="attribution",
        kind="pointwise",
        data=WIKIBIO,
        title="Accuracy of a sentence of a biography",
        description=(
            "A model wrote the passage as the beginning of a Wikipedia article on a person; the sentence is taken from "
            "it. The article is the real one's beginning. Rate the accuracy of the sentence: 3 if all of it is right; "
            "2 if it is about this person but some of its information is wrong or made up; 1 if it is a hallucination "
            "as a whole, which has nothing to do with this person."
        ),
        fields=("article", "passage", "sentence"),
        output_fields=("accuracy",),
        labels=tuple(_ACCURACY.values()),
        convert=_wikibio,
        full=1_908,
    ),
)
