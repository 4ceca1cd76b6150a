"""How records become examples: checked, ordered, counted; and what happens to files that are not as released."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from math import comb
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from releases import make

from flame_rank.errors import UserError
from trainer.collection.examples import Counts, Example, available_release, examples, in_both_orders, is_available
from trainer.collection.tasks import by_name
from trainer.collection.tasks.base import Answer, DataSet, Pair, Release, Task


def pairs(record: Any) -> Iterator[Pair]:
    yield Pair(context=(record["q"],), better=record["a"], worse=record["b"], tie=record.get("tie", False))


def answers(record: Any) -> Iterator[Answer]:
    if record.get("label") is not None:
        yield Answer(context=(record["q"],), values=(record["label"],))


DATA = DataSet(
    folder="set",
    origin="hf:owner/set",
    licence="MIT",
    permissive=True,
    releases=(
        Release(files=("official.jsonl",), read=lambda folder: folder.jsonl("official.jsonl")),
        Release(files=("copy.json",), read=lambda folder: folder.records("copy.json"), note="a copy"),
    ),
)
PAIRS = Task(
    name="pairs",
    split="train",
    capability="safety",
    kind="pairwise",
    data=DATA,
    title="Pairs",
    description="Choose.",
    fields=("prompt",),
    convert=pairs,
)
LABELS = replace(PAIRS, name="labels", kind="classification", labels=("yes", "no"), convert=answers)


def write(folder: Path, *records: Any, name: str = "official.jsonl") -> Path:
    (folder / "set").mkdir(parents=True, exist_ok=True)
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    (folder / "set" / name).write_text("\n".join(lines), encoding="utf-8")
    return folder


def record(k: int, **more: Any) -> dict[str, Any]:
    return {"q": f"question {k}", "a": f"good {k}", "b": f"poor {k}", **more}


def better(example: Example) -> str:
    """The response that the target names."""
    return example.values[-2 if example.target == " A" else -1]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=60))
@settings(deadline=None, max_examples=40)
def test_labels_are_recoverable_and_sides_equally_often(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[int]
) -> None:
    data = write(tmp_path_factory.mktemp("d"), *(record(k) for k in numbers))  # repetitions among them
    results = list(examples(PAIRS, data))
    assert [better(example) for example in results] == [f"good {k}" for k in numbers]
    sides = [example.label for example in results]
    assert abs(sides.count("A") - sides.count("B")) <= 1


def test_neither_the_place_nor_an_id_tells_the_side(tmp_path: Path) -> None:
    results = list(examples(PAIRS, write(tmp_path, *(record(k) for k in range(2000)))))
    sides = [example.label == "A" for example in results]
    guesses = {
        "the place is even": [k % 2 == 0 for k in range(2000)],
        "the first half": [k < 1000 for k in range(2000)],
        "the side before": [True, *sides[:-1]],
        "the id's last digit": [int(example.values[0][-1]) < 5 for example in results],
        "the id's hash": [hashlib.sha256(example.values[0].encode()).digest()[0] < 128 for example in results],
    }
    for name, guess in guesses.items():
        hits = sum(g == s for g, s in zip(guess, sides, strict=True))
        most = max(hits, 2000 - hits)
        p = 2 * sum(comb(2000, k) for k in range(most, 2001)) / 2**2000
        assert p > 0.001, name


def test_the_order_of_the_file_does_not_matter(tmp_path: Path) -> None:
    records = [record(k) for k in range(50)]
    item = {e.input: e.target for e in examples(PAIRS, write(tmp_path / "a", *records))}
    assert item == {e.input: e.target for e in examples(PAIRS, write(tmp_path / "b", *records[::-1]))}


def test_the_whole_text() -> None:
    pieces = "I\nprompt: ", "\nresponse_a: ", "\n\nchoice:"
    example = Example(task="t", pieces=pieces, values=("p", "r"), target=" A", label="A")
    assert example.input == "I\nprompt: p\nresponse_a: r\n\nchoice:"


def test_ties_are_left_out_or_kept(tmp_path: Path) -> None:
    data = write(tmp_path, record(1), record(2, tie=True), record(3))
    counts = Counts()
    assert len(list(examples(PAIRS, data, counts))) == 2 and counts.ties == 1
    kept = list(examples(PAIRS, data, ties=True))
    assert [example.target == " tie" for example in kept] == [False, True, False]


def test_both_orders(tmp_path: Path) -> None:
    data = write(tmp_path, record(1), record(2, tie=True), record(3))
    results = list(in_both_orders(examples(PAIRS, data, ties=True), PAIRS))
    for item, other in zip(results[::2], results[1::2], strict=True):
        assert other.values == (*item.values[:-2], item.values[-1], item.values[-2]) and item.pieces is other.pieces
        assert other.target == f" {other.label}"
        assert {item.label, other.label} == {"A", "B"} if item.label != "tie" else other.label == "tie"
        assert item.label == "tie" or better(item) == better(other)
    words = replace(PAIRS, output_fields=("choice", "explanation"))  # "response_a is ..." would be wrong then
    assert len(list(in_both_orders(iter(results[:2]), words))) == 2


def test_what_says_nothing_is_counted(tmp_path: Path) -> None:
    data = write(tmp_path, record(1), record(2, a=" "), record(3, b="good 3"))
    counts = Counts()
    assert len(list(examples(PAIRS, data, counts))) == 1 and counts.empty == 2
    counts = Counts()
    data = write(tmp_path, {"q": "q", "label": "yes"}, {"q": "q", "label": None}, {"q": "q", "label": "no"})
    assert [e.target for e in examples(LABELS, data, counts)] == [" yes", " no"]
    assert (counts.records, counts.unanswered, counts.labels) == (3, 1, {"yes": 1, "no": 1})


@pytest.mark.parametrize(
    ("task", "wrong", "why"),
    [
        (PAIRS, {"q": "q", "a": "a"}, "no field 'b'"),
        (PAIRS, record(1, a=1), "int instead of a text"),
        (PAIRS, record(1, q=None), "NoneType instead of a text"),
        (PAIRS, [1, 2], "TypeError"),
        (PAIRS, '{"q": ', "not JSON"),
        (LABELS, {"q": "q", "label": "maybe"}, "'maybe' is not a label of the task"),
        (LABELS, {"q": "q", "label": 1}, "int instead of a text"),
        (replace(LABELS, output_fields=("a", "b")), {"q": "q", "label": "yes"}, "1 values for 2 output fields"),
        (replace(LABELS, fields=("a", "b")), {"q": "q", "label": "yes"}, "1 values for 2 fields"),
        (replace(LABELS, kind="pairwise"), {"q": "q", "label": "yes"}, "a pairwise task made a Answer"),
    ],
)
def test_a_bad_record_is_named_and_ends_it(task: Task, wrong: Any, why: str, tmp_path: Path) -> None:
    data = write(tmp_path, wrong)
    with pytest.raises(UserError) as caught:
        list(examples(task, data))
    assert str(caught.value).startswith(f"{task.name}: {tmp_path}/set/official.jsonl:1: ") and why in str(caught.value)


def test_few_bad_records_are_counted(tmp_path: Path) -> None:
    data = write(tmp_path, *(record(k) for k in range(99)), {"q": 1})
    counts = Counts()
    assert len(list(examples(PAIRS, data, counts, max_bad=0.01))) == 99
    assert counts.bad == 1 and counts.first_bad.endswith("official.jsonl:100: no field 'a'")
    with pytest.raises(UserError, match=r"1 of 100 records are bad, more than --max-bad allows \(0.10%\)"):
        list(examples(PAIRS, data))


def test_a_wrong_file_ends_it_early(tmp_path: Path) -> None:
    data = write(tmp_path, *({"q": str(k)} for k in range(30_000)))
    with pytest.raises(UserError, match="10000 of 10000 records are bad"):
        list(examples(LABELS, write(tmp_path, *(["x"] * 30_000)), Counts()))
    counts = Counts()
    assert (
        list(examples(LABELS, write(data, *({"q": str(k)} for k in range(30))), counts)) == []
        and counts.unanswered == 30
    )


def test_the_form_that_is_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"pairs: .*set/official.jsonl: no such file; .* fetch pairs --data"):
        available_release(PAIRS, tmp_path)
    assert not is_available(PAIRS, tmp_path)
    write(tmp_path, json.dumps([record(1)]), name="copy.json")
    assert available_release(PAIRS, tmp_path).note == "a copy" and len(list(examples(PAIRS, tmp_path))) == 1
    write(tmp_path, record(1), record(2))
    assert available_release(PAIRS, tmp_path).note == "" and len(list(examples(PAIRS, tmp_path))) == 2
    write(tmp_path, "")
    with pytest.raises(UserError, match="the file is empty; fetch it again"):
        list(examples(PAIRS, tmp_path))
    write(tmp_path, "", "")
    with pytest.raises(UserError, match="its files hold no record"):
        list(examples(PAIRS, tmp_path))
    for part in ("train", "eval"):
        write(tmp_path / "whole" / part / "..", *[record(1)])
        shutil.move(tmp_path / "whole" / "set", tmp_path / part / "set")
        assert is_available(PAIRS, tmp_path)


def test_votes_go_with_their_responses(tmp_path: Path) -> None:
    make(tmp_path)
    task = by_name("copoem")
    for example in examples(task, tmp_path):
        ahead = example.votes[0] - example.votes[1]
        assert ahead * {"A": 1, "B": -1}[example.label] > 0
    both = list(in_both_orders(examples(task, tmp_path), task))
    for before, after in zip(both[::2], both[1::2], strict=True):
        assert before.votes == after.votes[::-1] and before.label != after.label
