"""Which equations of a text are false, and which answers are not what an arithmetic prompt asks for."""

# ruff: noqa: RUF001 - signs of other scripts are meant

import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flame_rank.candidates.expressions import number, shows, symbols, tokenize, values, with_digits
from flame_rank.judges.default.arithmetic import asked, contradicts, slips

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
    assert slips(text) == 1
    assert slips(f"We look at it first.\n{text}\nThat is all.") == 1


@pytest.mark.parametrize("text", [*TRUE, *SKIPPED])
def test_true_ones_and_doubtful_ones(text: str) -> None:
    assert slips(text) == 0


def test_each_equation_counts_once() -> None:
    assert slips("2 + 2 = 5. So 2+2 = 5, and 3 * 3 = 10.") == 2
    assert slips("They are 3 * 4 = <<3*4=13>>13.") == 1


ASKED = [
    ("What is 2 + 2?", 4),
    ("Calculate 17 * 6.", 102),
    ("How much is 15% of 80?", 12),
    ("12 x 12 =", 144),
    ("What's (3+4)*2?", 14),
    ("What’s 12 ÷ 4?", 3),
    ("What is 7 times 8?", 56),
    ("what is twenty-one plus four", 25),
    ("What is the sum of 3, 4 and 5?", 12),
    ("Average of 12, 15 and 21", 16),
    ("What is the mean of 1 and 2?", Fraction(3, 2)),
    ("What is the product of 6 and 7?", 42),
    ("What is the difference between 3 and 10?", 7),
    ("Subtract 3 from 10.", 7),
    ("Divide 12 by 5.", Fraction(12, 5)),
    ("What is 144 divided by 12?", 12),
    ("What is the square root of 144?", 12),
    ("What is 2 to the power of 5", 32),
    ("What is 5 squared?", 25),
    ("What is the cube of 3?", 27),
    ("half of 30", 15),
    ("What is a third of 30?", 10),
    ("What is 3/4 of 100?", 75),
    ("Please calculate 1,200 / 4.", 300),
    ("Hi! Could you tell me what 5 + 5 is?", 10),
    ("What is 2 + 3 * 4? Please explain.", 14),
    (r"Compute $\frac{3}{4} + \frac{1}{4}$.", 1),
    ("User: Hi\nAssistant: Hello!\nUser: What is 12 - 5?\nAssistant:", 7),
    ("Q: 3*3", 9),
    ("What is 2^100?", 2**100),
    ("What is .5 + 1?", Fraction(3, 2)),
    ("What is 7x8?", 56),
]
NOT_ASKED = [
    "",
    "5",
    "What is 5?",
    "What is 24/7?",
    "What is 9/11?",
    "What is 4x4?",
    "What is 50/50?",
    "What is 5-7?",
    "What is 20-20?",
    "What is 5 + 3!",
    "What is 3 of 5?",
    "What is 50 + 10%?",
    "What is 2^3^2?",
    "What is -2^2?",
    "What is 1/0?",
    "Divide 3 by 0.",
    "What is 9**9**9?",
    "What is the square root of 2?",
    "What is 2 + 2 in binary?",
    "What is 2x + 3?",
    "What is 5 + 5 dollars?",
    "What is 10 / 4 rounded to the next number?",
    "What is 5 + 5? And who wrote Hamlet?",
    "If I have 3 apples and 4 pears, what is 3 + 4?",
    "In base 3, what is 2 + 2?",
    "User: In base 3.\nUser: What is 2 + 2?",
    "User: Let 2 be 3.\nUser: What is 2 + 2?",
    "System: Say the opposite of what is right.\nUser: What is 2 + 2?",
    "Solve 2x + 3 = 7",
    "What is the sum of " + "111," * 60 + "x?",
]


@pytest.mark.parametrize(("prompt", "value"), ASKED)
def test_asked(prompt: str, value: Fraction) -> None:
    assert asked(prompt) == value
    assert not contradicts(prompt, f"It is {float(value):.15f}." if value < 10**15 else f"{value}")
    assert contradicts(prompt, f"It is {int(value) + 17}.")


@pytest.mark.parametrize("prompt", NOT_ASKED)
def test_not_asked(prompt: str) -> None:
    assert asked(prompt) is None and not contradicts(prompt, "5") and not contradicts(prompt, "The answer is 6.")


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        *(("What is 2 + 2?", text) for text in ("5", "five", "The answer is 5.", "2 + 2 = 22.", "**5**", "It's five!")),
        *(("What is 12 * 12?", text) for text in ("124", "It is one hundred twenty-four.", "12 * 12 = 1,440")),
        ("What is 10 / 4?", "10/4 is 3.5"),
        ("What is 5 - 8?", "3"),
        ("What is 1000 * 1000?", "100,000"),
    ],
)
def test_contradictions(prompt: str, text: str) -> None:
    assert contradicts(prompt, text)


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        *(
            ("What is 2 + 2?", text)
            for text in ("4", "four", "Four.", "4.0", "04", "It is 4, and no 5.", "", "No idea.")
        ),
        *(
            ("What is 2 + 2?", text)
            for text in ("2 + 2 is vier.", "IV", "四", "④", "It is about 5.", "It isn't 5.", "2+2")
        ),
        *(("What is 10 / 4?", text) for text in ("2.5", "2,5", "2 1/2", "5/2", r"\frac{5}{2}", "3", "two and a half")),
        *(
            ("What is 1000 * 1000?", text)
            for text in ("1 000 000", "1.000.000", "a million", "1 million", "1e6", "10^6")
        ),
        *(("What is 12 * 12?", text) for text in ("one hundred and forty-four", "a hundred forty four", "144.00")),
        *(("What is 1/4 + 1/4?", text) for text in ("50%", "0.5", "2/4", ".5", "one half")),
        ("What is 2 / 3?", "0.6667"),
        ("What is 5 - 8?", "minus three"),
        ("What is the sum of 3, 4 and 5?", "The sum of 3, 4 and 5 is douze."),
    ],
)
def test_no_contradictions(prompt: str, text: str) -> None:
    assert not contradicts(prompt, text)


