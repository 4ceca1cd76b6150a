"""Mutants: programs that are almost right."""

import ast
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.default_judge.mutants import mutants

# Each with as many kinds of damage as it has room for.
TEMPLATES = (
    "def f(a, b):\n    if a {compare} b:\n        return a {arithmetic} {number}\n    return b\n",
    "def f(xs):\n    total = {number}\n    for x in xs:\n        total {arithmetic}= x\n    return total\n",
    "def f(xs):\n    return {call}(x {arithmetic} {number} for x in xs if x {compare} 2 and not x {compare} 3)\n",
    "def f(n):\n    found = []\n    while n {compare} {number} or found:\n        if n % 2 == {number}:\n"
    "            n = n // 2\n            continue\n        elif -n in found:\n            break\n        else:\n"
    "            found.append(n)\n            n {arithmetic}= 1\n    return {call}(found)\n",
    "def f(s):\n    try:\n        flag = True\n        s = s[{number}:]\n    except IndexError:\n        flag = False\n"
    "    match len(s):\n        case {number}:\n            return f'{{s:>{{4 {arithmetic} 2}}}}'\n    return flag\n",
)
programs = st.builds(
    lambda template, compare, arithmetic, number, call: template.format(
        compare=compare, arithmetic=arithmetic, number=number, call=call
    ),
    st.sampled_from(TEMPLATES),
    st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
    st.sampled_from(["+", "-", "*", "//", "%", "**"]),
    st.integers(0, 3),
    st.sampled_from(["min", "max", "any", "all", "sorted", "sum"]),
)


@settings(max_examples=40, deadline=None)
@given(program=programs, seed=st.integers(0, 3))
def test_every_mutant_is_another_program(program: str, seed: int) -> None:
    plain = ast.dump(ast.parse(program))
    made = list(mutants(program, seed=seed, count=10**6))
    assert made
    for mutant in made:
        assert ast.dump(ast.parse(mutant)) != plain


@settings(max_examples=40, deadline=None)
@given(program=programs, seed=st.integers(0, 3), count=st.integers(0, 8))
def test_count_and_seed_are_respected(program: str, seed: int, count: int) -> None:
    made = list(mutants(program, seed=seed, count=10**6))
    # A later one owes nothing to an earlier one's damage, nor to how many were asked for.
    assert list(mutants(program, seed=seed, count=count)) == made[:count]


def test_another_seed_does_other_damage() -> None:
    program = TEMPLATES[3].format(compare=">", arithmetic="+", number=2, call="sum")
    first = {seed: next(mutants(program, seed=seed, count=1)) for seed in range(10)}
    assert len(set(first.values())) > 3


def every(program: str) -> list[str]:
    return list(mutants(program, seed=0, count=10**6))


def bodies(program: str) -> set[str]:
    """All mutants of a function, without its signature."""
    return {mutant.split("\n", 1)[1] for mutant in every(program)}


@pytest.mark.parametrize(
    ("line", "damaged"),
    [
        ("return a < b", {"return a <= b", "return a < a", "return b < b"}),
        ("return c not in d", {"return c in d"}),
        ("return c * d", {"return c + d"}),
        ("return c and d", {"return c or d"}),
        ("return True", {"return False"}),
        ("return not c", set()),
        ("return -c", {"return not c"}),
        ("return max(c)", {"return min(c)"}),
        ("return 'two' + c", {"return 'two' - c"}),
        ("return b", {"return a"}),
        ("return c(a)", {"return c(b)"}),
        ("return c.a", set()),
        ("return c(d, e, a=a)", {"return c(e, d, a=a)", "return c(d, e, a=b)"}),
        ("return c(*d)", set()),
        ("return c[d:]", {"return c[:d]"}),
        ("return c[:d]", set()),
        ("return c[d:e]", set()),
    ],
)
def test_the_kinds_of_damage(line: str, damaged: set[str]) -> None:
    assert bodies(f"def f(a, b):\n    {line}\n") == {f"    {line}" for line in damaged}


def test_a_name_is_confused_with_one_that_the_program_binds() -> None:
    program = "def f(a):\n" + statements("b, c = g(d)", "return a")
    made = {mutant for seed in range(20) for mutant in mutants(program, seed=seed, count=9)}
    # What is not bound here, or is being bound, stays.
    assert made == {
        *(f"def f(a):\n    b, c = g(d)\n    return {name}" for name in "bc"),
        "def f(a):\n    return a",
    }


def test_a_number_is_off_by_one() -> None:
    for seed in range(5):
        (mutant,) = mutants("def f():\n    return 4", seed=seed, count=9)
        assert mutant in {"def f():\n    return 3", "def f():\n    return 5"}


def statements(*lines: str) -> str:
    return "".join(f"    {line}\n" for line in lines).rstrip("\n")


def test_statements_go_and_conditions_with_them() -> None:
    program = "def f(a):\n" + statements("if a:", "    a = b", "return a")  # one name: nothing to confuse it with
    assert bodies(program) == {statements("return a"), statements("a = b", "return a")}


def test_a_return_slips_into_the_loop() -> None:
    program = "def f(a):\n" + statements("for x in a:", "    g(x)", "return a")
    assert bodies(program) == {
        statements("return a"),
        statements("for x in a:", "    g(x)", "    return a", "return a"),
        *(statements(f"for x in {a}:", f"    g({x})", f"return {b}") for a, x, b in ("xxa", "aaa", "axx")),
    }


def test_a_program_with_nothing_to_damage_has_no_mutants() -> None:
    nothing: Sequence[str] = every("def f(a):\n    return a")
    assert nothing == []
