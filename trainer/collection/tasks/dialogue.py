"""Attribution: is a reply in a dialogue supported by the knowledge that it should be based on?"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from trainer.collection.release_files import Folder, Row, map_records
from trainer.collection.tasks.base import Answer, DataSet, Release, Task

_BEGIN_REPO = "https://raw.githubusercontent.com/google/BEGIN-dataset/main"
_AUDIT_REPO = "https://raw.githubusercontent.com/McGill-NLP/FaithDial/main/data-audit"
_AUDIT_FILES = (
    *("gold/wow.csv", "gold/cmu.csv", "gold/topical.csv"),
    *("CTRL/ctrl_processed_wow.csv", "CTRL/ctrl_processed_cmu.csv", "CTRL/ctrl_processed_topicalchat.csv"),
    *("GPT2/gpt2_processed_wow.csv", "GPT2/gpt2_processed_cmu.csv", "GPT2/gpt2_processed_topical.csv"),
    *("DoHA/doha_processed_wow.csv", "DoHA/doha_processed_cmu.csv", "DoHA/doha_processed_topical.csv"),
)
_MODELS = ("ctrl", "gpt2", "doha")  # the column of that name holds the model's reply
_FAITH = ("entailment", "partial hallucination", "hallucination", "uncooperative", "generic")
_ACTS = ("disclosure", "edification", "advisement", "confirmation", "acknowledgement", "question")
_ACT_OF = dict(zip(_ACTS, _ACTS, strict=True)) | {
    **dict.fromkeys(("acknowledgment", "ack.", "ack"), "acknowledgement"),
    "advice": "advisement",
    "other": "",  # none of the acts
}
_VERDICTS = {"SUPPORTS": "supports", "REFUTES": "refutes", "NOT ENOUGH INFO": "not enough info"}
_ATTRIBUTABLE = ("fully attributable", "not fully attributable", "generic")
_CONSISTENT = {"0": "consistent", "1": "inconsistent"}  # the files mark inconsistent replies


def _audit(folder: Folder) -> Iterator[Row]:
    """Yields the audited replies of people and of models, with the same field names."""

    def same(row: Any) -> Any:
        if "BEGIN" in row:
            names = "evidence", "history", "response", "BEGIN"
        else:
            model = next((name for name in _MODELS if name in row), "response")
            names = "knowledge", "history", model, "begin_label"
        return dict(zip(("knowledge", "history", "response", "BEGIN"), (row[name] for name in names), strict=True))

    for file in _AUDIT_FILES:
        yield from map_records(folder.csv(file, unended=True), same)


FAITHDIAL = DataSet(
    folder="faithdial",
    origin="hf:McGill-NLP/FaithDial",
    licence="MIT",
    permissive=True,
    releases=(Release(files=("train.json",), read=lambda folder: folder.records("train.json")),),
    downloads={"hf://datasets/McGill-NLP/FaithDial/data/train.json": "train.json"},
)
FAITHDIAL_AUDIT = DataSet(
    folder="faithdial_data_audit",
    origin="github:McGill-NLP/FaithDial",
    licence="MIT",
    permissive=True,
    releases=(Release(files=_AUDIT_FILES, read=_audit),),
    downloads={f"{_AUDIT_REPO}/{name}": name for name in _AUDIT_FILES},
)
DIALFACT = DataSet(
    folder="dialfact",
    origin="github:salesforce/DialFact",
    licence="BSD 3-Clause",
    permissive=True,
    releases=(
        # The training part is synthetic; people judged only these two.
        Release(
            files=("valid_split.jsonl", "test_split.jsonl"),
            read=lambda folder: folder.jsonl("*_split.jsonl"),
        ),
        Release(
            files=("testsmall.jsonl",),
            read=lambda folder: folder.jsonl("testsmall.jsonl"),
            note="300 replies, from the repository's scripts",
        ),
    ),
    downloads={
        f"https://raw.githubusercontent.com/salesforce/DialFact/master/data/{name}": name
        for name in ("valid_split.jsonl", "test_split.jsonl")
    },
)
BEGIN = DataSet(
    folder="begin",
    origin="github:google/BEGIN-dataset",
    licence="CC BY 4.0; Topical-Chat's part CDLA-Sharing 1.0",
    permissive=True,
    releases=(
        Release(
            files=tuple(f"begin_{part}_{source}.tsv" for source in ("wow", "cmu", "tc") for part in ("dev", "test")),
            read=lambda folder: folder.csv("begin_*.tsv", delimiter="\t", quoted=False, unended=True),
        ),
        Release(
            files=("begin_dev_wow.tsv", "begin_test_wow.tsv", "begin_dev_cmu.tsv", "begin_dev_tc.tsv"),
            read=lambda folder: folder.csv("begin_*.tsv", delimiter="\t", quoted=False, unended=True),
            note="without the test parts of CMU-DoG and Topical-Chat",
        ),
    ),
    downloads={
        f"{_BEGIN_REPO}/{place}/begin_{part}_{source}.tsv": f"begin_{part}_{source}.tsv"
        for place, source in (("wow", "wow"), ("cmu-dog", "cmu"), ("topicalchat", "tc"))
        for part in ("dev", "test")
    },
)
Q2 = DataSet(
    folder="q2",
    origin="github:orhonovich/q-squared",
    licence="Apache-2.0; Wizard of Wikipedia's texts MIT",
    permissive=True,
    releases=(
        # The repository's four other files hold replies that are also in this file.
        Release(files=("cross_annotation.csv",), read=lambda folder: folder.csv("cross_annotation.csv")),
    ),
    downloads={
        "https://raw.githubusercontent.com/orhonovich/q-squared/main/third_party/data/cross_annotation.csv": (
            "cross_annotation.csv"
        )
    },
)


def _dialogue(turns: list[str]) -> str:
    """Writes out a dialogue of two speakers in turn; the last turn is the partner's, which the reply answers."""
    names = ("Partner", "Speaker")
    return "\n".join(f"{names[(len(turns) - 1 - k) % 2]}: {turn.strip()}" for k, turn in enumerate(turns))


