"""Attribution: do two texts mean the same?"""

from collections.abc import Iterator
from typing import Any

from trainer.tasks.base import Answer, DataSet, Release, Task

_SCORES = ("0", "1", "2", "3", "4", "5")

STSB = DataSet(
    folder="stsb",
    origin="https://ixa2.si.ehu.eus/stswiki/index.php/STSbenchmark",
    licence="CC BY-SA 4.0, and terms of single sources",
    permissive=True,
    releases=(
        Release(
            files=("sts-train.csv",),
            read=lambda folder: folder.csv(
                "sts-train.csv",
                delimiter="\t",
                quoted=False,
                more=True,  # some rows name their source behind
                columns=("genre", "file", "year", "index", "score", "sentence1", "sentence2"),
            ),
        ),
    ),
    downloads={"http://ixa2.si.ehu.es/stswiki/images/4/48/Stsbenchmark.tar.gz": "Stsbenchmark.tar.gz"},
)


def _stsb(record: Any) -> Iterator[Answer]:
    score = round(float(record["score"]))  # the mean of several annotators
    yield Answer(context=(record["sentence1"], record["sentence2"]), values=(str(score),))


TASKS = (
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
)
