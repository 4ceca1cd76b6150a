"""Finds candidates of a problem that are the same: equal texts, programs that differ only in formatting, or texts
with the same final answer."""

import ast
from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Final, Literal, TypeAlias

import numpy as np

from flame_rank.candidates import answers, code_views
from flame_rank.records import Problem
from strategies.base import IntArray

How: TypeAlias = Literal["exact", "ast"]

# A text that parses is a program if it has one of these, a definition or an import: prose may parse, too ("yes").
_STATEMENTS = (ast.For, ast.AsyncFor, ast.While, ast.If, ast.With, ast.AsyncWith, ast.Try, ast.Match)


def distinct(problem: Problem, how: How = "exact") -> IntArray:
    """Numbers the distinct texts, and returns the number of each candidate's text.

    Args:
      problem: the problem.
      how: "exact": two candidates are the same if their texts are equal. "ast": also if both are Python with the same
        syntax tree: comments, white space, quotes and parentheses do not count; names, constants and docstrings do. A
        continuation of the prompt's function is parsed with the prompt before it. A program in a fence, with nothing
        around the fence, is the program. Any other text (prose, text that does not parse or is longer than
        code_views.LONGEST) is the same only if the texts are equal.

    Returns:
      [n] int64, numbered from 0 in the order in which the distinct texts appear.

    Raises:
      ValueError: `how` is not one of these.
    """
    if how not in _KEYS:
        raise ValueError(f"dedupe is {how!r}; it must be one of {', '.join(_KEYS)}")
    if len(set(problem.texts)) == len(problem) and how == "exact":
        return _all_different(len(problem))
    key = _KEYS[how]
    keys = {text: key(problem.prompt, text) for text in dict.fromkeys(problem.texts)}
    number: dict[Hashable, int] = {}
    return np.array([number.setdefault(keys[text], len(number)) for text in problem.texts], np.int64)


@lru_cache(maxsize=16)
def _all_different(n: int) -> IntArray:
    numbers = np.arange(n)
    numbers.flags.writeable = False  # one array serves all problems
    return numbers


def representatives(cluster: IntArray) -> IntArray:
    """Returns [d] int64: the first candidate of each distinct text.

    Args:
      cluster: [n] the numbers of the distinct texts, as `distinct` returns them.
    """
    if len(cluster) == cluster[-1] + 1:  # all are different
        return cluster
    first: dict[int, int] = {}  # in the order of the numbers, since texts are numbered as they appear
    for i, k in enumerate(cluster.tolist()):
        first.setdefault(k, i)
    return np.array(list(first.values()), np.int64)


def options(problem: Problem, cluster: IntArray) -> IntArray:
    """Numbers the options, and returns the number of each candidate's option. Equal texts are one option, and so are
    equal final answers in a pool whose candidates vote.

    Args:
      problem: the problem, with its answers if they are not read from the texts.
      cluster: [n] the numbers of the distinct texts, as `distinct` returns them.

    Returns:
      [n] int64, numbered from 0.
    """
    stated = answers.problem_answers(problem)
    if not answers.shared(stated):
        return cluster
    if problem.answers is None:
        programs = sum(code_views.read_candidate(problem.prompt, text).code for text in problem.texts)
        if 2 * programs >= len(cluster):
            return cluster
    keys = [answer or own for answer, own in zip(stated, cluster.tolist(), strict=True)]
    number = {key: k for k, key in enumerate(dict.fromkeys(keys))}
    return np.array([number[key] for key in keys], np.int64)


def _exact(prompt: str, text: str) -> Hashable:
    return text


def _ast(prompt: str, text: str) -> Hashable:
    """Returns the kind and the syntax tree of a program; any other text is returned unchanged."""
    if len(text) > code_views.LONGEST:
        return text
    source = code_views.unfenced(text)
    continues = code_views.is_continuation(prompt[-code_views.LONGEST :], source)
    if continues and len(prompt) > code_views.LONGEST:
        return text
    tree = code_views.parse(prompt + source if continues else source)
    if tree is None:
        return text
    if not continues and not any(isinstance(node, code_views.PROGRAM + _STATEMENTS) for node in tree.body):
        return text
    try:
        return continues, ast.dump(tree)
    except (RecursionError, MemoryError, ValueError):  # nested too deeply, or a number too large to be written out
        return text


_KEYS: Final[dict[str, Callable[[str, str], Hashable]]] = {"exact": _exact, "ast": _ast}
