"""How a candidate is read: as a program, a continuation or prose, and whether it could run."""

import ast
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flame_rank.candidates.code_views import LONGEST, CandidateViews, fenced, read_candidate

PROMPT = 'from typing import List\n\n\ndef total(numbers: List[int]) -> int:\n    """Adds."""\n'


def tokens(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def test_a_program() -> None:
    views = read_candidate("Write a function.", "def f(x):\n    y=x+1 # one more\n    return y\n")
    assert views.code and views.valid
    assert views.views[0] == tokens("def f ( x ) : y = x + 1 # one more return y")
    assert views.views[1] == tokens("def f ( x ) : y = x + 1 return y")
    assert views.views[2] == tokens("def f ( v0 ) : v1 = v0 + 1 return v1")


def test_a_program_that_only_looks_different_has_the_same_views() -> None:
    one = read_candidate("", "def f(a, b):\n    s = (a  +b)\n    return s")
    other = read_candidate("", "def f(x, y):\n\tz = x + y; return z  # sum")
    assert one.views[2] == other.views[2] and one.views[1] != other.views[1]


def test_a_continuation_is_read_up_to_its_first_line_that_is_not_indented() -> None:
    views = read_candidate(PROMPT, "    return sum(numbers)\n\n\nprint(total([1]))\n")
    assert views.code and views.valid
    assert views.views[0] == tokens("return sum ( numbers )")
    assert views.views[1] == tokens("def f ( ) : return sum ( numbers )")


def test_what_follows_a_continuation_has_to_parse_all_the_same() -> None:
    assert read_candidate(PROMPT, "    return sum(numbers)\n\n\ndef").valid is False
    assert read_candidate(PROMPT, "    return sum(numbers)\n\n\nAdds them.\n").valid is False
    assert read_candidate(PROMPT, "    return sum(numbers)\n\n\n# Adds them.\n").valid is True


def test_a_continuation_may_use_what_the_prompt_binds() -> None:
    assert read_candidate(PROMPT, "    kept: List[int] = [n for n in numbers]\n    return sum(kept)").valid
    assert not read_candidate("def f(x):\n", "    kept: List[int] = [x]\n    return kept").valid


def test_an_indented_text_continues_nothing_where_the_prompt_has_no_function() -> None:
    views = read_candidate("Define the sum.", "    The sum of numbers.")
    assert not views.code and views.valid


def test_a_fenced_program() -> None:
    bare = "def f():\n    return 1\n"
    for fence in ("```python", "```py", "```", "```python  "):
        assert read_candidate("", f"Here it is:\n{fence}\n{bare}```\nIt returns 1.") == read_candidate("", bare)


def test_prose() -> None:
    views = read_candidate("Why?", "Because it's so, from the start.")
    assert views == CandidateViews(views=(views.views[0],) * 3, code=False, valid=True)
    assert views.views[0] == tokens("Because it ' s so , from the start .")
    # An expression parses as Python, and is an answer in words all the same.
    assert not read_candidate("How many?", "42").code and not read_candidate("Who?", "Ada").code


def test_code_that_does_not_parse_is_code() -> None:
    views = read_candidate("", "def f(:\n    return 1")
    assert views.code and not views.valid and views.views[0] == views.views[1] == views.views[2]
    assert read_candidate("", "Sure!\nimport os\nos.exit").code


VALID = {
    "walrus": "def f(x):\n    if (n := len(x)) > 1:\n        return n",
    "comprehension": "def f(x):\n    return {k: [i for i in v if i] for k, v in x}",
    "match": (
        "def f(x):\n    match x:\n        case [a, *rest]:\n            return a, rest\n"
        "        case {'k': v, **more}:\n            return v, more\n"
        "        case int() as whole:\n            return whole"
    ),
    "global": "count = 0\ndef f():\n    global count\n    count += 1\n    return count",
    "global bound in the function": "def f():\n    global made\n    made = 1\ndef g():\n    return made",
    "star import": "from math import *\ndef f(x):\n    return sqrt(x)",
    "import of a part": "import os.path\ndef f(x):\n    return os.path.join(x)",
    "import as": "import numpy as np, os.path as p\ndef f(x):\n    return np.sum(x), p",
    "exception": "def f():\n    try:\n        pass\n    except ValueError as error:\n        return error",
    "with": "def f(x):\n    with open(x) as file:\n        return file",
    "class": "class A:\n    def f(self, *args, k=1, **more):\n        return A, args, k, more",
    "lambda": "def f():\n    return lambda x, /, y: x + y",
    "async": "async def f(x):\n    async for y in x:\n        yield y",
    "recursion": "def f(n):\n    return f(n - 1)",
    "used before it is bound": "def f():\n    return g()\ndef g():\n    return 1",
    "given": "def f():\n    return __name__, print, NotImplementedError",
    "invalid escape": "def f():\n    return '\\d'",
}
INVALID = {
    "undefined name": "def f(x):\n    return y",
    "undefined function": "def f(x):\n    return math.sqrt(x)\n",
    "syntax error": "def f(x):\n    return x +",
    "return outside": "import os\nreturn 1",
    "break outside": "def f():\n    break",
    "await outside": "def f():\n    await g()\ndef g(): pass",
    "two arguments of one name": "def f(x, x):\n    return x",
    "nothing in the body": "def f(x):\n",
    "wrong indentation": "def f(x):\n    y = 1\n      return y",
    "nonlocal that is nowhere": "def f():\n    nonlocal x\n    x = 1",
}


@pytest.mark.parametrize("case", VALID)
def test_valid(case: str) -> None:
    views = read_candidate("", VALID[case])
    assert views.code and views.valid


@pytest.mark.parametrize("case", INVALID)
def test_invalid(case: str) -> None:
    views = read_candidate("", INVALID[case])
    assert views.code and not views.valid


RETURNS = 'def f(a, b):\n    """Returns the sum."""\n'
IDLE = {
    "reads no argument": ("def f(a, b):\n", "    return 1"),
    "reads others": ("def f(a):\n", "    b = 1\n    return b"),
    "reads none of any kind": ("def f(a, /, b, *c, d=1, **e):\n", "    return 1"),
    "returns nothing where the docstring says so": (RETURNS, "    print(a + b)"),
    "a bare return": (RETURNS, "    print(a + b)\n    return"),
    "nothing but a pass": ("def f(a) -> int:\n", "    pass"),
    "returns nothing where the annotation says so": ("def f(a) -> int:\n", "    print(a)"),
    "returns nothing without arguments": ("def f() -> int:\n", "    print(1)"),
    "awaits and returns nothing": ("async def f(a) -> int:\n", "    await a"),
    "the last function of the prompt": ("def g(a):\n    return a\n\n\ndef f(a):\n", "    return 1"),
    "a right function behind it": ("def f(a):\n", "    return 1\n\n\ndef g(a):\n    return a"),
}
BUSY = {
    "a procedure": ("def f(a):\n", "    print(a)"),
    "a procedure by its annotation": ("def f(a) -> None:\n", "    print(a)"),
    "a procedure by its annotation, whatever the docstring": (
        'def f(a) -> None:\n    """Prints, and does not return."""\n',
        "    print(a)",
    ),
    "no arguments": ("def f():\n", "    return 1"),
    "one argument of several": ("def f(a, b):\n", "    return b"),
    "arguments without a place": ("def f(*c, d=1, **e):\n", "    return e"),
    "all names": ("def f(a):\n", "    return locals()"),
    "a generator": (RETURNS, "    yield a + b"),
    "a generator of another": ("def f(a) -> Iterator[int]:\n", "    yield from a"),
    "a function in it": ("def f(a) -> int:\n", "    def g():\n        return a\n    return g()"),
    "a method": ("class A:\n    def f(self, a) -> int:\n", "        pass"),
    "an idle function behind it": (RETURNS, "    return a + b\n\n\ndef main(argv):\n    print(f(1, 2))"),
    "defined again": ("def f(a):\n", "    pass\n\n\ndef f(a):\n    return a\n\n\ndef main(argv):\n    print(f(1))"),
    "a last line without an end": ("def f(a):", "\n    return a"),
}


@pytest.mark.parametrize("case", IDLE)
def test_a_continued_function_that_cannot_be_right(case: str) -> None:
    views = read_candidate(*IDLE[case])
    assert views.code and not views.valid


@pytest.mark.parametrize("case", BUSY)
def test_a_continued_function_that_may_be(case: str) -> None:
    prompt, text = BUSY[case]
    views = read_candidate("from typing import Iterator\n" + prompt, text)
    assert views.code and views.valid


def test_a_program_of_its_own_may_be_idle() -> None:
    assert read_candidate("Write f.", "def f(a) -> int:\n    return 1").valid
    assert read_candidate("", "def f(a) -> int:\n    pass").valid


HOSTILE = {
    "deep parentheses": "def f(): return " + "(" * 5000 + ")" * 5000,
    "deep brackets": "def f(): return " + "[" * 150 + "]" * 150,
    "many signs": "def f(): return " + "-" * 50_000 + "1",
    "a long chain": "def f(x): return x" + ".y" * 30_000,
    "a long sum": "def f(): return " + "+".join(["1"] * 30_000),
    "deep blocks": "def f():\n" + "".join(" " * i + "if 1:\n" for i in range(1, 120)) + " " * 120 + "pass",
    "NUL": "def f():\n    return '\0'",
    "huge": "def f():\n    return 1\n" * 500_000,
    "one huge line": "def f(): return '" + "a" * 10_000_000 + "'",
    "a number too large to be written": "def f(): return 0x" + "f" * 5000,
    "a number too large to be read": "def f(): return " + "9" * 5000,
    "a string with a break in an f-string": "def f():\n    return f'''{'''\n'''}'''",
    "fences": "```python\n" * 10_000,
    "blank": "\n" * 200_000,
    "signs": "\ufeff\u2028\x0c\x1b[0m\x85" * 100,
}


@pytest.mark.parametrize("prompt", ["", PROMPT], ids=["program", "continuation"])
@pytest.mark.parametrize("case", HOSTILE)
def test_nothing_raises(case: str, prompt: str) -> None:
    text = HOSTILE[case] if not prompt else "\n".join("    " + line for line in HOSTILE[case][:300_000].split("\n"))
    views = read_candidate(prompt, text)
    assert all(len("".join(view)) <= 4 * LONGEST for view in views.views)


def test_a_prompt_of_many_blank_lines_is_searched_in_linear_time() -> None:
    start = time.perf_counter()
    assert read_candidate("\n" * 90_000 + "def f():\n", "    return 1").valid
    assert time.perf_counter() - start < 5  # it takes milliseconds, and the square of so many lines minutes


@given(prompt=st.sampled_from(["", PROMPT, "Say it."]), text=st.text(max_size=200))
@settings(deadline=None, max_examples=100)
def test_any_text(prompt: str, text: str) -> None:
    views = read_candidate(prompt, text)
    assert views == read_candidate(prompt, text)
    assert views.code or views.valid


STATEMENTS = ["x = 1", "return y", "y = x", "for i in z: pass", "def g(y): return y", "import z", "x, y = y, x", "f()"]


@given(lines=st.lists(st.sampled_from(STATEMENTS), min_size=1, max_size=5))
@settings(deadline=None, max_examples=60)
def test_a_program_of_bound_names_raises_no_name_error_by_misspelling(lines: list[str]) -> None:
    program = "def f():\n" + "\n".join("    " + line for line in lines)
    bound = {
        "f",
        *(n.id for n in ast.walk(ast.parse(program)) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)),
    }
    bound |= {"g", "y"} if "def g(y): return y" in lines else set()
    bound |= {"z"} if "import z" in lines else set()
    needs = {"return y": "y", "y = x": "x", "for i in z: pass": "z", "x, y = y, x": "x"}
    missing = {name for line, name in needs.items() if line in lines} - bound
    assert read_candidate("", program).valid == (not missing)


