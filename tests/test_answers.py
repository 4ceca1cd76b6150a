"""The final answer of a text, and how a pool votes on it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flame_rank.judges.answers import SHORT, final, votes

LONG = "First the nuts are counted, then they are shared among all of the children. "
# Each form in which an answer is stated, and what it is.
STATED = [
    ("There are 20 + 6 of them.\nA: 26", "26"),
    ("x\n#### 1,234", "1234"),
    ("The answer is 7. Thanks", "7"),
    ("The answer is 3.50. Thanks", "7/2"),
    (LONG + "The answer is: 7.", "7"),
    (LONG + "The final answer is 7\nThanks", "7"),
    (LONG + "\\boxed{x}", "x"),
    (LONG + "\\boxed{\\frac{1}{2}}", "frac{1}{2}"),
    (LONG + "So it is $\\boxed{1,000}$, as was to be shown.", "1000"),
    ("# Answer\n\n18", "18"),
    ("Why:\n### answer\n18 apples", "18apples"),
    ("Answer: **$18.00**", "18"),
    ("x\n**Answer:** 18", "18"),
    ("x\nFinal answer: 1e3.\nSo there.", "1000"),
    ("x\n  A : yes", "yes"),
]
SAME = [
    ["#### 18", "18", "18.", "18.0", "$18", "Answer: $18.00", "**18**", "\\boxed{18}", "`18`", "+18", "1.8e1"],
    ["1234567", "1,234,567", "1 234 567", "A: $1,234,567.00"],
    ["0.75", ".75", "3/4", "6/8", "75e-2", "\\boxed{3/4}"],
    [str(2**60), f"{2**60}.0", f"{2**60:,}"],
    ["1e400", "10e399", "Answer: 1" + "0" * 400],
    ["yes", "Yes.", "Answer: YES", '"yes"', "x\r\nA: yes.\r\nThanks"],
]


@pytest.mark.parametrize(("text", "answer"), STATED)
def test_stated_answers(text: str, answer: str) -> None:
    assert final(text) == answer


@pytest.mark.parametrize("texts", SAME, ids=lambda texts: texts[0])
def test_equal_answers_are_equal(texts: list[str]) -> None:
    assert {final(text) for text in texts} == {final(texts[0])} != {None}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("7", "8"),
        ("1.5", "15"),
        ("-7", "7"),
        ("1234567", "1234568"),
        ("0.1234567", "0.1234568"),
        ("a", "b"),
        (str(2**60), str(2**60 + 1)),
        ("1e400", "1e401"),
        ("1e400", "inf"),
        ("0.1", "0.1" + "0" * 30 + "1"),
        ("1e999999999", "1e999999998"),
        ("1/3", "0.3333333333333333"),
        ("3/0", "4/0"),
    ],
)
def test_others_are_not(one: str, other: str) -> None:
    assert final(f"x\n#### {one}") != final(f"x\n#### {other}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n ",
        "x\n#### ",
        "\\boxed{ }",
        "Answer: .",
        LONG,
        LONG + "A: is no line of its own.",
        "Yes,\nno.",
        "An answer:\n" + LONG,
        "x" * (SHORT + 1),
    ],
)
def test_none_is_stated(text: str) -> None:
    assert final(text) is None


def test_the_last_one_counts() -> None:
    assert final("A: 1\nThe answer is 2. But no:\n#### 3\n\\boxed{4}") == "4"
    assert final("\\boxed{4}\n#### 3") == "3"


def test_a_short_text_is_its_answer() -> None:
    assert final("x" * SHORT) == "x" * SHORT
    assert final("\n Paris. \n") == "paris"


def shares(*texts: str) -> list[float] | None:
    found = votes(texts)
    return None if found is None else found.tolist()


def test_votes_are_shares_of_the_whole_pool() -> None:
    assert shares("A: 7", f"{LONG}\\boxed{{7.0}}", "A: 8", LONG) == [0.5, 0.5, 0.25, 0.0]
    assert shares("7", "7") == [1.0, 1.0]


def test_most_have_to_state_one() -> None:
    assert shares("A: 7", "A: 7", LONG) == pytest.approx([2 / 3, 2 / 3, 0])
    assert shares("A: 7", LONG) is None and shares(LONG, LONG) is None
    assert shares() is None


def test_two_have_to_agree() -> None:
    assert shares("A: 7", "A: 8", "9") is None and shares("7", "8") is None
    assert shares("A: 7", "A: 8", "8") == pytest.approx([1 / 3, 2 / 3, 2 / 3])


PIECES = st.sampled_from(
    [*("A:", "Answer", "**", "####", "# ", "\n", " ", "\\boxed{", "}", "$", ".", "answer is", "The"), *"179x,-", LONG]
)
texts = st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=12).map("".join))


@given(text=texts)
@settings(deadline=None, max_examples=300)
def test_any_text(text: str) -> None:
    answer = final(text)
    assert answer != ""
    assert final(f"  {text}\n\n") == answer  # the blank around it says nothing


@given(pool=st.lists(texts, max_size=8), data=st.data())
@settings(deadline=None, max_examples=100)
def test_votes_follow_the_candidates(pool: list[str], data: st.DataObject) -> None:
    found = votes(pool)
    order = data.draw(st.permutations(range(len(pool))))
    there = votes([pool[i] for i in order])
    if found is None:
        assert there is None
        return
    assert found.dtype == np.float64 and found.shape == (len(pool),)
    assert ((found >= 0) & (found <= 1)).all() and found.max() > 0
    assert [share == 0 for share in found] == [final(text) is None for text in pool]
    assert there is not None and there.tolist() == found[list(order)].tolist()


@pytest.mark.parametrize("piece", [" ", "*", "#", "A", "A:", "\\boxed{", "####", "answer is ", "1,", "\n"])
def test_long_texts_are_read_in_linear_time(piece: str) -> None:
    final(piece * 30_000)  # the square of so many would take minutes
