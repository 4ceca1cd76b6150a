"""Computes plain consensus, the baseline that a judge of programs has to beat."""

import ast
import re
from collections.abc import Sequence

import numpy as np

from strategies.base import FloatArray

_STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")


def consensus(texts: Sequence[str]) -> FloatArray:
    """Computes the mean Jaccard overlap of each continuation's token set with those of all, itself included: [n].

    A text is cut at the first line that ends a function, and normalised by parsing and unparsing it if it parses.
    """
    tokens = [frozenset(re.findall(r"\w+|[^\w\s]", _normal(text))) for text in texts]
    return np.array([np.mean([_jaccard(own, other) for other in tokens]) for own in tokens])


def _normal(text: str) -> str:
    ends = [at for stop in _STOPS if (at := text.find(stop)) >= 0]
    body = text[: min(ends)] if ends else text
    try:
        return ast.unparse(ast.parse("def f():\n" + body.strip("\n")))
    except (SyntaxError, ValueError, RecursionError):
        return body


def _jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    return len(a & b) / len(a | b) if a or b else 1.0
