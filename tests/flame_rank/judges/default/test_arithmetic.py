"""Which answers are not what an arithmetic prompt asks for."""

# ruff: noqa: RUF001 - signs of other scripts are meant

import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flame_rank.candidates.equations import false_equations
from flame_rank.judges.default.arithmetic import asked, contradicts

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
    count, value, against = false_equations(text), asked(prompt), contradicts(prompt, text)
    assert count >= 0 and not (against and value is None)
    assert (count, value, against) == (false_equations(text), asked(prompt), contradicts(prompt, text))


def _expression(children: st.SearchStrategy[tuple[str, Fraction]]) -> st.SearchStrategy[tuple[str, Fraction]]:
    def join(parts: tuple[tuple[str, Fraction], str, tuple[str, Fraction]]) -> tuple[str, Fraction]:
        (left, a), sign, (right, b) = parts
        return f"({left} {sign} {right})", {"+": a + b, "-": a - b, "*": a * b}[sign]

    return st.tuples(children, st.sampled_from("+-*"), children).map(join)


small = st.integers(0, 999).map(lambda n: (str(n), Fraction(n)))
# A number of more than 24 digits is not read.
expressions = _expression(st.recursive(small, _expression, max_leaves=5)).filter(lambda made: abs(made[1]) < 10**20)
FRAMES = ("{}", "So {}.", "There are {} of them.", "- First:\n{}\n- Then", "We get ({}).", r"\({}\)", "**{}**")


@given(expression=expressions, off=st.integers(1, 10**6), frame=st.sampled_from(FRAMES))
@settings(deadline=None, max_examples=500)
def test_generated_equations(expression: tuple[str, Fraction], off: int, frame: str) -> None:
    text, value = expression
    for written in (text, text.replace("*", "×"), text.replace("-", "−"), text.replace(" * ", r" \times ")):
        assert false_equations(frame.format(f"{written} = {value}")) == 0
        assert false_equations(frame.format(f"{written} = {value + off}")) == 1
        assert false_equations(frame.format(f"{written} = {value - off}")) == 1
    assert asked(f"What is {text}?") == value
    assert not contradicts(f"What is {text}?", f"The answer is {value}.")


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
    false_equations(text)
    contradicts("What is 2 + 2?", text)
    asked(text)
    assert time.process_time() - start < 5
