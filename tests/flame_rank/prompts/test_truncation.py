"""What is cut so that texts fit."""

from hypothesis import given
from hypothesis import strategies as st

from flame_rank.prompts.truncation import common_length


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.integers(8, 200))
def test_texts_are_cut_to_one_length(lengths: list[int], room: int) -> None:
    longest = common_length(lengths, room)
    total = sum(min(length, longest) for length in lengths)
    assert total <= room or longest == max(lengths) <= room
    if total < sum(lengths):
        assert total > room - len(lengths)  # nothing is cut in vain
