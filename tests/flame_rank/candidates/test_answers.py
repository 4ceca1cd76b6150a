"""The final answer of a text, and how a pool votes on it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flame_rank.candidates.answers import SHORT, final, pattern, problem_answers, votes
from flame_rank.records import Problem

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
    (LONG + "\\boxed{\\frac{1}{2}}", "1/2"),
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


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("In May she sold 48 / 2 = 24 clips.\nTogether that makes 48 + 24 = 72 clips in two months.", "72"),
        ("In May she sold 48 / 2 = 24 clips. Together that makes 72.", "72"),
        ("Each of them costs 3 * $2.50 = $7.50 there. So both cost $15.", "15"),
        ("First 1,000 * 12 = 12,000 are made, and of these\na quarter is sold: **3,000**.", "3000"),
        ("He runs 3 \u00d7 3 = 9 sprints a week, and 9 \u00d7 60 = 540 meters.", "540"),
        ("Half of it is 10 / 20 = 0.5 of the cake.\nThat is 50 % of it.", "50"),
        ("The sum is 3 + 4 = 7. So the balance is then -2 dollars.", "-2"),
        ("He made $40 and spent $200, so what he has is 40 - 200 = $-160.00", "-160"),
    ],
)
def test_a_worked_solution_ends_in_its_answer(text: str, answer: str) -> None:
    assert final(text) == answer


@pytest.mark.parametrize(
    "text",
    [
        "The treaty was signed by all of the parties in the spring of 1998.",  # nothing is calculated
        "Half of it is 10 / 20 = 0.5 of the cake, which is 50 % of it.",  # one or the other
        "Take 3 + 4 = 7 of them to begin with.\n\nI hope that this helps you with it!",
        "Take 3 + 4 = 7 of them, of which 2 were already here when we came back late.",  # more than its unit behind it
        "x = 3\ny = x + 4\nfor i in range(y):\n    print(i, 7)",  # a program
        "It was built in 1990-1995 and has = signs on all of its 12 doors.",
    ],
)
def test_other_texts_do_not(text: str) -> None:
    assert final(text) is None


def test_a_pattern_takes_the_last_match() -> None:
    assert pattern(r"<a>(.*?)</a>")("<a>1</a> no: <a>2</a> <a></a>") == "2"
    assert pattern(r"\d+")("12 and 13") == "13"
    assert pattern(r"(\d+)?x")("x") is None and pattern("y")("x") is None
    with pytest.raises(ValueError, match="not a regular expression"):
        pattern("(")


def test_a_unit_is_left_out_where_another_leaves_it_out() -> None:
    def found(*texts: str) -> list[str | None]:
        return problem_answers(Problem(prompt="", candidates=texts))

    assert found("The answer is 72 clips.", "#### 72", "48 + 24 = 72", "A: 72.0 pieces", "A: 7 clips") == [
        *("72", "72", "72", "72", "7clips"),
    ]
    assert found("A: 5", "Five, I think,\nor six.", "5", "4") == ["5", None, "5", "4"]
    assert found("A: 5 km", "A: 5 m") == ["5km", "5m"]  # nobody says that it does not matter


def test_given_answers_take_the_place_of_stated_ones() -> None:
    texts = ["#### 1", "#### 1", "#### 2"]
    assert problem_answers(Problem(prompt="", candidates=texts)) == ["1", "1", "2"]
    assert problem_answers(Problem(prompt="", candidates=texts, answers=["3.0", None, " $3 "])) == ["3", None, "3"]


def shares(*texts: str) -> list[float] | None:
    found = votes([final(text) for text in texts])
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
    found = votes([final(text) for text in pool])
    order = data.draw(st.permutations(range(len(pool))))
    there = votes([final(pool[i]) for i in order])
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


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("So the answer is \\boxed{72}.", "72"),
        ("It is $\\boxed{x = 72}$.\n\n# Answer\n\n72", "72"),
        ("The answer is no. It has never been.", "no"),
        ("**Answer:** $\\boxed{72}$", "72"),
        ("#### 12\n\nI hope this answer is clear.", "12"),
        ("#### Conclusion\nWe add both. The answer is 5.", "5"),
        ("Answer: B\n\nA: too small\nC: too large", "b"),
        ("After much thought about all of it the answer is Mr. Smith. He was there.", "mr.smith"),
        ("After much thought about all of it the answer is St. Louis.", "st.louis"),
        ("After much thought about all of it the answer is B. Because it fits.", "b"),
        ("The answer is (C)", "c"),
        ("The answer is C)", "c"),
        ("The answer is \\text{C}", "c"),
        ("The answer is \\dfrac{1}{2}", "1/2"),
        ("The answer is \N{MINUS SIGN}4", "-4"),
    ],
)
def test_one_answer_however_it_is_marked(text: str, answer: str) -> None:
    assert final(text) == answer
