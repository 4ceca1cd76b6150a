"""What shares thirteen words in a row with an evaluation set is not learned."""

import shutil
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from releases import make

from trainer.collection.decontamination import NGRAM, NgramIndex, index_evaluation, ngram_hashes, without_overlap
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
    assert lines == []
    shutil.rmtree(data / "rankgen")
    shutil.rmtree(data / "copoem")
    fewer = index_evaluation(TASKS, data, lines.append)
    (line,) = lines
    assert line.startswith("overlap with 2 of 53 evaluation tasks is not checked") and str(data) in line
    assert line.endswith(": rankgen, copoem")
    assert len(fewer) < len(everything)
    values = next(examples(by_name("hhh-helpful"), data)).values
    assert [fewer.overlaps(value) for value in values] == [everything.overlaps(value) for value in values]