def test_a_program_may_count_on_what_the_prompt_speaks_of() -> None:
    program = "def depth(tree):\n    return isinstance(tree, Node)"
    assert read_candidate("Every node is a `Node`. Write depth.", program).valid
    assert not read_candidate("Write depth.", program).valid


@pytest.mark.parametrize(
    "text",
    [
        "The river runs\nfrom mountain snow\nto meet the sea.",
        "Open daily\nfrom 9 to 5",
        "class struggle is a term of Marx.",
        "import java.util.List;\n\nclass A {\n    int x;\n}",
        "```java\nimport java.util.List;\nclass A {}\n```",
        "def double(x)\n  x * 2\nend",
        "```ruby\ndef double(x)\n  x * 2\nend\n```",
        "import Foundation\nlet x = 1\nclass A {\n}",
        "object Main {\n  def f(x: Int): Int = {\n    x\n  }\n}",
    ],
)
def test_what_is_not_python_is_not_broken_python(text: str) -> None:
    assert read_candidate("Write something.", text).valid


@pytest.mark.parametrize(
    "fence",
    ["```python3\n", "```Python\n", "```\r\n", "```py title=x\n", "```bash\npip install x\n```\nThen:\n```python\n"],
)
def test_the_program_inside_a_fence(fence: str) -> None:
    text = f"{fence}def inc(x):\n    return x + 1\n```\nThat is all."
    views = read_candidate("Write inc.", text)
    assert views.code and views.valid and fenced(text) == "def inc(x):\n    return x + 1\n"


def test_lines_that_show_how() -> None:
    shown = "```python\nimport sqlite3\nconn = sqlite3.connect(db_path)\n```"
    assert read_candidate("How do I open a database in Python?", shown).valid
    assert not read_candidate("Write a function that opens a database.", shown).valid
