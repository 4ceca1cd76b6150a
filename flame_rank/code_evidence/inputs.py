"""Makes arguments for a function from its examples and its signature: small and ordinary values, the same every
time."""

import ast
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from flame_rank.code_evidence.examples import Example
from flame_rank.code_evidence.signature import read_parameters

MOST = 24  # calls of one function, its examples included
_EACH = 8  # made from one example
# By annotation, and for a parameter without one.
_TYPED: dict[str, tuple[Any, ...]] = {
    "int": (0, 1, 2, 5, 10, -3),
    "float": (0.0, 1.5, -2.25, 3.0, 10.75),
    "bool": (True, False),
    "str": ("", "a", "hello world", "Abba", "12 3", "(()())"),
    "list[int]": ([], [1], [3, 1, 2], [5, 5, -2, 0], [1, 2, 3, 4, 10]),
    "list[float]": ([], [1.0], [2.5, 1.0, 4.75], [1.0, 1.0, -3.5, 2.0]),
    "list[str]": ([], ["a"], ["b", "aa", "abc"], ["x", "", "x", "Hello"]),
    "dict": ({}, {"a": 1}, {"b": "x", "A": "y"}),
}
_UNKNOWN: tuple[Any, ...] = (0, 1, 5, 12, "abc", "", "Hello World", [], [1, 2, 3], [4, 1, 4, -2], ["a", "bb"], 2.5)


def make_inputs(examples: Sequence[Example], signature: Sequence[str | None]) -> list[tuple[Any, ...]]:
    """Makes arguments for a function; those of its examples come first.

    Args:
      examples: the function's examples.
      signature: the annotation of each parameter; None for a parameter without one.
    """
    made: dict[str, tuple[Any, ...]] = {repr(e.arguments): e.arguments for e in examples}
    changed = [list(islice(_changed(example.arguments), _EACH)) for example in examples]
    turns = [turn for position in range(_EACH) for row in changed for turn in row[position : position + 1]]
    for arguments in turns if examples else _typed(signature):
        made.setdefault(repr(arguments), arguments)
    return list(made.values())[: max(MOST, len(examples))]


def read_signature(program: str, function: str) -> list[str | None] | None:
    """Reads the annotations of a function's parameters that have no default; None if the program does not define it.

    Args:
      program: Python source, or a prompt that ends after the function's first line.
    """
    parameters = read_parameters(program, function)
    if parameters is None:
        return None
    needed = parameters.args[: len(parameters.args) - len(parameters.defaults)]
    return [ast.unparse(a.annotation).lower() if a.annotation else None for a in needed]


def _typed(signature: Sequence[str | None]) -> Iterator[tuple[Any, ...]]:
    columns = [_TYPED.get((kind or "").replace("typing.", ""), _UNKNOWN) for kind in signature]
    for turn in range(MOST):
        yield tuple(column[(turn * (k + 1) + k) % len(column)] for k, column in enumerate(columns))


def _changed(arguments: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Yields the arguments with one of them changed, each in its turn."""
    rows = [list(islice(_variants(argument), _EACH)) for argument in arguments]
    for position in range(_EACH):
        for k, row in enumerate(rows):
            if position < len(row):
                yield (*arguments[:k], row[position], *arguments[k + 1 :])


def _variants(value: Any) -> Iterator[Any]:
    """Yields variants of a value, of the same type."""
    match value:
        case bool():
            yield not value
        case int():
            yield from (value + 1, value - 1, 0, 2 * value + 1, 1, -value, value + 10)
        case float():
            yield from (value + 1.0, value / 2, 0.0, -value, value * 3 + 0.25)
        case str():
            yield from (value[::-1], value + value, value[: len(value) // 2], "", value.swapcase(), value + "a", "z")
        case list() | tuple():
            kind = type(value)
            yield kind(reversed(value))
            yield kind([*value, *value])
            yield kind(value[:-1])
            yield kind(value[1:])
            yield kind()
            yield kind(next(_variants(item), item) for item in value)
            yield kind([*value[:1], *value])
            yield kind(sorted(value, key=repr))
        case dict():
            yield {}
            yield dict(list(value.items())[1:])
            yield {key: next(_variants(item), item) for key, item in value.items()}
            yield {next(_variants(key), key): item for key, item in value.items()}
        case set():
            yield set()
            yield {next(_variants(item), item) for item in value}
        case None:
            yield 0
