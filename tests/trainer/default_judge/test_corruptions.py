"""Replies made worse: each kind of damage, and what holds for all of them."""

import random
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.default_judge import corruptions
from trainer.default_judge.corruptions import corrupt

TEXT = "One thing is this. Is that another? It is!\nHere are more:\n\n- first\n- second\nThat is all there is to say."
OTHER = "Cats sleep. They purr, too. Nobody knows why.\nDogs do not."

pieces = st.lists(st.sampled_from(["a", "bc.", "d?", " ", "\n", "\n\n", ". ", "é", "\t"]), max_size=20).map("".join)
texts = st.one_of(st.text(max_size=80), pieces)


@given(text=texts, other=texts, seed=st.integers(0, 99), refused=st.booleans())
@settings(deadline=None, max_examples=300)
def test_any_reply(text: str, other: str, seed: int, refused: bool) -> None:
    results = corrupt(text, other, random.Random(seed), refused=refused)
    assert all(item == item.strip() != "" for item in results)
    assert text.strip() not in results and len({*results}) == len(results) <= len(corruptions._CORRUPTIONS) + refused
    assert results == corrupt(text, other, random.Random(seed), refused=refused)


@given(text=texts)
@settings(deadline=None, max_examples=200)
def test_sentences_are_the_text(text: str) -> None:
    own = corruptions._sentences(text)
    assert own and "".join(own).rstrip() == text.rstrip()
    assert "".join(own[:-1]) == text[: sum(map(len, own[:-1]))]
    assert own[-1].endswith(" ")


def test_sentences() -> None:
    assert corruptions._sentences(TEXT) == [
        *("One thing is this. ", "Is that another? ", "It is!\n", "Here are more:\n\n"),
        *("- first\n", "- second\n", "That is all there is to say. "),
    ]
    assert corruptions._sentences("3.5 is e.g.this") == ["3.5 is e.g.this "]


def sentences(text: str) -> list[str]:
    """Its sentences without the white space around them."""
    return [sentence.strip() for sentence in corruptions._sentences(text)]


def test_every_kind_is_there_once() -> None:
    assert [f.__name__ for f in corruptions._CORRUPTIONS] == [
        *("_elsewhere", "_drift", "_loop", "_break_off", "_disorder", "_jumble")
    ]
    drawn = (corrupt(TEXT, OTHER, random.Random(seed), refused=False) for seed in range(20))
    elsewhere, drift, loop, broken, disorder, jumble = next(results for results in drawn if len(results) == 6)
    assert elsewhere == OTHER
    assert drift.startswith("One thing") and drift.endswith("Dogs do not.")
    assert max(Counter(sentences(loop)).values()) > 1
    assert TEXT.startswith(broken)
    assert sorted(sentences(disorder)) == sorted(sentences(TEXT)) and disorder != TEXT
    assert jumble != TEXT and not Counter(jumble.split(" ")) - Counter(TEXT.split(" "))


def test_a_refusal_is_worse_than_a_reply() -> None:
    drawn = {corrupt(TEXT, OTHER, random.Random(seed), refused=True)[-1] for seed in range(60)}
    assert drawn == {*corruptions._REFUSALS}
    assert not drawn & {*corrupt(TEXT, OTHER, random.Random(0), refused=False)}


Kind = Callable[[str, str, random.Random], str]


def every(kind: Kind, text: str = TEXT, other: str = OTHER) -> set[str]:
    """What one kind of damage leaves of a text."""
    return {kind(text, other, random.Random(seed)) for seed in range(200)}


def test_a_reply_to_something_else() -> None:
    assert every(corruptions._elsewhere) == {OTHER}


def test_the_second_half_is_of_another_reply() -> None:
    own, foreign = corruptions._sentences(TEXT), corruptions._sentences(OTHER)
    assert every(corruptions._drift) == {"".join([*own[:4], *foreign[2:]])}
    assert every(corruptions._drift, "One.", "Two.") == {"One. Two. "}


def test_sentences_are_repeated() -> None:
    own, most = sentences(TEXT), 0
    for text in every(corruptions._loop):
        results = sentences(text)
        counts = Counter(results)
        repeated = [sentence for sentence in own if counts[sentence] > 1]
        assert 1 <= len(repeated) <= 2 and set(results) <= set(own)
        most = max(most, *counts.values())
        # Without what is repeated, it is a beginning of the text.
        assert list(dict.fromkeys(results)) == own[: len(counts)]
    assert most == 4
    assert every(corruptions._loop, "One.") == {"One. " * n for n in (2, 3, 4)}


def test_it_breaks_off() -> None:
    words = len(TEXT.split(" "))
    kept = set()
    for text in every(corruptions._break_off):
        assert TEXT.startswith(f"{text} ")
        kept.add(len(text.split(" ")) / words)
    assert min(kept) == pytest.approx(0.2, abs=0.06) and max(kept) == pytest.approx(0.7, abs=0.06)
    assert every(corruptions._break_off, "One two three four") == {"One", "One two"}


def test_sentences_stand_in_disorder() -> None:
    made = every(corruptions._disorder)
    assert len(made) > 100
    assert all(sorted(sentences(text)) == sorted(sentences(TEXT)) for text in made)


def test_words_are_in_disorder_or_missing() -> None:
    words = TEXT.split(" ")
    lost = set()
    for text in every(corruptions._jumble):
        missing = Counter(words) - Counter(text.split(" "))
        assert not Counter(text.split(" ")) - Counter(words)
        lost.add(missing.total())
    assert lost == {0, 1}  # one change for every twelve words
    three = {"two one three", "three two one", "one three two", "one two three"}
    assert every(corruptions._jumble, "one two three") == three
    assert max(len(words) for words in map(str.split, every(corruptions._jumble, "a b c d"))) == 4


@pytest.mark.parametrize(("text", "left"), [("One.", {"One. One."}), ("One. One.", {"One."})])
def test_damage_that_changes_nothing_is_left_out(text: str, left: set[str]) -> None:
    results = [{*corrupt(text, text, random.Random(seed), refused=False)} for seed in range(60)]
    assert min(map(len, results)) < len(corruptions._CORRUPTIONS) and all(text not in item for item in results)
    assert left <= set().union(*results)
