"""General text quality: further ratings of summaries, which the paper does not list."""

import html
import re
from collections.abc import Callable, Iterator
from typing import Any

from trainer.collection.release_files import Folder, Row, reject_bad
from trainer.collection.tasks.base import Answer, DataSet, Release, Task, rounded_mean

_LIKERT = ("1", "2", "3", "4", "5")
_FOLDER = "extra_summ_human_eval"
_BARTSCORE = "as converted by neulab/BARTScore: tokenised texts and mean scores"
_TAG = re.compile(r"<[^<>]*>")


def _converted(folder: Folder, file: str, key: str) -> Iterator[Row]:
    """Yields a record for each summary in one of BARTScore's files."""
    for where, article in folder.records(file):
        for system, entry in article["sys_summs"].items():
            texts = {"article": article["src"], "reference": article["ref_summ"], "summary": entry["sys_summ"]}
            yield f"{where}, {system}", texts | {key: entry["scores"]}


# Newsroom. Its table has a row for each annotator, and texts written for a web page.


def _plain(text: str) -> str:
    lines = html.unescape(_TAG.sub("\n", text)).splitlines()
    return "\n".join(line.strip() for line in lines if line.strip())


def _newsroom(folder: Folder) -> Iterator[Row]:
    records: dict[tuple[str, str], dict[str, Any]] = {}
    for where, row in reject_bad(folder.csv("newsroom-human-eval.csv")):
        record = records.setdefault(
            (row["ArticleID"], row["System"]),
            {"article": _plain(row["ArticleText"]), "summary": _plain(row["SystemSummary"]), "where": where},
        )
        for column, score in row.items():
            if column.endswith("Rating"):
                side = column.removesuffix("Rating").lower()
                record.setdefault("scores", {}).setdefault(side, []).append(float(score))
    for record in records.values():
        yield record["where"], record


def _newsroom_converted(folder: Folder) -> Iterator[Row]:
    for where, record in _converted(folder, "bartscore_Newsroom_data.converted.json", "means"):
        yield where, record | {"scores": {side: [mean] for side, mean in record["means"].items()}}


NEWSROOM = DataSet(
    folder=_FOLDER,
    origin="github:lil-lab/newsroom",
    licence="Newsroom's terms: research only",
    permissive=False,
    releases=(
        Release(files=("newsroom-human-eval.csv",), read=_newsroom),
        Release(
            files=("bartscore_Newsroom_data.converted.json",),
            read=_newsroom_converted,
            note=_BARTSCORE,
        ),
    ),
)


def _newsroom_side(side: str) -> Callable[[Any], Iterator[Answer]]:
    def convert(record: Any) -> Iterator[Answer]:
        yield Answer(context=(record["article"], record["summary"]), values=(rounded_mean(record["scores"][side]),))

    return convert


# REALSumm. Its repository has the summaries and scores as pickles, which are not opened here.

REALSUMM = DataSet(
    folder=_FOLDER,
    origin="github:neulab/REALSumm",
    licence="none stated; Apache-2.0 of the conversion",
    permissive=False,
    releases=(
        Release(
            files=("bartscore_REALSumm_data.converted.json",),
            read=lambda folder: _converted(folder, "bartscore_REALSumm_data.converted.json", "scores"),
            note=_BARTSCORE,
        ),
    ),
)


def _realsumm(record: Any) -> Iterator[Answer]:
    """Yields the share of the reference's content units that annotators found in the summary, rounded to fifths."""
    share = record["scores"]["litepyramid_recall"]
    if not 0 <= share <= 1:
        raise ValueError(f"litepyramid_recall is {share}")
    yield Answer(context=(record["reference"], record["summary"]), values=(str(int(5 * share + 0.5)),))


DIALSUMMEVAL = DataSet(
    folder=_FOLDER,
    origin="github:kite99520/DialSummEval",
    licence="none stated",
    permissive=False,
    releases=(
        Release(files=("human_judgment.jsonl",), read=lambda folder: folder.jsonl("human_judgment.jsonl")),
        Release(
            files=("dialsummeval_human_judgment.jsonl",),
            read=lambda folder: folder.jsonl("dialsummeval_human_judgment.jsonl"),
            note="the same file under another name",
        ),
    ),
    downloads={
        "https://raw.githubusercontent.com/kite99520/DialSummEval/main/annotation_campus/human_judgment.jsonl": (
            "human_judgment.jsonl"
        )
    },
)


