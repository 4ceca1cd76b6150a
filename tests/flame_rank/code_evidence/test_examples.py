"""Examples as people write them, and the inputs made from them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame_rank.code_evidence.examples import Example, read_examples
from flame_rank.code_evidence.inputs import MOST, make_inputs, read_signature
from flame_rank.humaneval import problems


@pytest.mark.parametrize(
    ("text", "arguments", "expected"),
    [
        (">>> f(1)\n    2", (1,), 2),
        (">>> f([1, 2], 'a)')\n[3]", ([1, 2], "a)"), [3]),
        ("f(1) == 2", (1,), 2),
        ("f(1) = 2.5.", (1,), 2.5),
        ("f(1) -> True", (1,), True),
        ("f(1) => true", (1,), True),
        ("f(1) ==> ['a', 'b']", (1,), ["a", "b"]),
        ("f(1) ➞ 2 # because", (1,), 2),
        ("`f(1)` returns `2`.", (1,), 2),
        ("f(1) should return 'x y'.", (1,), "x y"),
        ("f('it\\'s') returns None", ("it's",), None),
        ("Input: [1, 2]\n  Output: 3", ([1, 2],), 3),
        ("For n = 12 the output should be '3'.", (12,), "3"),
        ("f(abba) => False", ("abba",), False),
        ("f(x=1, y=2) == {1: 2}", (1, 2), {1: 2}),
        ("assert f(4) == (1, 2)", (4,), (1, 2)),
    ],
)
def test_forms(text: str, arguments: tuple[Any, ...], expected: Any) -> None:
    assert read_examples(text, "f") == [Example(arguments=arguments, expected=expected)]


@pytest.mark.parametrize(
    "text",
    [
        "def f(1): 2",
        "g(1) == 2",
        "ff(1) == 2",
        "f(n) = 1",
        "f(1) = g(2)",
        "f(1) -> 19 - 5 = 14",
        "f(x + 1) == 2",
        "f(1) and 2",
        "f(1)\n2",
        "f(1",
        "f(1) == x",
        "def f(n):\n    'f(n) returns True if n is even, else False.'",
        "f(...) returns True",
        "f(1) == [1, ...]",
        "def f(s, suffix='', length=9):\n    '>>> f('abc', length=3)\n    3'",
    ],
)
def test_what_is_no_example(text: str) -> None:
    assert [e.expected for e in read_examples(text, "f")] in ([], [14])


def test_keywords_are_the_parameters_of_these_names() -> None:
    text = "def f(a, b=0, c=0):\n    # f(1, c=3, b=2) == 6\n    # f(aa) == True\n"
    assert read_examples(text, "f") == [
        Example(arguments=(1, 2, 3), expected=6),
        Example(arguments=("aa",), expected=True),
    ]


def test_human_evals_prompts() -> None:
    known = problems.load()
    found = {name: read_examples(problem.prompt, problem.entry_point) for name, problem in known.items()}
    assert sum(map(bool, found.values())) >= 150
    assert len(found["HumanEval/0"]) == 2
    assert found["HumanEval/126"] == [] or len(found["HumanEval/126"]) >= 7


@given(st.text(alphabet="f(1,2)[]='\" ->\n\\{}:aTrue", max_size=60))
def test_any_text_is_read(text: str) -> None:
    read_examples(text, "f")
    read_signature(f"def f({text}", "f")


def test_inputs() -> None:
    examples = [Example(arguments=([1, 2, 3], 2), expected=0), Example(arguments=([5], 1), expected=0)]
    made = make_inputs(examples, [None, None])
    assert made[:2] == [([1, 2, 3], 2), ([5], 1)]
    assert len(made) == len({repr(arguments) for arguments in made}) <= MOST
    assert all(isinstance(a, list) and isinstance(b, int) for a, b in made)
    assert made == make_inputs(examples, [])
    assert {type(a) for (a,) in make_inputs([], ["str"])} == {str}
    assert len({type(a) for (a,) in make_inputs([], [None])}) > 3
    assert make_inputs([], []) == [()]


def test_signature() -> None:
    assert read_signature("from typing import List\ndef f(a: List[int], b, c=1) -> int:\n    '''x'''", "f") == [
        "list[int]",
        None,
    ]
    assert read_signature("def g(): pass", "f") is None
    assert read_signature("def f(a: dict[str, int] = {'a': 1}, *b): pass", "f") == []
