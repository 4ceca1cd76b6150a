"""General text quality: one aspect of one summary, as annotators rated it."""

from collections.abc import Callable, Iterator
from typing import Any

from trainer.collection.release_files import BadRecord, Folder, Row, map_records
from trainer.collection.tasks.base import Answer, DataSet, Release, Task, majority, rounded_mean

_LIKERT = ("1", "2", "3", "4", "5")
_YES_NO = ("yes", "no", "unsure")


def _articles(rows: Iterator[Row], wanted: set[str], key: str, texts: tuple[str, ...]) -> dict[str, str]:
    """Reads the articles with these ids; a row's text is the first of these fields that the row has."""
    return {row[key]: next(row[text] for text in texts if text in row) for _, row in rows if row[key] in wanted}


def _joined(rows: Iterator[Row], articles: dict[str, str], id_of: Callable[[Any], str]) -> Iterator[Row]:
    """Yields the rows with the article as a further field, `text`."""

    def join(record: Any) -> Any:
        if id_of(record) not in articles:
            raise ValueError(f"there is no article {id_of(record)}")
        return {**record, "text": articles[id_of(record)]}

    return map_records(rows, join)


def _ids(rows: Iterator[Row], id_of: Callable[[Any], str]) -> set[str]:
    return {id_of(record) for _, record in rows if not isinstance(record, BadRecord)}


# SEAHORSE. The archive holds three tables, of which train.tsv is for training.

_SEAHORSE_DOWNLOADS = {"https://storage.googleapis.com/seahorse-public/seahorse_data.zip": "seahorse_data.zip"}


def _seahorse_table(folder: Folder) -> Iterator[Row]:
    return folder.csv("**/train.tsv", delimiter="\t")


def _seahorse_with_articles(folder: Folder) -> Iterator[Row]:
    """Joins the records with rows of GEM's xsum, mlsum, xlsum and wiki_lingua, saved as JSON lines; each of these
    has another name for the article."""

    def id_of(record: Any) -> str:
        return str(record["gem_id"])

    wanted = _ids(_seahorse_table(folder), id_of)
    articles = _articles(folder.jsonl("articles/*.jsonl"), wanted, "gem_id", ("document", "text", "source"))
    yield from _joined(_seahorse_table(folder), articles, id_of)


SEAHORSE = DataSet(
    folder="seahorse",
    origin="github:google-research-datasets/seahorse",
    licence="CC BY 4.0",
    permissive=True,
    releases=(Release(files=("**/train.tsv",), read=_seahorse_table),),
    downloads=_SEAHORSE_DOWNLOADS,
)
SEAHORSE_ARTICLES = DataSet(
    folder="seahorse",
    origin="github:google-research-datasets/seahorse",
    licence="CC BY 4.0; articles under terms of their own, those of XL-Sum and WikiLingua non-commercial",
    permissive=False,
    releases=(Release(files=("**/train.tsv", "articles/*.jsonl"), read=_seahorse_with_articles),),
    downloads=_SEAHORSE_DOWNLOADS,
)


def _seahorse(question: str, with_article: bool) -> Callable[[Any], Iterator[Answer]]:
    def convert(record: Any) -> Iterator[Answer]:
        answer = record[question]
        if answer:  # empty if the annotator did not understand the summary and was not asked further
            label = {"Yes": "yes", "No": "no", "Unsure": "unsure"}[answer]
            article = (record["text"],) if with_article else ()
            yield Answer(context=(*article, record["summary"]), values=(label,))

    return convert


def _seahorse_task(name: str, question: int, title: str, description: str) -> Task:
    with_article = question >= 4  # the first three questions are about the summary alone
    return Task(
        name=f"seahorse-{name}",
        split="train",
        capability="general text quality",
        kind="classification",
        data=SEAHORSE_ARTICLES if with_article else SEAHORSE,
        title=title,
        description=description,
        fields=("article", "summary") if with_article else ("summary",),
        output_fields=("answer",),
        labels=_YES_NO,
        convert=_seahorse(f"question{question}", with_article),
    )


# SummEval. Its annotations name articles of CNN and the Daily Mail by the hash that is their id on Hugging Face.


