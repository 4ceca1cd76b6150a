"""Attribution: do two texts mean the same?"""

from collections.abc import Iterator
from typing import Any

from trainer.collection.release_files import BadRecord, Folder, Row, map_records
from trainer.collection.tasks.base import Answer, DataSet, Release, Task, rounded_mean

_SCORES = ("0", "1", "2", "3", "4", "5")
_PARAPHRASE = {"0": "different", "1": "paraphrase"}
_DUPLICATE = {"0": "different", "1": "duplicate"}
_MULTIPIT = "https://raw.githubusercontent.com/Yao-Dou/multipit/HEAD/data"


def _cxc(folder: Folder) -> Iterator[Row]:
    """Yields the ratings with the texts of the captions, which the release names by their numbers in COCO.

    The layout is that of the repository, data/sts_{val,test}.csv, with Karpathy's dataset_coco.json beside data.
    """
    captions: dict[int, str] = {}
    for _, coco in folder.json("dataset_coco.json"):
        for image in coco["images"]:
            if image["split"] in ("val", "test"):
                captions |= {sentence["sentid"]: sentence["raw"] for sentence in image["sentences"]}

    def with_texts(record: Any) -> Any:
        numbers = [int(record[name].rpartition(":")[2]) for name in ("caption1", "caption2")]
        return record | {"text1": captions[numbers[0]], "text2": captions[numbers[1]]}

    for part in ("val", "test"):
        yield from map_records(folder.csv(f"data/sts_{part}.csv"), with_texts)


def _qqp_split(folder: Folder) -> Iterator[Row]:
    """Yields the fields of the release; texts that have quotation marks around them in the release keep these."""

    def bare(text: str) -> str:
        quoted = len(text) > 1 and text[0] == text[-1] == '"'
        return text[1:-1].replace('""', '"') if quoted else text

    def upstream(record: Any) -> Any:
        label = {"0.0": "0", "1.0": "1"}[record["is_duplicate"]]
        questions = bare(record["sentence1"]), bare(record["sentence2"])
        return {"question1": questions[0], "question2": questions[1], "is_duplicate": label}

    for where, record in folder.csv("quora-dev.csv", delimiter="\t"):
        cut = (
            not isinstance(record, BadRecord) and record["is_duplicate"] == ""
        )  # cut off at a line break inside a question
        if not cut:
            yield from map_records(iter([(where, record)]), upstream)


def _sts(folder: Folder, name: str) -> Iterator[Row]:
    """Yields the rows of the benchmark; some have further columns, which name their source."""
    columns = ("genre", "file", "year", "index", "score", "sentence1", "sentence2")
    return folder.csv(name, delimiter="\t", quoted=False, more=True, columns=columns)


STSB = DataSet(
    folder="stsb",
    origin="https://ixa2.si.ehu.eus/stswiki/index.php/STSbenchmark",
    licence="CC BY-SA 4.0, and terms of single sources",
    permissive=True,
    releases=(
        Release(files=("stsbenchmark/sts-train.csv",), read=lambda folder: _sts(folder, "stsbenchmark/sts-train.csv")),
        Release(files=("sts-train.csv",), read=lambda folder: _sts(folder, "sts-train.csv"), note="without the folder"),
    ),
    downloads={"http://ixa2.si.ehu.es/stswiki/images/4/48/Stsbenchmark.tar.gz": "Stsbenchmark.tar.gz"},
)
CXC = DataSet(
    folder="cxc",
    origin="github:google-research-datasets/Crisscrossed-Captions",
    licence="free for any purpose; COCO's captions CC BY 4.0",
    permissive=True,
    releases=(Release(files=("data/sts_val.csv", "data/sts_test.csv", "dataset_coco.json"), read=_cxc),),
    downloads={
        "https://raw.githubusercontent.com/google-research-datasets/Crisscrossed-Captions/"
        f"7d6634be173a6f6a16ab1e61bebc217de8444513/data/sts_{part}.csv": f"data/sts_{part}.csv"
        for part in ("val", "test")
    }
    | {"https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip": "caption_datasets.zip"},
)


def _multipit(part: str) -> DataSet:
    """Makes the data set of one part of MultiPIT, a ZIP file of its repository."""
    return DataSet(
        folder="multipit",
        origin="github:Yao-Dou/multipit",
        licence="none stated",
        permissive=False,
        releases=(
            Release(
                files=(f"multipit_{part}/train.csv",), read=lambda folder: folder.csv(f"multipit_{part}/train.csv")
            ),
        ),
        downloads={f"{_MULTIPIT}/multipit_{part}.zip": f"multipit_{part}.zip"},
    )


QQP = DataSet(
    folder="qqp",
    origin="https://quoradata.quora.com/First-Quora-Dataset-Release-Question-Pairs",
    licence="Quora's terms of service: non-commercial",
    permissive=False,
    releases=(
        Release(
            files=("quora_duplicate_questions.tsv",),
            read=lambda folder: folder.csv("quora_duplicate_questions.tsv", delimiter="\t"),
        ),
        Release(
            files=("quora-dev.csv",),
            read=_qqp_split,
            note="a part of it under other field names, from a course's project, without two rows that are cut off",
        ),
    ),
    downloads={"http://qim.fs.quoracdn.net/quora_duplicate_questions.tsv": "quora_duplicate_questions.tsv"},
)
PAWS = DataSet(
    folder="paws",
    origin="hf:google-research-datasets/paws",
    licence="free for any purpose",
    permissive=True,
    releases=(
        Release(
            files=("labeled_final/train-*.parquet",),
            read=lambda folder: folder.parquet("labeled_final/train-*.parquet"),
        ),
        Release(
            files=("paws_wiki_val.csv", "paws_wiki_test.csv"),
            read=lambda folder: folder.csv("paws_wiki_*.csv"),
            note="the dev and test parts of PAWS-Wiki's final labelled pairs, as CSV",
        ),
    ),
    downloads={"hf://datasets/google-research-datasets/paws/labeled_final/train-*.parquet": "labeled_final/"},
)


