"""What shares thirteen words in a row with an evaluation set is not learned."""

from hypothesis import given
from hypothesis import strategies as st

from trainer.collection.decontamination import WORDS, NgramIndex, ngram_hashes, without_overlap
from trainer.collection.examples import Example

NUMBERS = "one two three four five six seven eight nine ten eleven twelve thirteen"
THIRTEEN = NUMBERS.split()
HELD_OUT = NgramIndex([f"zero {NUMBERS} fourteen"])


def test_runs() -> None:
    assert len(ngram_hashes(NUMBERS)) == 1 and len(HELD_OUT) == 3
    assert len(ngram_hashes(" ".join(THIRTEEN[:12]))) == len(ngram_hashes("")) == len(NgramIndex([""])) == 0
    assert not NgramIndex([]).overlaps(NUMBERS) and not HELD_OUT.overlaps("")


@given(st.lists(st.sampled_from("abcd"), max_size=40), st.lists(st.sampled_from("abcd"), min_size=13, max_size=40))
def test_touches_is_a_common_run(one: list[str], other: list[str]) -> None:
    def plain(words: list[str]) -> set[tuple[str, ...]]:
        return {tuple(words[i : i + WORDS]) for i in range(len(words) - WORDS + 1)}

    found = NgramIndex([" ".join(other)]).overlaps(" ".join(one))
    assert found == bool(plain(one) & plain(other))


def test_examples_that_touch_are_left_out() -> None:
    def saying(*values: str) -> Example:
        return Example(task="t", pieces=("", "", ""), values=values, target=" A", label="A")

    clean = saying("a", " ".join(THIRTEEN[1:]))
    assert list(without_overlap([saying("a", NUMBERS), clean, saying(NUMBERS, "a")], HELD_OUT)) == [clean]