def _summeval_id(record: Any) -> str:
    return str(record["id"]).rpartition("-")[2]


def _summeval(folder: Folder) -> Iterator[Row]:
    annotations = "model_annotations.aligned.jsonl"
    wanted = _ids(folder.jsonl(annotations), _summeval_id)
    articles = _articles(folder.parquet("cnn_dailymail/test-*.parquet"), wanted, "id", ("article",))
    yield from _joined(folder.jsonl(annotations), articles, _summeval_id)


def _summeval_converted(folder: Folder) -> Iterator[Row]:
    """Yields the records of BARTScore's file; it has only the mean of the experts' scores, which is read like a
    single expert's."""
    for where, article in folder.records("bartscore_SummEval_data.converted.json"):
        for system, entry in article["sys_summs"].items():
            record = {"text": article["src"], "decoded": entry["sys_summ"], "expert_annotations": [entry["scores"]]}
            yield f"{where}, {system}", record


SUMMEVAL = DataSet(
    folder="summeval",
    origin="github:Yale-LILY/SummEval",
    licence="MIT; articles from CNN and the Daily Mail",
    permissive=True,
    releases=(
        Release(files=("model_annotations.aligned.jsonl", "cnn_dailymail/test-*.parquet"), read=_summeval),
        Release(
            files=("bartscore_SummEval_data.converted.json",),
            read=_summeval_converted,
            note="mean scores of the experts and tokenised texts, as converted by neulab/BARTScore",
        ),
    ),
    downloads={
        "https://storage.googleapis.com/sfr-summarization-repo-research/model_annotations.aligned.jsonl": (
            "model_annotations.aligned.jsonl"
        ),
        "hf://datasets/abisee/cnn_dailymail/3.0.0/test-*.parquet": "cnn_dailymail/",
    },
)


def _summeval_side(side: str) -> Callable[[Any], Iterator[Answer]]:
    def convert(record: Any) -> Iterator[Answer]:
        rating = rounded_mean([scores[side] for scores in record["expert_annotations"]])  # the crowd's are not used
        yield Answer(context=(record["text"], record["decoded"]), values=(rating,))

    return convert


def _summeval_task(side: str, title: str, description: str) -> Task:
    return Task(
        name=f"summeval-{side}",
        split="train",
        capability="general text quality",
        kind="pointwise",
        data=SUMMEVAL,
        title=title,
        description=description,
        fields=("article", "summary"),
        output_fields=("rating",),
        labels=_LIKERT,
        convert=_summeval_side(side),
        full=1_600,
    )


# riSum. The paper describes 300 documents with an instruction, three answers to each, and three annotators for each.

RISUM = DataSet(
    folder="risum",
    origin="https://arxiv.org/abs/2310.08394",
    licence="none stated",
    permissive=False,
    releases=(
        Release(
            files=("risum.jsonl",),
            read=lambda folder: folder.jsonl("risum.jsonl"),
            note="one answer a line: document, instruction, answer, and per annotator a rating and whether it fulfills",
        ),
    ),
)


def _risum_rating(record: Any) -> Iterator[Answer]:
    context = record["document"], record["instruction"], record["answer"]
    yield Answer(context=context, values=(rounded_mean(record["ratings"]),))


def _risum_fulfilled(record: Any) -> Iterator[Answer]:
    verdict = majority({True: "yes", False: "no"}[vote] for vote in record["fulfilled"])
    if verdict is not None:
        yield Answer(context=(record["document"], record["instruction"], record["answer"]), values=(verdict,))


