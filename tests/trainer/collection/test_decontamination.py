"""What shares thirteen words in a row with an evaluation set is not learned."""

import json
import shutil
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from releases import make

from trainer.collection.decontamination import (
    NGRAM,
    NgramIndex,
    index_evaluation,
    ngram_hashes,
    read_shipped,
    shipped_names,
    without_overlap,
    write_shipped,
)
from trainer.collection.examples import Example, examples
from trainer.collection.tasks import TASKS, by_name

NUMBERS = "one two three four five six seven eight nine ten eleven twelve thirteen"
THIRTEEN = NUMBERS.split()
HELD_OUT = NgramIndex([f"zero {NUMBERS} fourteen"])


def test_runs() -> None:
    assert len(ngram_hashes(NUMBERS)) == 1 and len(HELD_OUT) == 3
    assert len(ngram_hashes(" ".join(THIRTEEN[:12]))) == len(ngram_hashes("")) == len(NgramIndex([""])) == 0
    assert not NgramIndex([]).overlaps(NUMBERS) and not HELD_OUT.overlaps("")


@given(st.lists(st.sampled_from("abcd"), max_size=40), st.lists(st.sampled_from("abcd"), min_size=13, max_size=40))
def test_touches_is_a_common_run(item: list[str], other: list[str]) -> None:
    def plain(words: list[str]) -> set[tuple[str, ...]]:
        return {tuple(words[i : i + NGRAM]) for i in range(len(words) - NGRAM + 1)}

    results = NgramIndex([" ".join(other)]).overlaps(" ".join(item))
    assert results == bool(plain(item) & plain(other))


def test_examples_that_touch_are_left_out() -> None:
    def saying(*values: str) -> Example:
        return Example(task="t", pieces=("", "", ""), values=values, target=" A", label="A")

    clean = saying("a", " ".join(THIRTEEN[1:]))
    assert list(without_overlap([saying("a", NUMBERS), clean, saying(NUMBERS, "a")], HELD_OUT)) == [clean]


def test_evaluation_tasks_that_are_not_on_this_machine_are_named(tmp_path: Path) -> None:
    data, lines = make(tmp_path), list[str]()
    everything = index_evaluation(TASKS, data, lines.append)
    assert lines == [] and len(everything.checked) == 53
    shutil.rmtree(data / "dipper")
    shutil.rmtree(data / "literary_mt")
    fewer = index_evaluation(TASKS, data, lines.append)
    (line,) = lines
    assert line.startswith("overlap with 2 of 53 evaluation tasks is not checked") and str(data) in line
    assert line.endswith(": literary-mt, dipper")
    assert len(fewer) < len(everything) and {*everything.checked} - {*fewer.checked} == {"literary-mt", "dipper"}
    values = next(examples(by_name("hhh-helpful"), data)).values
    assert [fewer.overlaps(value) for value in values] == [everything.overlaps(value) for value in values]


def test_shipped_hashes_know_every_run_of_twenty_words(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(map(str, rng.integers(10**6, size=size))) for size in (5, 13, 20, 21, 60, 200)]
    records = [{"input": texts[k], "target_scores": {texts[k + 1]: 1, texts[k + 2]: 0}} for k in (0, 3)]
    folder = tmp_path / "hhh_alignment" / "helpful"
    folder.mkdir(parents=True)
    (folder / "task.json").write_text(json.dumps({"examples": records}))
    counts = write_shipped(TASKS, tmp_path, tmp_path / "hashes.npz")
    assert counts.keys() == {"hhh-helpful"}
    index, whole = NgramIndex([], read_shipped(tmp_path / "hashes.npz")["hhh-helpful"]), NgramIndex(texts)
    assert len(index) == counts["hhh-helpful"] < len(whole) / 2
    assert [index.overlaps(text) for text in texts] == [False, *[True] * 5]
    for words in map(str.split, texts):
        for start in range(len(words) - 19):
            assert index.overlaps("other " + " ".join(words[start : start + 20]))
    assert not index.overlaps(NUMBERS, "")


def test_the_package_knows_the_evaluation_tasks_that_were_at_hand(tmp_path: Path) -> None:
    assert {by_name(name).split for name in shipped_names()} == {"eval"}
    assert {"hhh-honest", "rankgen", "copoem", "expert-lfqa", "rewardbench-hep-python"} <= shipped_names()
    known = index_evaluation(TASKS, tmp_path, lambda line: None)  # without any data on the machine
    assert {*known.checked} == shipped_names()
    problem = "A person who lost their keys at the station asks how one might get back into a flat on a Sunday evening"
    assert not known.overlaps(problem)


def test_the_package_knows_the_texts_of_the_real_data(shared_data: Path, tmp_path: Path) -> None:
    known = index_evaluation(TASKS, tmp_path, lambda line: None)
    for name in ("copoem", "rankgen", "hhh-other"):
        for example in examples(by_name(name), shared_data):
            for value in example.values:
                assert known.overlaps(value) == (len(ngram_hashes(value)) > 0)
