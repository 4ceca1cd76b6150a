"""What shares thirteen words in a row with an evaluation set is not learned."""

from hypothesis import given
from hypothesis import strategies as st

from trainer.collection.decontamination import WORDS, Held, apart, runs
from trainer.collection.examples import Example

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