def _faith(tags: Iterable[str]) -> str:
    """Returns one label for all tags that annotators chose; empty if they chose none."""
    labels = {tag.strip().lower() for tag in tags} - {""}
    if unknown := labels - set(_FAITH):
        raise ValueError(f"BEGIN is {sorted(unknown)}")
    if "partial hallucination" in labels or {"hallucination", "entailment"} <= labels:
        return "partial hallucination"
    order = (
        "hallucination",
        "uncooperative",
        "entailment",
        "generic",
    )  # uncooperative replies are also tagged as entailed
    return next((name for name in order if name in labels), "")


def _faithdial(record: Any) -> Iterator[Answer]:
    for turn in record["utterances"]:
        history, knowledge = _dialogue(turn["history"]), turn["knowledge"]
        label = _faith(turn["BEGIN"])  # of the original reply, which is the response if nobody edited it
        if not label:
            continue
        original, response = turn["original_response"], turn["response"]
        yield Answer(context=(history, knowledge, original or response), values=(label,))
        # Annotators rewrote hallucinations so that the knowledge supports them; the authors' critic uses them so.
        if original and original != response and "hallucination" in label:
            yield Answer(context=(history, knowledge, response), values=("entailment",))


def _faithdial_act(record: Any) -> Iterator[Answer]:
    """Yields the replies with a single act."""
    for turn in record["utterances"]:
        acts = {_ACT_OF[act.strip().lower()] for act in turn["VRM"]}
        if len(acts) == 1 and acts != {""}:
            reply = turn["original_response"] or turn["response"]
            yield Answer(context=(_dialogue(turn["history"]), reply), values=(acts.pop(),))


_SLIPS = {"entailmentt": "entailment", "hallucinated": "hallucination"}  # spelling errors in three rows


def _faithdial_audit(record: Any) -> Iterator[Answer]:
    tags = [tag.strip().lower() for tag in re.split("[,.]", record["BEGIN"])]
    label = _faith(_SLIPS.get(tag, tag) for tag in tags)
    if label:  # four fifths of one file are not annotated
        yield Answer(context=(record["history"], record["knowledge"], record["response"]), values=(label,))


def _dialfact(record: Any) -> Iterator[Answer]:
    label = _VERDICTS[record["response_label"]]
    evidence = "\n".join(f"{title}: {text}" for title, _, text, *_ in record["evidence_list"])
    # A personal reply makes no claim, so its label means nothing; without evidence a reply cannot be judged.
    if _reply_type(record) == "factual" and evidence:
        yield Answer(context=(_dialogue(record["context"]), evidence, record["response"]), values=(label,))


def _dialfact_type(record: Any) -> Iterator[Answer]:
    yield Answer(context=(_dialogue(record["context"]), record["response"]), values=(_reply_type(record),))


def _reply_type(record: Any) -> str:
    if record["type_label"] not in ("factual", "personal"):
        raise ValueError(f"type_label is {record['type_label']!r}")
    return str(record["type_label"])


def _begin(record: Any) -> Iterator[Answer]:
    context = record["message"], record["knowledge"], record["response"]
    yield Answer(context=context, values=(record["begin_label"].lower(),))


def _q2(record: Any) -> Iterator[Answer]:
    for system in ("dodeca", "memnet"):
        context = record["message"], record["knowledge"], record[f"{system}_response"]
        yield Answer(context=context, values=(_CONSISTENT[record[f"{system}_label"]],))