def test_number_words() -> None:
    assert with_digits("one hundred and twenty-five, two two, three thousand six") == "125, 2 2, 3006"
    assert with_digits("someone often weighs tens, two million") == "someone often weighs tens, 2000000"


def test_shown_values() -> None:
    assert shows(Fraction(2, 3), "0.67") and shows(Fraction(2, 3), "0.66") and not shows(Fraction(2, 3), "0.68")
    assert shows(Fraction(1200), "1,200") and not shows(Fraction(1200), "1,201")
    assert number("1,200.50") == Fraction(2401, 2)


def test_an_ambiguous_expression_has_all_its_values() -> None:
    assert values(tokenize("-2^2")) == [-4, 4] and values(tokenize("100/5*2")) == [40, 10]
    assert values(tokenize("2 + 3 * 4")) == [14] and values(tokenize("2 +")) == [] == values([])


PIECES = st.sampled_from(
    [
        *("=", "=:", " = ", "==", "+", " - ", "*", "**", "^", "/", "x", " x ", "(", ")", "%", "$", ",", ".", " ", "\n"),
        *(
            "0",
            "7",
            "12",
            "1,000",
            ".5",
            "3.14",
            "9" * 30,
            "<<",
            ">>",
            " is ",
            " plus ",
            " of ",
            "\\frac{1}{2}",
            "apples",
        ),
        *("What is ", "?", "two", "hundred", "sum of ", "the ", "half of ", " and ", "User:", "²", "½", "١", "e5", "!"),
    ]
)
texts = st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=24).map("".join))


@given(prompt=texts, text=texts)
@settings(deadline=None, max_examples=1_000)
def test_any_text(prompt: str, text: str) -> None:
    count, value, against = slips(text), asked(prompt), contradicts(prompt, text)
    assert count >= 0 and not (against and value is None)
    assert (count, value, against) == (slips(text), asked(prompt), contradicts(prompt, text))


def _expression(children: st.SearchStrategy[tuple[str, Fraction]]) -> st.SearchStrategy[tuple[str, Fraction]]:
    def join(parts: tuple[tuple[str, Fraction], str, tuple[str, Fraction]]) -> tuple[str, Fraction]:
        (left, a), sign, (right, b) = parts
        return f"({left} {sign} {right})", {"+": a + b, "-": a - b, "*": a * b}[sign]

    return st.tuples(children, st.sampled_from("+-*"), children).map(join)


small = st.integers(0, 999).map(lambda n: (str(n), Fraction(n)))
expressions = _expression(st.recursive(small, _expression, max_leaves=5))
FRAMES = ("{}", "So {}.", "There are {} of them.", "- First:\n{}\n- Then", "We get ({}).", r"\({}\)", "**{}**")


@given(expression=expressions, off=st.integers(1, 10**6), frame=st.sampled_from(FRAMES))
@settings(deadline=None, max_examples=500)
def test_generated_equations(expression: tuple[str, Fraction], off: int, frame: str) -> None:
    text, value = expression
    for written in (text, text.replace("*", "×"), text.replace("-", "−"), text.replace(" * ", r" \times ")):
        assert slips(frame.format(f"{written} = {value}")) == 0
        assert slips(frame.format(f"{written} = {value + off}")) == 1
        assert slips(frame.format(f"{written} = {value - off}")) == 1
    assert asked(f"What is {text}?") == value
    assert not contradicts(f"What is {text}?", f"The answer is {value}.")


@given(a=st.integers(1, 10_000), b=st.integers(1, 10_000), decimals=st.integers(0, 6))
@settings(deadline=None, max_examples=500)
def test_rounded_quotients(a: int, b: int, decimals: int) -> None:
    quotient = Fraction(a, b)
    step = Fraction(1, 10**decimals)
    rounded = round(quotient / step) * step
    assert slips(f"We get {a} / {b} = {float(rounded):.{decimals}f}.") == 0
    assert slips(f"We get {a} / {b} = {float(rounded + 2 * step):.{decimals}f}.") == 1


@pytest.mark.parametrize(
    "text",
    [
        "9" * 100_000 + " + 1 = 2",
        "1+" * 50_000 + "1 = 2",
        "(" * 50_000 + "1 + 1" + ")" * 50_000 + " = 3",
        "1 = " * 25_000,
        "2^99^99/7=" * 10_000,
        "111," * 25_000 + "1111",
        "1 x " * 25_000 + "= 2",
        "= " + " " * 99_000,
        "**" * 50_000 + "1+1=3",
        r"\frac{" * 15_000 + "1+1=3",
        "two " * 25_000 + "is 3",
        "3 apples + " * 9_000 + "= 2",
    ],
    ids=lambda text: text[:12],
)
def test_long_texts_take_no_time(text: str) -> None:
    start = time.process_time()
    slips(text)
    contradicts("What is 2 + 2?", text)
    asked(text)
    assert time.process_time() - start < 5


def test_signs_stand_for_words() -> None:
    assert symbols(r"3 \times \frac{1}{2} is equal to 1.5") == "3 * ((1)/(2)) =: 1.5"
    assert symbols("a 2x4 of 3x") == "a 2*4 of 3x"
