"""General text quality: is a text well written, and are its presuppositions true?"""

import ast
import re
from collections.abc import Iterator
from functools import partial
from html import unescape
from typing import Any

from trainer.collection.tasks.base import Answer, DataSet, Pair, Release, Task

# The ten kinds of error of Dou et al. (2022), as the release has them and as labels.
_ERRORS = {
    "Grammar_Usage": "grammar",
    "Redundant": "redundant",
    "Off-prompt": "off-prompt",
    "Self-contradiction": "self-contradiction",
    "Incoherent": "incoherent",
    "Bad_Math": "bad math",
    "Commonsense": "commonsense",
    "Encyclopedic": "encyclopedic",
    "Needs_Google": "needs google",
    "Technical_Jargon": "jargon",
}
_TOKENS = {"_SEP_": ",", "_QUOTE_": '"', "_LEFT_": "<", "_RIGHT_": ">", "_NEWLINE_": "\n"}  # in explanations
_MAUVE_SECONDS = 25.0  # faster answers are left out, as by the authors
# "Slightly A" and "tie" are both 1a in the release, so such an answer is not used; for the authors' script, 0 is a tie,
# too.
_MAUVE_BETTER = {"2a": "a", "1a": None, "0": None, "1b": "b", "2b": "b"}
_ACCEPTABLE = {"0": "unacceptable", "1": "acceptable"}
_CREPE_LABELS = ("normal", "false presupposition")

SCARECROW = DataSet(
    folder="scarecrow",
    origin="github:Yao-Dou/scarecrow",
    licence="none stated",
    permissive=False,
    releases=(Release(files=("grouped_data.csv",), read=lambda folder: folder.csv("grouped_data.csv")),),
    downloads={
        "https://raw.githubusercontent.com/Yao-Dou/scarecrow/main/data/grouped_data.csv": "grouped_data.csv",
    },
)
MAUVE = DataSet(
    folder="mauve",
    origin="github:krishnap25/mauve-experiments",
    licence="none stated",
    permissive=False,
    releases=(
        Release(files=("mauve-human-eval-anon.csv",), read=lambda folder: folder.csv("mauve-human-eval-anon.csv")),
    ),
    downloads={
        "https://drive.google.com/uc?export=download&id=1doC-NjhUlt4YDnK1qm23tyrfbogVlZ29": "mauve-human-eval-anon.csv",
    },
)


def _cola_file(file: str, note: str = "") -> Release:
    columns = ("source", "acceptable", "original", "sentence")
    return Release(
        files=(file,),
        read=lambda folder: folder.csv(file, delimiter="\t", columns=columns, quoted=False),
        note=note,
    )


COLA = DataSet(
    folder="cola",
    origin="https://nyu-mll.github.io/CoLA",
    licence="none stated; excerpts of published works",
    permissive=False,
    releases=(
        _cola_file("cola_public/raw/in_domain_train.tsv"),
        _cola_file("in_domain_train.tsv", note="the same file, without its archive's folders"),
    ),
    downloads={"https://nyu-mll.github.io/CoLA/cola_public_1.1.zip": "cola_public_1.1.zip"},
)
CREPE = DataSet(
    folder="crepe",
    origin="github:velocityCavalry/CREPE",
    licence="BSD-3-Clause; questions and comments of Reddit's ELI5",
    permissive=True,
    releases=(
        Release(
            files=("labeled_data/train.jsonl",),
            read=lambda folder: folder.jsonl("labeled_data/train.jsonl"),
        ),
    ),
    downloads={
        "https://drive.google.com/uc?export=download&id=1mGzc1xmz7mHf90sI8zns0XZvNwHoHRBg": "CREPE_data.zip",
    },
)


def _spans(record: Any) -> Iterator[tuple[str, str, str]]:
    """Yields, for every error of every annotator, the text with the span marked, the kind of error and the
    explanation."""
    try:
        annotators = ast.literal_eval(record["responses"])
    except (SyntaxError, RecursionError) as error:
        raise ValueError(f"responses is not a list ({error})") from error
    text = record["generation"].encode("utf-16-le")  # offsets count the units of the browser's strings, of two bytes
    for errors in annotators:
        for kind, words, _, start, end, _ in errors:  # the others are severity and antecedent
            if start < 0:
                raise ValueError(f"a span begins at {start}")
            before, span, behind = (
                part.decode("utf-16-le") for part in (text[: 2 * start], text[2 * start : 2 * end], text[2 * end :])
            )
            for token, character in _TOKENS.items():
                words = words.replace(token, character)
            if span.strip():
                yield f"{before}[[{span}]]{behind}", _ERRORS[kind], words


def _scarecrow(record: Any) -> Iterator[Answer]:
    for text, error, _ in _spans(record):
        yield Answer(context=(record["prompt"], text), values=(error,))


def _scarecrow_explanation(record: Any) -> Iterator[Answer]:
    for text, error, words in _spans(record):
        yield Answer(context=(record["prompt"], text, error), values=(words,))


def _mauve(question: str, record: Any) -> Iterator[Pair]:
    better = _MAUVE_BETTER[record[question]]
    if better is None or float(record["Answer.te"]) <= _MAUVE_SECONDS:
        return
    a, b = _plain(record["Input.completiona"]), _plain(record["Input.completionb"])
    better, worse = (a, b) if better == "a" else (b, a)
    yield Pair(context=(_plain(record["Input.ctx"]),), better=better, worse=worse)


def _plain(html: str) -> str:
    """Returns the text of the paragraphs that the annotators saw."""
    lines = re.sub(r"</p>\s*<p>|<br\s*/?>", "\n", html)
    return unescape(re.sub(r"</?(?:p|strong)>", "", lines)).strip()