TASKS = (
    Task(
        name="risum-rating",
        split="train",
        capability="general text quality",
        kind="pointwise",
        data=RISUM,
        title="How well does the answer follow the instruction?",
        description=(
            "Somebody wants something particular from the document and says so in the instruction. Rate how well the "
            "answer does it, from the document alone: 5 if it does exactly what was asked, rightly and completely; 4 "
            "if only small things could be better; 3 if it does part of it; 2 if it does little of it, or much is "
            "wrong; 1 if it does not do it at all."
        ),
        fields=("document", "instruction", "answer"),
        output_fields=("rating",),
        labels=_LIKERT,
        convert=_risum_rating,
    ),
    Task(
        name="risum-fulfilled",
        split="train",
        capability="general text quality",
        kind="classification",
        data=RISUM,
        title="Is the instruction fulfilled?",
        description=(
            "Somebody wants something particular from the document and says so in the instruction. Answer yes if the "
            "answer fulfills every part of the instruction, in content, length and form, and no if some part of it is "
            "not done or is done otherwise than asked."
        ),
        fields=("document", "instruction", "answer"),
        output_fields=("fulfilled",),
        labels=("yes", "no"),
        convert=_risum_fulfilled,
    ),
    _seahorse_task(
        "comprehensible",
        1,
        "Can the summary be understood?",
        "You see the summary alone, which may be in any of several languages. Answer yes if you can read it and "
        "understand what it says, even where its wording has faults; no if you cannot make out what is meant, or if "
        "it breaks off so that it makes no sense; unsure if you cannot decide.",
    ),
    _seahorse_task(
        "repetition",
        2,
        "Is the summary free of repetition?",
        "You see the summary alone, which may be in any of several languages. Answer yes if nothing in it is said "
        "twice without need, in the same words or in others; no if some piece of information is repeated "
        "needlessly; unsure if you cannot decide. Note that yes is the good answer.",
    ),
    _seahorse_task(
        "grammar",
        3,
        "Is the summary grammatical?",
        "You see the summary alone, which may be in any of several languages. Answer yes if it is grammatically "
        "correct in its language; no if it has errors of grammar, such as a wrong form, a missing word or a sentence "
        "that breaks off; unsure if you cannot decide. Whether it is true or interesting does not count.",
    ),
    _seahorse_task(
        "attribution",
        4,
        "Is everything in the summary from the article?",
        "Answer yes if everything that the summary states can be traced to the article, as what it says or what "
        "plainly follows from it; no if anything is not in the article or is at odds with it, even if it happens to "
        "be true; unsure if you cannot decide. What the summary leaves out does not count.",
    ),
    _seahorse_task(
        "main-ideas",
        5,
        "Does the summary have the article's main ideas?",
        "Answer yes if the summary conveys what the article is mainly about and its most important message; no if it "
        "misses that, for instance by dwelling on a side issue; unsure if you cannot decide. Details may be left out.",
    ),
    _seahorse_task(
        "concise",
        6,
        "Does the summary put the article concisely?",
        "Answer yes if the summary represents the article's information briefly and without ballast: a reader gets "
        "what counts in few words; no if it is long-winded, is filled with what is of no account, or gives too little "
        "to stand for the article; unsure if you cannot decide.",
    ),
    _summeval_task(
        "coherence",
        "How well do the sentences of the summary hang together?",
        "Rate the coherence of the summary, that is, of all its sentences taken together: 5 if it is well structured "
        "and builds from sentence to sentence to one body of information about the article's subject; 3 if the order "
        "or the links are faulty in places; 1 if it is a heap of unconnected statements; 2 and 4 lie between these.",
    ),
    _summeval_task(
        "consistency",
        "Do the facts in the summary agree with the article?",
        "Rate how the facts in the summary agree with those in the article: 5 if every statement of the summary "
        "follows from the article; 3 if some are not in it or are garbled; 1 if the summary is mostly wrong or made "
        "up; 2 and 4 lie between these. What is missing, and how it is put, does not count.",
    ),
    _summeval_task(
        "fluency",
        "How good are the single sentences of the summary?",
        "Rate the quality of the summary's sentences, each by itself: 5 if they are without errors of grammar, of "
        "format and of capital letters and can be read with ease; 3 if errors disturb the reading in places; 1 if the "
        "sentences are hard to read or broken; 2 and 4 lie between these. Their content does not count.",
    ),
    _summeval_task(
        "relevance",
        "Does the summary select what is important?",
        "Rate the summary's selection from the article: 5 if it holds the important information and only that; 3 if "
        "some important points are missing, or there is matter that is superfluous or repeated; 1 if it misses what "
        "the article is about; 2 and 4 lie between these.",
    ),
)
