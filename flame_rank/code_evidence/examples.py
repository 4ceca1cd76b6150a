"""Reads the examples in a prompt or docstring: calls of the function and their results, in the ways people write them.

`>>> f(1)` with the value on the next line (doctest), `f(1) == 2`, `f(1) = 2`, `f(1) -> 2`, `f(1) => 2`, `f(1) ➞ 2`,
`f(1) returns 2`, `f(1) should return 2`, `Input: 1` with `Output: 2` below, `For x = 1 the output should be 2`. Both
sides are literals (or true, false, null); nothing is evaluated.
"""

import ast
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from flame_rank.code_evidence.signature import read_parameters

_GIVES = re.compile(
    r"""[ \t`'".,;:)]*
    (?:==+>?|=+>?|-+>|[➞→⇒⟶➔]|(?:\#\s*)?(?:should\s+|must\s+|will\s+)?
       (?:returns?|gives?|outputs?|yields?|equals?|evaluates\s+to|be(?:comes)?|is)\b(?:\s+to)?)
    [ \t:`]*""",
    re.VERBOSE | re.IGNORECASE,
)
_STATED = re.compile(
    r"""^[ \t]*(?:Input:[ \t]*(?P<in>\S.*)\n[ \t]*Output:
        |(?:For|If)[ ]+(?P<for>\w+[ ]*=[ ]*\S.*?),?[ ]+[^\n=]*?
         (?:output|result|return)[ ]*(?:(?:should|will|must)[ ]be|is|=)
     )[ \t]*""",
    re.VERBOSE | re.MULTILINE | re.IGNORECASE,
)
_WORDS = {"true": True, "false": False, "null": None, "none": None}
_NEXT_LINE = re.compile(r"[ \t]*\n[ \t]*")
_LONGEST = 2000  # characters of a call or a value


@dataclass(frozen=True, kw_only=True)
class Example:
    """A call and its result.

    Attributes:
      arguments: the arguments of the call, all by position.
      expected: the value that it should return.
    """

    arguments: tuple[Any, ...]
    expected: Any


def read_examples(text: str, function: str) -> list[Example]:
    """Reads the distinct examples of a function in a text, in the order of the text."""
    examples: dict[str, Example] = {}
    parameters = read_parameters(text, function)
    names = None if parameters is None else [parameter.arg for parameter in parameters.args]
    for match in re.finditer(rf"(>>>[ \t]*)?(?<![\w.]){re.escape(function)}[ \t]*\(", text):
        if text[: match.start()].endswith("def "):
            continue
        call = _balanced(text, match.end() - 1)
        arguments = _arguments(call, names)
        if arguments is None:
            continue
        rest = text[match.end() - 1 + len(call) :]
        gives = _GIVES.match(rest) or (_NEXT_LINE.match(rest) if match[1] else None)
        if gives is None:
            continue
        for value in _literals(rest[gives.end() :].split("\n", 1)[0]):
            if isinstance(value, bool) or not any(isinstance(argument, _Word) for argument in arguments):
                plain = tuple(str(a) if isinstance(a, _Word) else a for a in arguments)
                examples.setdefault(repr(plain), Example(arguments=plain, expected=value))
            break
    for match in _STATED.finditer(text):
        arguments = _arguments(f"({match['in'] or match['for']})")
        value = next(_literals(text[match.end() :].split("\n", 1)[0]), _NOTHING)
        if arguments is not None and value is not _NOTHING:
            examples.setdefault(repr(arguments), Example(arguments=arguments, expected=value))
    return list(examples.values())


class _Word(str):
    """A bare word as an argument: probably a string if the function returns a truth value, otherwise a variable."""


_NOTHING = object()


def _balanced(text: str, start: int) -> str:
    """Returns the text from an opening bracket to its closing one; if there is none, as much as may belong to the
    call."""
    depth, quote = 0, ""
    for at in range(start, min(len(text), start + _LONGEST)):
        character = text[at]
        if quote:
            if character == quote and text[at - 1] != "\\":
                quote = ""
        elif character in "'\"":
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
            if depth == 0:
                return text[start : at + 1]
    return text[start : start + _LONGEST]


def _arguments(call: str, names: Sequence[str] | None = None) -> tuple[Any, ...] | None:
    """Returns the literals between the brackets of a call, by position; None if they are none.

    Args:
      names: the names of the function's parameters, if they are known. A call of them is a sentence about the function
        ("f(n) returns True if n is even"), and a keyword is the parameter that has its name.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(f"f{call}", mode="eval").body
        if not isinstance(tree, ast.Call):
            return None
        keywords = tree.keywords
        if names is not None and keywords:
            places = [names.index(keyword.arg or "") for keyword in keywords]
            if sorted(places) != list(range(len(tree.args), len(tree.args) + len(places))):
                return None  # a default lies between them
            keywords = [keyword for _, keyword in sorted(zip(places, keywords, strict=True), key=lambda pair: pair[0])]
        values = tuple(_literal(argument) for argument in (*tree.args, *(keyword.value for keyword in keywords)))
        return None if any(isinstance(value, _Word) and value in (names or ()) for value in values) else values
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        return None


def _literal(node: ast.expr) -> Any:
    """Returns the value of a literal, or a bare word.

    Raises:
      ValueError: the text is neither.
    """
    if isinstance(node, ast.Name):
        return _WORDS[node.id.lower()] if node.id.lower() in _WORDS else _Word(node.id)
    if any(isinstance(part, ast.Constant) and part.value is Ellipsis for part in ast.walk(node)):
        raise ValueError("... stands for what is not shown")
    return ast.literal_eval(node)


def _literals(line: str) -> Iterator[Any]:
    """Returns the literals that a line begins with, the longest first."""
    line = line.strip()[:_LONGEST]
    if line[:1] in "([{":
        line = _balanced(line, 0) or line
    for end in range(len(line), 0, -1):
        if (after := line[end:].lstrip()) and after[0] in "+-*/%=<>":
            continue  # the beginning of a calculation
        if end < len(line) and (line[end].isalnum() or line[end] == "_" or line[end : end + 2].strip(".").isdigit()):
            continue  # in the middle of a word or a number
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                value = _literal(ast.parse(line[:end].strip(" .,;:`"), mode="eval").body)
            if not isinstance(value, _Word):
                yield value
        except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
            continue
