"""Which candidates of a problem are the same: text for text, as programs that differ in their formatting only, or to
whoever asked a question and takes an answer."""

import ast
from collections.abc import Callable, Hashable
from typing import Final, Literal, TypeAlias

import numpy as np

from flame_rank.candidates import answers, code_views
from flame_rank.records import Problem
from strategies.base import IntArray

How: TypeAlias = Literal["exact", "ast"]

# With a definition or an import, what makes a text a program: prose may parse too ("yes", "Answer: 5").
_STATEMENTS = (ast.For, ast.AsyncFor, ast.While, ast.If, ast.With, ast.AsyncWith, ast.Try, ast.Match)


def distinct(problem: Problem, how: How = "exact") -> IntArray:
    """Which of the distinct texts each candidate has; the first candidate of a kind stands for it.

    Args:
      how: "exact": two candidates are the same when their texts are. "ast": also when both are Python with the same
        syntax tree: comments, white space, quotes and parentheses do not count; names, constants and docstrings do.
        A continuation of the prompt's function is read behind the prompt. A program in a fence, with nothing around
        the fence, is the program. All other texts (prose, what does not parse, what is longer than
        code_views.LONGEST) are equal to themselves only.

    Returns:
      [n] int64, numbered from 0 in the order in which the distinct texts appear.

    Raises:
      ValueError: there is no such way.
    """
    if how not in _KEYS:
        raise ValueError(f"dedupe is {how!r}; it is one of {', '.join(_KEYS)}")
    key = _KEYS[how]
    keys = {text: key(problem.prompt, text) for text in dict.fromkeys(problem.texts)}
    number: dict[Hashable, int] = {}
    return np.array([number.setdefault(keys[text], len(number)) for text in problem.texts], np.int64)


def representatives(cluster: IntArray) -> IntArray:
    """Returns [d] int64: the first candidate of each distinct text.

    Args:
      cluster: [n], the distinct texts, as `distinct` has them.
    """
    return np.unique(cluster, return_index=True)[1].astype(np.int64)


def options(problem: Problem, cluster: IntArray) -> IntArray:
    """Which candidates are one choice to whoever asked: the same text, or the same final answer if a pool votes on it.

    Args:
      cluster: [n], the distinct texts, as `distinct` has them.

    Returns:
      [n] int64, numbered from 0.
    """
    found = answers.problem_answers(problem)
    if not answers.shared(found):
        return cluster
    if problem.answers is None:
        programs = sum(code_views.read_candidate(problem.prompt, text).code for text in problem.texts)
        if 2 * programs >= len(cluster):
            return cluster
    keys = [answer or own for answer, own in zip(found, cluster.tolist(), strict=True)]
    number = {key: k for k, key in enumerate(dict.fromkeys(keys))}
    return np.array([number[key] for key in keys], np.int64)


def _exact(prompt: str, text: str) -> Hashable:
    return text


def _ast(prompt: str, text: str) -> Hashable:
    """A program's kind and syntax tree; of any other text the text."""
    if len(text) > code_views.LONGEST:
        return text
    fenced = code_views.FENCE.fullmatch(text.strip())
    source = fenced[1] if fenced else text
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
