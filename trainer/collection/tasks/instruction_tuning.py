"""Instruction tuning: the model learns to write answers, so that the judge can also follow instructions."""

from collections.abc import Iterator
from typing import Any

from trainer.collection.tasks.base import Answer, DataSet, Release, Task
from trainer.collection.tasks.prm800k import PRM800K_SOLUTIONS
from trainer.collection.tasks.solutions import Solutions

_SPEAKERS = {"system": "System", "user": "User", "assistant": "Assistant"}

TULU_V2 = DataSet(
    folder="tulu_v2",
    origin="hf:allenai/tulu-v2-sft-mixture",
    licence="ODC-BY; parts of the mixture CC BY-NC 4.0, CC BY-NC-SA, or without a licence",
    permissive=False,
    releases=(Release(files=("data/train-*.parquet",), read=lambda folder: folder.parquet("data/train-*.parquet")),),
    downloads={"hf://datasets/allenai/tulu-v2-sft-mixture/data/train-*.parquet": "data/"},
)
LIMA = DataSet(
    folder="lima",
    origin="hf:GAIR/lima",
    licence="CC BY-NC-SA, or what is stricter among its sources",
    permissive=False,
    releases=(Release(files=("train.jsonl",), read=lambda folder: folder.jsonl("train.jsonl")),),
    downloads={"hf://datasets/GAIR/lima/train.jsonl": "train.jsonl"},
)


def _transcript(turns: list[tuple[str, str]]) -> str:
    """Writes out a conversation; a single message of the user is left as it is."""
    if len(turns) == 1 and turns[0][0] == "User":
        return turns[0][1]
    return "\n\n".join(f"{speaker}: {text}" for speaker, text in turns)


def _tulu_v2(record: Any) -> Iterator[Answer]:
    """Yields the assistant's last message, after the whole conversation before it."""
    turns = [(_SPEAKERS[message["role"]], message["content"]) for message in record["messages"]]
    while turns and turns[-1][0] != "Assistant":
        turns.pop()
    if any(speaker == "User" for speaker, _ in turns):
        yield Answer(context=(_transcript(turns[:-1]),), values=(turns[-1][1],))


def _lima(record: Any) -> Iterator[Answer]:
    """Yields the last reply; user and assistant take turns."""
    texts = record["conversations"]
    texts = texts[: len(texts) // 2 * 2]
    if not texts:
        raise ValueError("a conversation without a reply")
    turns = [(("User", "Assistant")[number % 2], text) for number, text in enumerate(texts)]
    yield Answer(context=(_transcript(turns[:-1]),), values=(texts[-1],))


def _prm800k_if(record: Solutions) -> Iterator[Answer]:
    """Yields the human's solution, and all solutions by the model in which labellers found every step right."""
    right, _ = record.sure()
    for text in [record.human, *right] if record.human else right:
        yield Answer(context=(record.problem,), values=(text,))


TASKS: tuple[Task, ...] = (
    Task(
        name="tulu-v2",
        split="train",
        capability="instruction tuning",
        kind="generative",
        data=TULU_V2,
        title="Reply to the user",
        description=(
            "A user's message is given, or a conversation that ends with one, sometimes behind a system message that "
            "sets rules. Write the assistant's reply to the last message: do what is asked, keep to the rules and to "
            "the form that is asked for, and be correct and complete."
        ),
        fields=("conversation",),
        output_fields=("reply",),
        labels=(),
        convert=_tulu_v2,
    ),
    Task(
        name="prm800k-if",
        split="train",
        capability="instruction tuning",
        kind="generative",
        data=PRM800K_SOLUTIONS,
        title="Solve a mathematical problem",
        description=(
            "A competition problem in mathematics is given. Write a solution of it: reason in small steps, each of "
            "which is correct and follows from the ones before, and end with the answer in its simplest form."
        ),
        fields=("problem",),
        output_fields=("solution",),
        labels=(),
        convert=_prm800k_if,
    ),
    Task(
        name="lima",
        split="train",
        capability="instruction tuning",
        kind="generative",
        data=LIMA,
        title="Answer as a helpful expert",
        description=(
            "A question or request is given, or a conversation that ends with one. Write the reply that a careful and "
            "friendly expert would give: address everything that is asked, explain it in a well-ordered way, in as "
            "much detail as helps, and do not pad."
        ),
        fields=("conversation",),
        output_fields=("reply",),
        labels=(),
        convert=_lima,
        full=1_030,
    ),
)
