"""General text quality: short ratings of dialogue replies, utterances made from data, and transferred style.

The files are those in which UniEval and CTC collected the ratings. The ratings of dialogue are from USR (Mehri and
Eskenazi, 2020), those of utterances from Novikova et al. (2017).
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from trainer.collection.tasks.base import Answer, DataSet, Release, Task, rounded_mean

_UNIEVAL = (
    "https://raw.githubusercontent.com/maszhongming/UniEval/9d9b51dc716f40f6b454a4455c7fe2f843aabfbb/reproduce/data"
)
_CTC = "https://raw.githubusercontent.com/tanyuqian/ctc-gen-eval/HEAD/data"


def _data(file: str, origin: str, address: str, licence: str = "MIT", permissive: bool = True) -> DataSet:
    return DataSet(
        folder="extra_dialogue_d2t",
        origin=origin,
        licence=licence,
        permissive=permissive,
        releases=(Release(files=(file,), read=lambda folder: folder.records(file)),),
        downloads={address: file},
    )


def _unieval(file: str, path: str) -> DataSet:
    return _data(file, "github:maszhongming/UniEval", f"{_UNIEVAL}/{path}")


TOPICAL_CHAT = _unieval("unieval_topical_chat.json", "dialogue/topical_chat.json")
SFRES = _unieval("unieval_sfres.json", "data2text/sfres.json")
SFHOT = _unieval("unieval_sfhot.json", "data2text/sfhot.json")
PERSONA_CHAT = _data("ctc_persona_chat.json", "github:tanyuqian/ctc-gen-eval", f"{_CTC}/persona_chat.json")
YELP = _data(
    "ctc_yelp.json",
    "github:tanyuqian/ctc-gen-eval",
    f"{_CTC}/yelp.json",
    licence="MIT; the reviews' sentences under Yelp's terms of use",
    permissive=False,
)


def _topical_chat(record: Any, aspect: str) -> Iterator[Answer]:
    fact = record["context"].strip()
    context = "none" if fact == "_nofact" else fact, record["source"], record["system_output"]
    yield Answer(context=context, values=(rounded_mean([record["scores"][aspect]]),))


def _persona_chat(record: Any, aspect: str) -> Iterator[Answer]:
    persona = record["fact"].replace("your persona: ", "")
    yield Answer(
        context=(persona, record["dialog_history"], record["response"]), values=(rounded_mean([record[aspect]]),)
    )


def _utterance(record: Any, aspect: str) -> Iterator[Answer]:
    context = record["source"], record["system_output"]
    yield Answer(context=context, values=(rounded_mean([record["scores"][aspect]]),))


def _yelp(record: Any, aspect: str) -> Iterator[Answer]:
    yield Answer(context=(record["input_sent"], record["output_sent"]), values=(rounded_mean([record[aspect]]),))


def _task(
    name: str,
    aspect: str,
    *,
    data: DataSet,
    convert: Callable[..., Iterator[Answer]],
    fields: tuple[str, ...],
    title: str,
    description: str,
    highest: int,
    full: int,
) -> Task:
    """Makes a task of one aspect that the annotators rated from 1 to the highest number."""
    return Task(
        name=name,
        split="extra",
        capability="general text quality",
        kind="pointwise",
        data=data,
        title=title,
        description=description,
        fields=fields,
        output_fields=("rating",),
        labels=tuple(str(number) for number in range(1, highest + 1)),
        convert=partial(convert, aspect=aspect),
        full=full,
    )


def _utterances(prefix: str, data: DataSet, places: str, full: int) -> tuple[Task, ...]:
    """Returns the two aspects of utterances about restaurants or hotels."""
    service = (
        f"A telephone service that finds {places} turns the meaning, a dialogue act with its slots and values, into an "
        "utterance. "
    )
    return (
        _task(
            f"{prefix}-informativeness",
            "informativeness",
            data=data,
            convert=_utterance,
            fields=("meaning", "utterance"),
            title=f"Whether an utterance about {places} says all",
            description=service
            + (
                "Rate how informative the utterance is: whether it gives all the useful information of the meaning, "
                "and nothing else. 1 is the lowest rating, for an utterance that gives none of it; 6 the highest, for "
                "one that gives all of it; the numbers between are even steps."
            ),
            highest=6,
            full=full,
        ),
        _task(
            f"{prefix}-naturalness",
            "naturalness",
            data=data,
            convert=_utterance,
            fields=("meaning", "utterance"),
            title=f"Whether an utterance about {places} sounds natural",
            description=service
            + (
                "Rate how natural the utterance is: whether a native speaker could have said it so. 1 is the lowest "
                "rating, for words that nobody would say; 6 the highest, for a perfectly natural utterance; the "
                "numbers between are even steps."
            ),
            highest=6,
            full=full,
        ),
    )


TASKS = (
    _task(
        "topical-chat-overall",
        "overall",
        data=TOPICAL_CHAT,
        convert=_topical_chat,
        fields=("fact", "conversation", "response"),
        title="Quality of a reply in a talk about a topic",
        description=(
            "Two people talk; each line of the conversation is one turn. Rate the overall impression that the response "
            "makes as the next turn: whether one can understand it, it sounds natural, goes with what was said, is "
            "interesting and, unless the fact is none, uses this fact, which the speaker was given. 1 is very bad, 2 "
            "bad, 3 neither good nor bad, 4 good, 5 very good."
        ),
        highest=5,
        full=360,
    ),
    _task(
        "topical-chat-coherence",
        "coherence",
        data=TOPICAL_CHAT,
        convert=_topical_chat,
        fields=("fact", "conversation", "response"),
        title="Whether a reply carries the conversation on",
        description=(
            "Two people talk; each line of the conversation is one turn, and the speaker of the next one was given the "
            "fact. Rate whether the response is a valid continuation of the conversation: 1 if it ignores what was "
            "said or changes the topic abruptly; 2 if it takes up what was said only in part, or drifts off; 3 if it "
            "stays on the topic and clearly takes up what was said."
        ),
        highest=3,
        full=360,
    ),
    _task(
        "persona-chat-overall",
        "overall",
        data=PERSONA_CHAT,
        convert=_persona_chat,
        fields=("persona", "conversation", "response"),
        title="Quality of a reply by someone with a persona",
        description=(
            "Two strangers get to know each other; each line of the conversation is one turn. Rate the overall "
            "impression that the response makes as the next turn, by the speaker whose persona is given: whether one "
            "can understand it, it sounds natural, goes with what was said, is interesting and makes use of the "
            "persona. 1 is very bad, 2 bad, 3 neither good nor bad, 4 good, 5 very good."
        ),
        highest=5,
        full=300,
    ),
    _task(
        "persona-chat-engaging",
        "engaging",
        data=PERSONA_CHAT,
        convert=_persona_chat,
        fields=("persona", "conversation", "response"),
        title="Whether a reply is interesting",
        description=(
            "Two strangers get to know each other; each line of the conversation is one turn, and the next one is by "
            "the speaker whose persona is given. Rate how interesting the response is: 1 if it is dull, something that "
            "could be said anywhere; 2 if it is somewhat interesting and would keep the talk going; 3 if it is "
            "interesting, such as a telling fact or opinion that makes one want to go on."
        ),
        highest=3,
        full=300,
    ),
    *_utterances("sfres", SFRES, "restaurants", 1_181),
    *_utterances("sfhot", SFHOT, "hotels", 875),
    _task(
        "yelp-preservation",
        "preservation",
        data=YELP,
        convert=_yelp,
        fields=("original", "rewritten"),
        title="Whether content survives a change of style",
        description=(
            "The original, a sentence of a review, was rewritten by a program that turns good sentiment into bad or "
            "the other way round. Leave the sentiment aside and rate how much of the original's content the rewritten "
            "sentence keeps: 1 if they are about different things, 2 if little is kept, 3 if about half is, 4 if most "
            "is, 5 if it speaks of just the same things."
        ),
        highest=5,
        full=2_928,
    ),
)
