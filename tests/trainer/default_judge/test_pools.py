"""Pools: programs of several models, labelled by running their problems' tests."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import mbpp
import pytest

from flame_rank.errors import UserError
from trainer.collection.decontamination import NgramIndex
from trainer.default_judge.pools import LabelledPool, pools_without_overlap, read_pools

ADD = mbpp.problem(
    7,
    " Write a function to add two numbers. ",
    "def add(a,b):\n    return b + a",
    "assert add(1, 2) == 3",
    "assert add(-1, 1) == 0",
)
PROMPT = 'def add(a, b):\n    """\n    Write a function to add two numbers.\n    """\n'
RIGHT, WRONG = "    return a + b\n", "    return a - b\n"


def program(body: str, signature: str = "def add(a, b):") -> str:
    return f"{signature}\n{body}"


def one_pool(
    data: Path, programs: Sequence[str], *, problem: dict[str, object] = ADD, mutants: int = 0
) -> LabelledPool:
    """The pool of one problem that one sampler wrote programs for."""
    mbpp.write_problems(data, problem)
    mbpp.write_solutions(data, seeds={"starcoder": [(int(str(problem["task_id"])), text) for text in programs]})
    (pool,) = read_pools(data, mutants_each=mutants, workers=2)
    return pool


def labels(pool: LabelledPool) -> list[tuple[str, bool]]:
    return list(zip(pool.texts, pool.right, strict=True))


def test_labels_come_from_the_tests(tmp_path: Path) -> None:
    endless = "    while True:\n        pass\n"
    leaves = "    raise SystemExit(0)\n"
    pool = one_pool(tmp_path, [program(body) for body in (RIGHT, WRONG, endless, leaves)])
    assert (pool.problem, pool.prompt) == (7, PROMPT)
    assert labels(pool) == [(RIGHT, True), (WRONG, False), (endless, False), (leaves, False)]
    assert pool.mutant == (False,) * 4


def test_all_tests_have_to_pass(tmp_path: Path) -> None:
    passes_the_first = "    return 3\n"
    assert labels(one_pool(tmp_path, [program(passes_the_first), program(RIGHT)])) == [
        (passes_the_first, False),
        (RIGHT, True),
    ]


def test_the_setup_is_run_before_the_tests(tmp_path: Path) -> None:
    problem = mbpp.problem(
        1, "Twice.", "def twice(a):\n    return 2*a", "assert twice(two) == four", setup="two, four = 2, 4"
    )
    bodies = ("    return a + a\n", "    return a\n")
    pool = one_pool(tmp_path, [program(body, "def twice(a):") for body in bodies], problem=problem)
    assert pool.right == (True, False)


def test_every_release_is_read_and_a_sampler_counts_a_text_once(tmp_path: Path) -> None:
    def returning(value: str) -> str:
        return f"    return {value}\n"

    mbpp.write_problems(tmp_path, ADD)
    mbpp.write_solutions(
        tmp_path,
        seeds={
            "starcoder": [(7, program(RIGHT)), (7, program(RIGHT))],
            "codellama": [(7, program(RIGHT))],
        },
        # A repair starts from the seed of the same model: its text is no other sampler's.
        repairs={"starcoder": [(7, program(RIGHT), [program(returning("1")), "", program(returning("1"))])]},
        agentcoder=[(7, program(returning("2")), program(returning("3"))), (7, program(RIGHT), program(RIGHT))],
        reflexion=[(7, program(RIGHT)), (8, program(returning("5")))],  # no problem 8
    )
    solutions = tmp_path / "mbpp_model_solutions"
    # Files beside them that hold no samples, or none that may be learned from.
    mbpp.write_lines(
        solutions / "llmdebugger_mbpp_tests.jsonl", [{"task_id": "MBPP/7", "solution": program(returning("6"))}]
    )
    mbpp.write_lines(
        solutions / "wizardcoder_T0.0_N1_MBPP_wizardcoder33b_v1.1.jsonl",
        [{"task_id": "Mbpp/7", "completion": program(returning("7")), "all_code": program(returning("7"))}],
    )
    (pool,) = read_pools(tmp_path, mutants_each=0, workers=2)
    # Four samplers wrote the right one: starcoder, codellama, AgentCoder's run and Reflexion's.
    assert sorted(pool.texts) == sorted([RIGHT] * 4 + [returning(value) for value in "123"])
    assert [text for text, passed in labels(pool) if passed] == [RIGHT] * 4


def test_a_missing_solution_is_no_program(tmp_path: Path) -> None:
    mbpp.write_problems(tmp_path, ADD)
    mbpp.write_solutions(tmp_path, repairs={"starcoder": [(7, "", [program(RIGHT), program(WRONG)])]})
    (pool,) = read_pools(tmp_path, mutants_each=0, workers=1)
    assert labels(pool) == [(RIGHT, True), (WRONG, False)]


def test_parameters_are_called_as_the_problem_calls_them(tmp_path: Path) -> None:
    pool = one_pool(
        tmp_path,
        [
            program("    return x + other.real\n", "def add(x, other):"),
            program("    x -= -y\n    return x  # not x\n", "def add(x: int, y: int = 2) -> int:"),
            program("    return int(x=b) + a\n", "def add(b, a):"),
            program("    é = 'é x'; return [é, x + y, dict(x=y, y='''x\n  y''')][1]\n", "def add(x, y):"),
            program("    return sum(map(lambda x: x, (x, y)))\n", "def add(x, y):"),
            program(WRONG),
        ],
    )
    assert labels(pool) == [
        ("    return a + b.real\n", True),
        ("    a -= -b\n    return a  # not x\n", True),
        ("    return int(x=a) + b\n", False),
        ("    é = 'é x'; return [é, a + b, dict(x=b, y='''x\n  y''')][1]\n", True),
        ("    return sum(map(lambda a: a, (a, b)))\n", True),
        (WRONG, False),
    ]


@pytest.mark.parametrize(
    "body",
    [
        "    a = x\n    return a + other\n",
        "    return sum(b for b in (x, other))\n",
        "    global x\n    return other\n",
        "    def f():\n        nonlocal other\n        other += x\n    f()\n    return other\n",
        "    return int(f'{x}') + other\n",
        "    return int(f'{a}') + other\n",
    ],
    ids=["local", "loop", "global", "nonlocal", "f-string", "taken in an f-string"],
)
def test_names_that_cannot_be_replaced_leave_a_program_out(body: str, tmp_path: Path) -> None:
    pool = one_pool(tmp_path, [program(body, "def add(x, other):"), program(RIGHT), program(WRONG)])
    assert pool.texts == (RIGHT, WRONG)


def test_names_that_are_as_the_problem_has_them_are_not_replaced(tmp_path: Path) -> None:
    body = "    c = f'{a}'\n    return int(c) + b\n"
    assert labels(one_pool(tmp_path, [program(body), program(WRONG)])) == [(body, True), (WRONG, False)]


def test_docstring_comments_and_windows_line_ends_above_the_body_go(tmp_path: Path) -> None:
    documented = program('    """Adds.\n\n    Well.\n    """\n    # So:\n    c = a + b\n\n    return c\n')
    pool = one_pool(tmp_path, [documented, program(WRONG).replace("\n", "\r\n")])
    assert labels(pool) == [("    c = a + b\n\n    return c\n", True), (WRONG, False)]


def test_what_stands_after_the_function_goes(tmp_path: Path) -> None:
    tested = f"\n# [BEGIN]\n\n{program(RIGHT)}\n# [CODE]\n\nassert add(1, 2) == 3\nprint('done')\n"
    assert labels(one_pool(tmp_path, [tested, program(WRONG)])) == [(RIGHT, True), (WRONG, False)]


@pytest.mark.parametrize(
    "unusable",
    [
        f"{program(RIGHT)}\n\ndef helper():\n    pass\n",
        program(RIGHT, "def plus(a, b):"),
        program(RIGHT, "def add(a, b:"),
        program(RIGHT, "def add(a, b, c):"),
        program("    return sum(both)\n", "def add(*both):"),
        program('    """Only words."""\n'),
        "def add(a, b): return a + b\n",
        "def add(\n    a, b\n): return a + b\n",
        "def add(a, b): 'Adds.'; return a + b\n",
        "add = lambda a, b: a + b\n",
        "def add(a, b):\n    return '\0'\n",
        "",
    ],
    ids=[
        "two",
        "name",
        "syntax",
        "more",
        "star",
        "docstring",
        "line",
        "lines",
        "docstring-line",
        "lambda",
        "null",
        "empty",
    ],
)
def test_unusable_programs_are_left_out(unusable: str, tmp_path: Path) -> None:
    pool = one_pool(tmp_path, [unusable, program(RIGHT), program(WRONG)])
    assert pool.texts == (RIGHT, WRONG)


def test_imports_that_a_body_needs_go_into_the_prompt(tmp_path: Path) -> None:
    uses = "    return int(math.fsum((a, b)))\n"
    pool = one_pool(
        tmp_path,
        [
            f"from typing import *\nimport math\nimport re\nfrom os import path as p\n\n{program(uses)}",
            f"import math\nfrom functools import reduce, partial\n{program('    return reduce(min, (a, b))')}",
        ],
    )
    assert pool.prompt == f"from functools import reduce, partial\nimport math\n{PROMPT}"
    assert labels(pool) == [(uses, True), ("    return reduce(min, (a, b))\n", False)]


def test_programs_are_run_behind_the_prompts_imports_only(tmp_path: Path) -> None:
    uses = "    return int(math.fsum((a, b)))\n"
    # What one program imports serves all of them; what none does, nobody has.
    pool = one_pool(tmp_path, [program(uses), f"import math\n{program(RIGHT)}", program("    return floor(a + b)\n")])
    assert pool.prompt == f"import math\n{PROMPT}"
    assert labels(pool) == [(uses, True), (RIGHT, True), ("    return floor(a + b)\n", False)]
    pool = one_pool(tmp_path, [program(uses), program(RIGHT)])
    assert (pool.prompt, labels(pool)) == (PROMPT, [(uses, False), (RIGHT, True)])


def test_the_problems_own_imports_are_there(tmp_path: Path) -> None:
    code = "import math\nimport re\ndef root(a):\n    return math.sqrt(a)"
    problem = mbpp.problem(2, "The root.", code, "assert root(4) == 2")
    bodies = ("    return math.sqrt(a)\n", "    return a\n")
    pool = one_pool(tmp_path, [program(body, "def root(a):") for body in bodies], problem=problem)
    assert (pool.prompt.split("\n")[:2], pool.right) == (["import math", "def root(a):"], (True, False))


def test_an_import_that_is_not_to_be_had_fails_those_that_use_it_alone(tmp_path: Path) -> None:
    uses = "    return no_such_module.add(a, b)\n"
    pool = one_pool(tmp_path, [f"import no_such_module\n{program(uses)}", program(RIGHT)])
    assert pool.prompt == f"import no_such_module\n{PROMPT}"
    assert labels(pool) == [(uses, False), (RIGHT, True)]


def test_mutants_are_wrong_programs(tmp_path: Path) -> None:
    # Damage to the first line does no harm: only what fails its tests may be called wrong.
    body = "    c = 4\n    c = a + b\n    return c\n"
    pool = one_pool(tmp_path, [program(body), program("    return 0\n")], mutants=100)
    assert labels(pool)[:2] == [(body, True), ("    return 0\n", False)]
    assert pool.mutant == (False, False, *(True,) * (len(pool.texts) - 2))
    made = pool.texts[2:]
    assert not any(pool.right[2:])
    assert "    c = 4\n    c = a - b\n    return c\n" in made
    assert "    c = 4\n    return c\n" in made
    harmless = ("    c = 3\n", "    c = 5\n", "")
    assert not {f"{first}    c = a + b\n    return c\n" for first in harmless} & set(made)
    assert not {"    return 1\n", "    return -1\n"} & set(made)  # a damaged wrong program teaches nothing
    assert len(set(made)) == len(made)


def test_no_mutant_is_what_some_model_wrote(tmp_path: Path) -> None:
    pool = one_pool(tmp_path, [program(RIGHT), program(WRONG)], mutants=100)
    assert labels(pool)[:2] == [(RIGHT, True), (WRONG, False)]
    assert set(pool.texts[2:]) == {"    return a + a\n", "    return b + b\n"}
    assert pool.mutant == (False, False, True, True)


def test_seed_and_number_of_mutants(tmp_path: Path) -> None:
    body = "    if a == 0:\n        return b\n    if b == 0:\n        return a\n    return a + b\n"
    mbpp.write_problems(tmp_path, ADD)
    mbpp.write_solutions(tmp_path, seeds={"starcoder": [(7, program(body))]})
    (all_of_them,) = read_pools(tmp_path, mutants_each=100, workers=2)
    (two,) = read_pools(tmp_path, mutants_each=2, workers=2)
    assert len(two.texts) <= 3 < len(all_of_them.texts)
    assert set(two.texts) <= set(all_of_them.texts)
    assert read_pools(tmp_path, mutants_each=100, workers=1) == [all_of_them]


def test_pools_have_two_programs_and_problems_a_function(tmp_path: Path) -> None:
    def other(number: int, code: str) -> dict[str, object]:
        return mbpp.problem(number, "Other.", code, f"assert f{number}(1) == 1")

    mbpp.write_problems(tmp_path, other(3, "def f3(x):\n    return x"), other(4, "f4 = int"), ADD)
    written = [(3, "def f3(x):\n    return x"), (4, "def f4(x):\n    return x"), (4, "def f4(x):\n    return 1")]
    both = [(7, program(RIGHT)), (7, program(WRONG))]
    mbpp.write_solutions(tmp_path, seeds={"starcoder": [*both, *written]})
    assert [pool.problem for pool in read_pools(tmp_path, mutants_each=0, workers=2)] == [7]


def test_the_last_called_function_is_the_problem(tmp_path: Path) -> None:
    code = "def half(a):\n    return a / 2\ndef mean(a, b = 0, *rest):\n    return half(a + b)"
    half = "def half(a):\n    return a / 2"
    problem = mbpp.problem(5, "The mean.", code, "assert mean(half(2), 3) == 2", setup=half)
    bodies = ("    return (a + b) / 2\n", "    return a\n")
    pool = one_pool(tmp_path, [program(body, "def mean(a, b):") for body in bodies], problem=problem)
    assert pool.prompt == 'def mean(a, b=0, *rest):\n    """\n    The mean.\n    """\n'
    assert pool.right == (True, False)


@pytest.mark.parametrize("missing", ["mbpp.jsonl", "llmdebugger_*", "agentcoder_*", "reflexion_*"])
def test_a_missing_file_is_named(missing: str, tmp_path: Path) -> None:
    one_pool(tmp_path, [program(RIGHT), program(WRONG)])
    for path in tmp_path.rglob(missing):
        path.unlink()
    with pytest.raises(UserError, match=rf"/{re.escape(missing)}\S*: no such file$"):
        read_pools(tmp_path)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    one_pool(tmp_path, [program(RIGHT), program(WRONG)])
    path = tmp_path / "mbpp_model_solutions" / "reflexion_simple_mbpp_py.jsonl"
    path.write_text(json.dumps({"name": "mbpp_7_add", "solution": program(RIGHT)})[:-5])
    with pytest.raises(UserError, match=r"reflexion_simple_mbpp_py\.jsonl:1: not JSON"):
        read_pools(tmp_path, mutants_each=0, workers=2)


# ---- Without what is evaluated ----

NUMBERS = "one two three four five six seven eight nine ten eleven twelve thirteen"
THIRTEEN = NUMBERS.split()
HELD_OUT = NgramIndex([f"zero {NUMBERS} fourteen"])


def pool(prompt: str, *texts: str) -> LabelledPool:
    marks = tuple(i % 2 == 0 for i in range(len(texts)))
    return LabelledPool(problem=1, prompt=prompt, texts=texts, right=marks, mutant=marks[::-1])


def test_a_pool_loses_the_programs_that_do() -> None:
    (kept,) = pools_without_overlap([pool("p\n", "a", NUMBERS, "b", "c")], HELD_OUT)
    assert (kept.texts, kept.right, kept.mutant) == (("a", "b", "c"), (True, True, False), (False, False, True))
    assert kept.prompt == "p\n"


def test_a_run_across_prompt_and_program_counts() -> None:
    head, tail = " ".join(THIRTEEN[:8]) + "\n", " ".join(THIRTEEN[8:])
    (kept,) = pools_without_overlap([pool(head, "a", tail, "b")], HELD_OUT)
    assert kept.texts == ("a", "b")


def test_a_pool_of_fewer_than_two_goes() -> None:
    assert pools_without_overlap([pool("p\n", "a", NUMBERS), pool(f"{NUMBERS}\n", "a", "b", "c")], HELD_OUT) == []