_BEGIN_LABELS = (
    "Answer entailment if the knowledge bears out all that the response states; partial hallucination if it bears out "
    "a part, and the rest, personal opinions and experiences included, is not to be found in it; hallucination if it "
    "bears out nothing; uncooperative if the response is borne out but does not go along with the conversation, as by "
    "evading the question or copying the knowledge out; generic if it is too vague to state anything."
)

TASKS = (
    Task(
        name="faithdial",
        split="train",
        capability="attribution",
        kind="classification",
        data=FAITHDIAL,
        title="Faithfulness of a reply to its knowledge",
        description=(
            "The Speaker has to reply to a Partner who seeks information, by the knowledge alone. Label the response. "
            + _BEGIN_LABELS
        ),
        fields=("dialogue", "knowledge", "response"),
        output_fields=("faithfulness",),
        labels=_FAITH,
        convert=_faithdial,
    ),
    Task(
        name="faithdial-speech-act",
        split="train",
        capability="attribution",
        kind="classification",
        data=FAITHDIAL,
        title="What a reply does",
        description=(
            "Say what the Speaker does by the response. Answer disclosure if it tells of own thoughts, feelings or "
            "experiences; edification if it informs about objective facts; advisement if it suggests or corrects what "
            "the Partner is to do; confirmation if it says that the two agree or share an experience; acknowledgement "
            "if it only shows that the Partner was heard; question if it asks for something."
        ),
        fields=("dialogue", "response"),
        output_fields=("speech_act",),
        labels=_ACTS,
        convert=_faithdial_act,
    ),
    Task(
        name="dialfact",
        split="train",
        capability="attribution",
        kind="classification",
        data=DIALFACT,
        title="Fact check of a reply in a conversation",
        description=(
            "The Speaker's response makes claims about the world; the evidence is from Wikipedia, each line with its "
            "page's title. Read the response in the light of the dialogue and answer supports if the evidence bears "
            "out all of its claims, refutes if the evidence contradicts some claim, and not enough info if the "
            "evidence does not settle whether they are true. Do not go by knowledge of your own."
        ),
        fields=("dialogue", "evidence", "response"),
        output_fields=("verdict",),
        labels=tuple(_VERDICTS.values()),
        convert=_dialfact,
    ),
    Task(
        name="dialfact-type",
        split="train",
        capability="attribution",
        kind="classification",
        data=DIALFACT,
        title="Does a reply state something that can be checked?",
        description=(
            "Say whether the Speaker's response holds a claim that could be verified. Answer factual if at least one "
            "part of it could be found true or false by looking it up, for instance in an encyclopedia; answer "
            "personal if all of it is opinion, feeling, private experience, small talk or a question."
        ),
        fields=("dialogue", "response"),
        output_fields=("type",),
        labels=("factual", "personal"),
        convert=_dialfact_type,
    ),
    Task(
        name="begin",
        split="train",
        capability="attribution",
        kind="classification",
        data=BEGIN,
        title="Attribution of a dialogue system's reply",
        description=(
            "A dialogue system was given the knowledge and replied to the message. Answer fully attributable if all "
            "information that the response gives about the world is supported by the knowledge; not fully attributable "
            "if any of it is not, be it false, made up, off the topic or about the system's own person; generic if the "
            "response gives no information and would fit many other messages."
        ),
        fields=("message", "knowledge", "response"),
        output_fields=("attribution",),
        labels=_ATTRIBUTABLE,
        convert=_begin,
    ),
    Task(
        name="q2",
        split="train",
        capability="attribution",
        kind="classification",
        data=Q2,
        title="Consistency of a reply with its knowledge",
        description=(
            "A dialogue system replied to the message and was to draw on the knowledge. Answer consistent if what the "
            "response states as fact agrees with the knowledge; answer inconsistent if some of it contradicts the "
            "knowledge or is not to be found there. Chit-chat, opinions and clumsy wording do not count."
        ),
        fields=("message", "knowledge", "response"),
        output_fields=("consistency",),
        labels=tuple(_CONSISTENT.values()),
        convert=_q2,
        full=1_088,
    ),
    Task(
        name="faithdial-audit",
        split="extra",
        capability="attribution",
        kind="classification",
        data=FAITHDIAL_AUDIT,
        title="Faithfulness of people's and of models' replies",
        description=(
            "A person or a dialogue model replied to the message, which is empty where the response opens the "
            "conversation, by the knowledge. Label the response. " + _BEGIN_LABELS
        ),
        fields=("message", "knowledge", "response"),
        output_fields=("faithfulness",),
        labels=_FAITH,
        convert=_faithdial_audit,
    ),
)