def _dialsummeval(side: str) -> Callable[[Any], Iterator[Answer]]:
    def convert(record: Any) -> Iterator[Answer]:
        turns = [turn.strip() for turn in record["dialogue"].split(" | ")]
        dialogue = "\n".join(turns).removeprefix("| ")
        rating = rounded_mean([scores[side] for scores in record["annotations"]])
        yield Answer(context=(dialogue, record["summary"]), values=(rating,))

    return convert


TASKS = (
    Task(
        name="newsroom-informativeness",
        split="extra",
        capability="general text quality",
        kind="pointwise",
        data=NEWSROOM,
        title="Does the summary have the article's key points?",
        description=(
            "Rate how well the summary captures the key points of the news article: 5 if all of them are there; 3 if "
            "it has about half of what matters; 1 if it has nothing of it; 2 and 4 lie between these. Broken language "
            "counts only where a point gets lost by it."
        ),
        fields=("article", "summary"),
        output_fields=("rating",),
        labels=_LIKERT,
        convert=_newsroom_side("informativeness"),
        full=420,
    ),
    Task(
        name="newsroom-coherence",
        split="extra",
        capability="general text quality",
        kind="pointwise",
        data=NEWSROOM,
        title="Do the summary's parts fit together?",
        description=(
            "Rate how well the phrases and sentences of the summary fit together and make sense as a whole: 5 if they "
            "form one connected text; 3 if the connection is lost in places; 1 if they are fragments without any; 2 "
            "and 4 lie between these. How much of the article is covered does not count."
        ),
        fields=("article", "summary"),
        output_fields=("rating",),
        labels=_LIKERT,
        convert=_newsroom_side("coherence"),
        full=420,
    ),
    Task(
        name="realsumm",
        split="extra",
        capability="general text quality",
        kind="pointwise",
        data=REALSUMM,
        title="How much of the reference does the summary convey?",
        description=(
            "Split the reference into single facts, and count how many of them can be inferred from the summary. "
            "Answer with that share in fifths: 5 if all of the facts are there or nearly so, 4 for about four fifths, "
            "3 for about three fifths, 2 for about two fifths, 1 for about a fifth, and 0 if none is there or hardly "
            "any. Whatever else the summary says does not count."
        ),
        fields=("reference", "summary"),
        output_fields=("fifths",),
        labels=("0", *_LIKERT),
        convert=_realsumm,
        full=2_400,
    ),
    Task(
        name="dialsummeval-consistency",
        split="extra",
        capability="general text quality",
        kind="pointwise",
        data=DIALSUMMEVAL,
        title="Do the facts in the summary agree with the dialogue?",
        description=(
            "Rate how the facts in the summary agree with what is said in the dialogue: 5 if all of them do, also who "
            "said or did what; 3 if some are wrong or not in the dialogue; 1 if the summary is mostly wrong; 2 and 4 "
            "lie between these. What it leaves out does not count."
        ),
        fields=("dialogue", "summary"),
        output_fields=("rating",),
        labels=_LIKERT,
        convert=_dialsummeval("consistency"),
        full=1_400,
    ),
    Task(
        name="dialsummeval-relevance",
        split="extra",
        capability="general text quality",
        kind="pointwise",
        data=DIALSUMMEVAL,
        title="Does the summary pick what matters in the dialogue?",
        description=(
            "Rate the summary's selection from the dialogue: 5 if it has what matters in it and no more; 3 if some of "
            "that is missing, or trifles take its place; 1 if it misses what the dialogue is about; 2 and 4 lie "
            "between these."
        ),
        fields=("dialogue", "summary"),
        output_fields=("rating",),
        labels=_LIKERT,
        convert=_dialsummeval("relevance"),
        full=1_400,
    ),
)
