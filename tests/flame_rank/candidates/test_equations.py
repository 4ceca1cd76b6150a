"""Which equations of a text are false, and which are true or skipped."""

# ruff: noqa: RUF001 - signs of other scripts are meant

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flame_rank.candidates.equations import false_equations

FALSE = [
    "2 + 2 = 5",
    "2+2=5.",
    "So 17 * 6 = 112 marbles are left.",
    "12 x 12 = 124",
    "12x12=124",
    "12 × 12 = 124",
    "100 ÷ 8 = 12.7",
    "10 − 3 = 6",
    "(3 + 4) * 2 = 11",
    "2^10 = 1000",
    "2**10 = 1000",
    "3² + 4² = 24",
    "$5 + $3 = $9",
    "1,200 + 800 = 2,100",
    "25% of 100 = 20",
    "50% + 25% = 80%",
    "17 plus 5 is 23",
    "12 times 4 equals 44",
    "144 divided by 12 is 13",
    "20 minus 4 makes 15",
    "3 apples + 4 apples = 8 apples",
    "- 3 + 4 = 8",
    "1. 3 + 4 = 8",
    "Step 1: 3 + 4 = 8",
    "**3 + 4 = 8**",
    "It pays (3 + 4 = 8) at once.",
    "5 * 2 = 10 * 3 = 40",
    r"\(3 \times 4 = 13\)",
    r"$\frac{1}{2} + \frac{1}{4} = \frac{2}{6}$",
    r"$3 \cdot (4 + 1) = \boxed{16}$",
    "He eats 48/2 = <<48/2=24>>25 of them.",
    "1/3 = 0.34 of it",
    "7 / 2 = 5 buses",
    "0.1 + 0.2 = 0.3100000001",
    "5 - 8 = 3",
]


TRUE = [
    "2 + 2 = 4",
    "5 * 2 = 10 * 3 = 30",
    "5 * 2 = 20 / 2 = 10",
    "3 + 4 = 7, and 7 * 2 = 14.",
    "10 x 2 = <<10*2=20>>20",
    "It is $<<20/100*20=4.0>>4.00.",
    "0.25+0.10+0.70=1.0499999999999998",
    "2 / 3 = 0.67",
    "2 / 3 = 0.66",
    "7 / 2 = 3",
    "7 / 2 = 4",
    "1/4 = 25%",
    "25/100 * 100 = 25%",
    "50% + 25% = 75%",
    "1.000 * 3 = 3",
    "-2^2 = 4 or -4",
    "-2^2 = -4",
    "100 / 5 * 2 = 40",
    "2^3^2 = 512",
    "20 + 40 = 1 hour",
    "$0.25 * 3 = 75 cents",
    "- 5 + 3 = -2",
    "1 - 3 + 4 = 7",
]


SKIPPED = [
    "",
    "4 = 5",
    "x = 5",
    "2x = 10",
    "2x + 3 = 7",
    "x + 3 + 4 = 9",
    "y - 5 + 3 = 7",
    "f(2 + 3) = 9",
    "log(2 + 3) = 9",
    "x = 105(2/7) = 31",
    "2 + 3 = 6x",
    "2 + 3 = 6 y",
    "2 + 3 = 6 + y",
    r"2 + 3 = 6\sqrt{2}",
    "2 + 3 == 6",
    "2 + 3 != 6",
    "2 + 3 <= 6",
    "2 + 3 >= 4",
    "2 + 3 ≠ 6",
    "x += 3 + 4 = 8",
    "3 + 4 = ?",
    "Is 3 + 4 = 8?",
    "3 + 4 = about 8",
    "That is about 3 * 33 = 100.",
    "3 * 33 ≈ 100 = 100",
    "half of 3 + 5 = 4",
    "the average of 3 + 5 = 4",
    "twice 3 + 4 = 14",
    "five + 3 + 1 = 9",
    "2 hours + 30 minutes = 150 minutes",
    "2 hours + 30 = 150 minutes",
    "1/4 box = 60/4 = 15 pints",
    "1/2 cup + 1/2 cup = 8 ounces",
    "90 + 60 = 2 hours 30 minutes",
    "7 / 2 = 3 remainder 1",
    "17 / 5 = 3 R 2",
    "3 / 2 = 1 1/2",
    "7 / 2 = 3 and a half",
    r"7 / 2 = 3 \frac{1}{2}",
    "9 + 5 = 2 (mod 12)",
    "10 + 4 = 2 pm",
    "10:30 + 2 = 12:30",
    "the ratio 2^2 : 1^2 = 4 : 1",
    "3 * 2 * 1 = 3!",
    "3-5 = 1 point, 6-9 = 2 points",
    "2020-01-05 = 5",
    "01/02/2020 = 3",
    "1/3 is 1 of 3",
    "5 plus 3 is 2 more than 6",
    "odd numbers of the form 5*5 are 525, and the form 5*5 is 525",
    "2 + 2 = 5 is wrong.",
    "It is a myth that 2 + 2 = 5.",
    "1/0 = 5",
    "9**9**9 = 5",
    "9^999999999 = 5",
    "0x10 = 16",
    "1.2.3 + 1 = 5",
    "3,5 + 2,5 = 6,0",
    "10 000 + 5 = 10 005",
    "50 + 10% = 55",
    "Income - 5 + 3 = 8",
    "[3.7 + 1] = 4",
    "|3 - 5| = 2",
    "```\n2 + 2 = 5\n```",
    "def f():\n    return 2 + 2 == 5 or 2 + 2 = 5",
    "a_2 + 3 = 9",
    "24_7 + 5 = 30",
    "10 + 20 = 3 dozen eggs",
]


@pytest.mark.parametrize("text", FALSE)
def test_false_equations(text: str) -> None:
    assert false_equations(text) == 1
    assert false_equations(f"We look at it first.\n{text}\nThat is all.") == 1


@pytest.mark.parametrize("text", [*TRUE, *SKIPPED])
def test_true_ones_and_doubtful_ones(text: str) -> None:
    assert false_equations(text) == 0


def test_each_equation_counts_once() -> None:
    assert false_equations("2 + 2 = 5. So 2+2 = 5, and 3 * 3 = 10.") == 2
    assert false_equations("They are 3 * 4 = <<3*4=13>>13.") == 1


@given(a=st.integers(1, 10_000), b=st.integers(1, 10_000), decimals=st.integers(0, 5))  # 6: may be a float's error
@settings(deadline=None, max_examples=500)
def test_rounded_quotients(a: int, b: int, decimals: int) -> None:
    quotient = Fraction(a, b)
    step = Fraction(1, 10**decimals)
    rounded = round(quotient / step) * step
    assert false_equations(f"We get {a} / {b} = {float(rounded):.{decimals}f}.") == 0
    assert false_equations(f"We get {a} / {b} = {float(rounded + 2 * step):.{decimals}f}.") == 1
