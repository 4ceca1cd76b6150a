"""The share of a text that repeats itself."""

import pytest

from flame_rank.candidates.repetition import repeated


def test_how_much_of_a_text_is_said_again() -> None:
    assert repeated("") == repeated("one two") == repeated("one two three four") == 0
    assert repeated("One two three. ONE two, three?") == 0.25  # of four runs of three words, the last is the first
    assert repeated("a b c " * 50) == pytest.approx(1 - 3 / 148)
