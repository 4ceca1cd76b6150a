"""Attribution: is a summary true to its source?"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from trainer.collection.release_files import Folder, Row, reject_bad
from trainer.collection.tasks.base import Answer, DataSet, Release, Task, majority

_YES_NO = ("yes", "no")
_ERRORS = {  # FRANK's typology
    "NoE": "none",
    "RelE": "relation",
    "EntE": "entity",
    "CircE": "circumstance",
    "CorefE": "coreference",
    "LinkE": "link",
    "OutE": "outside",
    "GramE": "grammar",
    "OtherE": "other",
}
_XSUM_REPO = "https://raw.githubusercontent.com/google-research-datasets/xsum_hallucination_annotations/master"
_XSUM_TEST = "https://huggingface.co/datasets/EdinburghNLP/xsum/resolve/refs%2Fconvert%2Fparquet/default/test"
_XSUM_SPANS = "hallucination_annotations_xsum_summaries.csv"
_QAGS_REPO = "https://raw.githubusercontent.com/W4ngatang/qags/master/data"


def _xsum(folder: Folder, articles: dict[str, str]) -> Iterator[Row]:
    """Yields a record for each summary with an article: the article, and the spans that each annotator marked."""
    summaries: dict[tuple[str, str], Any] = {}
    for where, row in reject_bad(folder.csv(_XSUM_SPANS)):
        key = row["bbcid"], row["system"]
        if row["bbcid"] in articles:
            new = {"article": articles[row["bbcid"]], "summary": row["summary"], "marks": []}
            summaries.setdefault(key, (where, new))[1]["marks"].append(row)
    yield from summaries.values()


def _xsum_parquet(folder: Folder) -> Iterator[Row]:
    return _xsum(folder, {row["id"]: row["document"] for _, row in folder.parquet("xsum/*.parquet")})


def _xsum_summac(folder: Folder) -> Iterator[Row]:
    return _xsum(folder, {row["bbcid"]: row["document"] for _, row in folder.records("summac_xsumfaith.json")})


FRANK = DataSet(
    folder="frank",
    origin="github:artidoro/frank",
    licence="MIT",
    permissive=True,
    releases=(
        Release(
            files=("human_annotations_sentence.json",),
            read=lambda folder: folder.records("human_annotations_sentence.json"),
        ),
    ),
    downloads={
        "https://raw.githubusercontent.com/artidoro/frank/main/data/human_annotations_sentence.json": (
            "human_annotations_sentence.json"
        )
    },
)
XSUM_FAITHFUL = DataSet(
    folder="xsum_faithful",
    origin="github:google-research-datasets/xsum_hallucination_annotations",
    licence="CC BY 4.0; the articles are the BBC's",
    permissive=True,
    releases=(
        # The release names the articles of XSum's test part; their texts are XSum's.
        Release(files=(_XSUM_SPANS, "xsum/*.parquet"), read=_xsum_parquet),
        Release(
            files=(_XSUM_SPANS, "summac_xsumfaith.json"),
            read=_xsum_summac,
            note="with the articles that SummaC's copy holds, 485 of 500",
        ),
    ),
    downloads={
        f"{_XSUM_REPO}/{_XSUM_SPANS}": _XSUM_SPANS,
        f"{_XSUM_TEST}/0000.parquet": "xsum/test.parquet",
    },
)
QAGS = DataSet(
    folder="qags",
    origin="github:W4ngatang/qags",
    licence="none stated",
    permissive=False,
    releases=(
        Release(
            files=("mturk_cnndm.jsonl", "mturk_xsum.jsonl"),
            read=lambda folder: folder.jsonl("mturk_*.jsonl"),
        ),
    ),
    downloads={f"{_QAGS_REPO}/{name}": name for name in ("mturk_cnndm.jsonl", "mturk_xsum.jsonl")},
)


def _frank_votes(sentence: Any) -> list[list[str]]:
    """Lists the errors that each annotator chose for a sentence, in words: one, several or none."""
    votes = [[_ERRORS[tick] for tick in ticks] for ticks in sentence.values()]
    if not all(votes):
        raise ValueError("an annotator ticked nothing")
    return votes


def _frank(record: Any) -> Iterator[Answer]:
    verdicts = []
    for sentence in record["summary_sentences_annotations"]:
        verdicts.append(majority("yes" if vote == ["none"] else "no" for vote in _frank_votes(sentence)))
    # A summary with one sentence that is not factual is not factual, even if another sentence is undecided.
    if "no" in verdicts or None not in verdicts:
        label = "no" if "no" in verdicts else "yes"
        yield Answer(context=(record["article"], record["summary"]), values=(label,))


def _frank_error(record: Any) -> Iterator[Answer]:
    sentences = record["summary_sentences"], record["summary_sentences_annotations"]
    for text, sentence in zip(*sentences, strict=True):
        votes = _frank_votes(sentence)
        errors = [name for name in _ERRORS.values() if 2 * sum(name in vote for vote in votes) > len(votes)]
        if len(errors) == 1:  # a single type, which most annotators chose
            yield Answer(context=(record["article"], record["summary"], text), values=(errors[0],))


def _xsum_faithful(record: Any) -> Iterator[Answer]:
    """Quotes the words that most annotators marked, in the order of the summary."""
    summary = _unescaped(record["summary"])
    marked: dict[str, set[int]] = defaultdict(set)  # annotator -> characters
    for mark in record["marks"]:
        characters = marked[mark["worker_id"]]
        if mark["hallucination_type"] == "NULL":
            continue
        if mark["hallucination_type"] not in ("intrinsic", "extrinsic"):
            raise ValueError(f"hallucination_type is {mark['hallucination_type']!r}")
        span, start = _unescaped(mark["hallucinated_span"]).strip(), int(mark["hallucinated_span_start"])
        start = summary.find(span, max(start - 1, 0))  # counted from 1, and sometimes from the space before it
        if start < 0 or not span:
            raise ValueError("a span is not part of its summary")
        characters.update(range(start, start + len(span)))
    verdict = majority(bool(characters) for characters in marked.values())
    quotes = _quotes(summary, list(marked.values())) if verdict else ["none"]
    if verdict is not None and quotes:  # they may agree that something is wrong, but not on what
        yield Answer(context=(record["article"], summary), values=("; ".join(quotes),))


def _quotes(summary: str, marked: list[set[int]]) -> list[str]:
    """Returns the runs of words of which most annotators marked more than half of the characters."""
    runs: list[list[str]] = [[]]
    end = 0
    for word in summary.split(" "):
        start, end = end, end + len(word) + 1
        most = sum(2 * sum(k in characters for characters in marked) > len(marked) for k in range(start, end - 1))
        if 2 * most > len(word):
            runs[-1].append(word)
        else:
            runs.append([])
    return [f'"{" ".join(run).rstrip(".,;:")}"' for run in runs if run]


def _unescaped(text: str) -> str:
    """Returns a text as annotators saw it: the files have a backslash before an apostrophe and for a line break."""
    return text.replace("\\'", "'").replace("\\n", " ")


def _qags(record: Any) -> Iterator[Answer]:
    summary = " ".join(sentence["sentence"] for sentence in record["summary_sentences"])
    for sentence in record["summary_sentences"]:
        label = majority(vote["response"] for vote in sentence["responses"])
        if label is not None:
            yield Answer(context=(record["article"], summary, sentence["sentence"]), values=(label,))


TASKS = (
    Task(
        name="frank",
        split="train",
        capability="attribution",
        kind="classification",
        data=FRANK,
        title="Factuality of a summary",
        description=(
            "Say whether the summary of the news article is factual. Answer no if at least one of its sentences holds "
            "an error: a wrong relation, person, thing, place, time or manner, a pronoun or a connection that "
            "misleads, something that is not in the article, or grammar so broken that the meaning is lost. Answer yes "
            "if every sentence is supported by the article."
        ),
        fields=("article", "summary"),
        output_fields=("factual",),
        labels=_YES_NO,
        convert=_frank,
    ),
    Task(
        name="frank-error",
        split="train",
        capability="attribution",
        kind="classification",
        data=FRANK,
        title="Type of a summary's factual error",
        description=(
            "Say which error the sentence of the summary holds, by the article: relation (what happens is wrong), "
            "entity (to whom or what), circumstance (where, when or how), coreference (a pronoun or name refers to "
            "nothing or to the wrong thing), link (statements are connected wrongly, as in time or cause), outside (it "
            "is not in the article), grammar (its meaning is lost), other, or none if it is factual."
        ),
        fields=("article", "summary", "sentence"),
        output_fields=("error",),
        labels=tuple(_ERRORS.values()),
        convert=_frank_error,
    ),
    Task(
        name="xsum-faithful",
        split="train",
        capability="attribution",
        kind="generative",
        data=XSUM_FAITHFUL,
        title="Hallucinated spans of a summary",
        description=(
            "Quote the spans of the one-sentence summary that the article does not support: those that contradict it, "
            "and those that add what it neither says nor implies, though it be true. Quote word for word, in the order "
            "of the summary, each span in quotation marks, with a semicolon between two. Answer none if the article "
            "supports all of the summary."
        ),
        fields=("article", "summary"),
        output_fields=("hallucinated_spans",),
        labels=(),
        convert=_xsum_faithful,
    ),
    Task(
        name="qags",
        split="train",
        capability="attribution",
        kind="classification",
        data=QAGS,
        title="Support for a sentence of a summary",
        description=(
            "Read the article and say whether the sentence of its summary is factually supported by it. Answer yes if "
            "all that the sentence says is stated in or follows from the article; answer no if any of it is "
            "contradicted or not to be found there, or if the sentence makes no sense. Small slips of grammar do not "
            "count."
        ),
        fields=("article", "summary", "sentence"),
        output_fields=("supported",),
        labels=_YES_NO,
        convert=_qags,
        full=953,
    ),
)