def _stsb(record: Any) -> Iterator[Answer]:
    rating = rounded_mean([float(record["score"])])  # the release has the mean of several annotators
    yield Answer(context=(record["sentence1"], record["sentence2"]), values=(rating,))


def _cxc_sts(record: Any) -> Iterator[Answer]:
    rating = rounded_mean([float(record["agg_score"])])  # the release has the mean of its annotators
    yield Answer(context=(record["text1"], record["text2"]), values=(rating,))


def _pair(record: Any) -> Iterator[Answer]:
    label = _PARAPHRASE[str(record["label"])]
    yield Answer(context=(record["sentence1"], record["sentence2"]), values=(label,))


def _qqp(record: Any) -> Iterator[Answer]:
    label = _DUPLICATE[record["is_duplicate"]]
    if record["question1"].strip() and record["question2"].strip():  # in a few pairs a question is missing
        yield Answer(context=(record["question1"], record["question2"]), values=(label,))


TASKS = (
    Task(
        name="cxc-sts",
        split="train",
        capability="attribution",
        kind="pointwise",
        data=CXC,
        title="Similarity of two captions",
        description=(
            "Each caption describes a photograph, both the same one or each another. Rate how far they say the same: 5 "
            "if they are equivalent; 4 if they differ in details that do not matter; 3 if the main scene is the same "
            "and something important differs or is missing; 2 if only some details agree; 1 if only the topic is the "
            "same; 0 if they describe quite different scenes."
        ),
        fields=("caption_1", "caption_2"),
        output_fields=("similarity",),
        labels=_SCORES,
        convert=_cxc_sts,
        full=88_054,
    ),
    Task(
        name="stsb",
        split="train",
        capability="attribution",
        kind="pointwise",
        data=STSB,
        title="Similarity of two sentences",
        description=(
            "Rate how similar in meaning the two sentences are: 5 if they mean the same; 4 if they differ in "
            "unimportant details only; 3 if they are roughly equivalent, and some important information differs or is "
            "missing; 2 if they share some details; 1 if they are only on the same topic; 0 if they have nothing to do "
            "with one another."
        ),
        fields=("sentence_1", "sentence_2"),
        output_fields=("similarity",),
        labels=_SCORES,
        convert=_stsb,
        full=5_749,
    ),
    Task(
        name="multipit-expert",
        split="train",
        capability="attribution",
        kind="classification",
        data=_multipit("expert"),
        title="Paraphrases among tweets, strictly",
        description=(
            "Both sentences come from tweets about the same matter. Answer paraphrase only if either could stand for "
            "the other: they state the same thing, and neither adds, leaves out or changes information that matters. "
            "Hashtags, tone and wording may differ. Answer different otherwise, even where they report the same event."
        ),
        fields=("sentence_1", "sentence_2"),
        output_fields=("verdict",),
        labels=tuple(_PARAPHRASE.values()),
        convert=_pair,
        full=4_458,
    ),
    Task(
        name="multipit-crowd",
        split="train",
        capability="attribution",
        kind="classification",
        data=_multipit("crowd"),
        title="Paraphrases among tweets, loosely",
        description=(
            "Both sentences come from tweets about the same matter. Answer paraphrase if they convey the same main "
            "information, so that someone who follows the news would count them as one report; one of them may add "
            "some detail. Answer different if they tell different things about the matter."
        ),
        fields=("sentence_1", "sentence_2"),
        output_fields=("verdict",),
        labels=tuple(_PARAPHRASE.values()),
        convert=_pair,
        full=92_217,
    ),
    Task(
        name="qqp",
        split="train",
        capability="attribution",
        kind="classification",
        data=QQP,
        title="Duplicate questions",
        description=(
            "Two questions were asked on a site for questions and answers. Answer duplicate if they have the same "
            "intent, so that one good answer would serve both who ask, however they are worded; answer different if "
            "they ask for different things, such as another time, place, amount or reason."
        ),
        fields=("question_1", "question_2"),
        output_fields=("verdict",),
        labels=tuple(_DUPLICATE.values()),
        convert=_qqp,
    ),
    Task(
        name="paws",
        split="train",
        capability="attribution",
        kind="classification",
        data=PAWS,
        title="Paraphrases despite the same words",
        description=(
            "The two sentences share nearly all of their words. Answer paraphrase if they mean the same; answer "
            "different if the order of the words changes who does what, where, when or to whom, or any other part of "
            "what is said. Do not go by the words that they have in common."
        ),
        fields=("sentence_1", "sentence_2"),
        output_fields=("verdict",),
        labels=tuple(_PARAPHRASE.values()),
        convert=_pair,
        full=49_401,
    ),
)