def _cola(record: Any) -> Iterator[Answer]:
    yield Answer(context=(record["sentence"],), values=(_ACCEPTABLE[record["acceptable"]],))


def _crepe_label(record: Any) -> str | None:
    """Returns the answer of all annotators; None if they do not agree."""
    labels = set(record["labels"])
    if not labels or not labels <= set(_CREPE_LABELS):
        raise ValueError(f"labels is {record['labels']!r}")
    return labels.pop() if len(labels) == 1 else None


def _crepe(record: Any) -> Iterator[Answer]:
    label = _crepe_label(record)
    if label is not None:
        yield Answer(context=(record["question"], record["comment"]), values=(label,))


def _crepe_correction(record: Any) -> Iterator[Answer]:
    if _crepe_label(record) == "false presupposition":
        for both in zip(record["presuppositions"], record["corrections"], strict=True):
            yield Answer(context=(record["question"], record["comment"]), values=both)


TASKS = (
    Task(
        name="scarecrow",
        split="train",
        capability="general text quality",
        kind="classification",
        data=SCARECROW,
        title="Kind of an error in a text",
        description=(
            "The text continues the prompt, and one span of it stands between [[ and ]]. Name its error. grammar: "
            "wrong, missing or extra words; redundant: says something again; off-prompt: unrelated to the prompt or "
            "against it; self-contradiction: against the rest of the text; incoherent: makes no sense in another way; "
            "bad math: calculated or converted wrongly; commonsense: against what everybody knows; encyclopedic: "
            "against what reference works say; needs google: to be looked up before one believes it; jargon: words "
            "only experts know."
        ),
        fields=("prompt", "text"),
        output_fields=("error",),
        labels=tuple(_ERRORS.values()),
        convert=_scarecrow,
    ),
    Task(
        name="scarecrow-explanation",
        split="train",
        capability="general text quality",
        kind="generative",
        data=SCARECROW,
        title="Explanation of an error in a text",
        description=(
            "The text continues the prompt. The span between [[ and ]] has an error of the kind that is given: it may "
            "concern the language (grammar, redundant, off-prompt, self-contradiction, incoherent), the facts (bad "
            "math, commonsense, encyclopedic) or the reader (needs google, jargon). Explain in a sentence what is "
            "wrong with the span, or what a reader would have to know or look up."
        ),
        fields=("prompt", "text", "error"),
        output_fields=("explanation",),
        labels=(),
        convert=_scarecrow_explanation,
    ),
    Task(
        name="mauve-human-like",
        split="train",
        capability="general text quality",
        kind="pairwise",
        data=MAUVE,
        title="The continuation that a human may have written",
        description=(
            "Two continuations of the same web text are given; each may be written by a human or by a language model. "
            "Choose the one that is more likely to be written by a human. Answer with A if response_a is, with B if "
            "response_b is."
        ),
        fields=("context",),
        convert=partial(_mauve, "Answer.q3"),
    ),
    Task(
        name="mauve-interesting",
        split="train",
        capability="general text quality",
        kind="pairwise",
        data=MAUVE,
        title="The more interesting continuation",
        description=(
            "Two continuations of the same web text are given. Choose the one that is more interesting or creative as "
            "a continuation of this context, whether or not it is the more sensible one. Answer with A if response_a "
            "is more interesting, with B if response_b is."
        ),
        fields=("context",),
        convert=partial(_mauve, "Answer.q1"),
    ),
    Task(
        name="mauve-sensible",
        split="train",
        capability="general text quality",
        kind="pairwise",
        data=MAUVE,
        title="The more sensible continuation",
        description=(
            "Two continuations of the same web text are given. Choose the one that makes more sense: that follows from "
            "the context and holds together, whether or not it is the more interesting one. Answer with A if "
            "response_a makes more sense, with B if response_b does."
        ),
        fields=("context",),
        convert=partial(_mauve, "Answer.q2"),
    ),
    Task(
        name="cola",
        split="train",
        capability="general text quality",
        kind="classification",
        data=COLA,
        title="Acceptability of a sentence",
        description=(
            "The sentence is an example from a work of linguistics. Judge as a native speaker of English whether it "
            "is a possible sentence of the language: acceptable if its grammar is right, unacceptable if words are "
            "wrongly formed, missing, superfluous or in a wrong order. It need not be true, likely or good style."
        ),
        fields=("sentence",),
        output_fields=("judgement",),
        labels=tuple(_ACCEPTABLE.values()),
        convert=_cola,
        full=8_551,
    ),
    Task(
        name="crepe",
        split="train",
        capability="general text quality",
        kind="classification",
        data=CREPE,
        title="Questions with false presuppositions",
        description=(
            "A person asks a question on a forum; the comment is the answer that readers liked best. Find out, with "
            "the help of the comment, whether the question takes something for granted that is not true. Answer false "
            "presupposition if it does, and normal if all that it takes for granted holds, even where the comment "
            "adds or disputes other things."
        ),
        fields=("question", "comment"),
        output_fields=("verdict",),
        labels=_CREPE_LABELS,
        convert=_crepe,
    ),
    Task(
        name="crepe-correction",
        split="train",
        capability="general text quality",
        kind="generative",
        data=CREPE,
        title="Correction of a false presupposition",
        description=(
            "A person asks a question on a forum that takes something false for granted; the comment is the answer "
            "that readers liked best. Under presupposition, write as one plain statement what the question wrongly "
            "takes for granted. Under correction, write from the comment how it really is, in a statement that can be "
            "read without the comment."
        ),
        fields=("question", "comment"),
        output_fields=("presupposition", "correction"),
        labels=(),
        convert=_crepe_correction,
    ),
)
