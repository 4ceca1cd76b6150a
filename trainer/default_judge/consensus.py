"""Plain consensus: the baseline that a judge of code pools has to beat."""

import ast
import re
from collections.abc import Sequence

import numpy as np

from strategies.base import FloatArray

_STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")


def consensus(texts: Sequence[str]) -> FloatArray:
    """The mean Jaccard overlap of each continuation's token set with those of all, itself included: [n].

    A text is cut at the first line that ends a function, and parsed and unparsed where that succeeds.
    """
    tokens = [frozenset(re.findall(r"\w+|[^\w\s]", _normal(text))) for text in texts]
    return np.array([np.mean([_jaccard(own, other) for other in tokens]) for own in tokens])


def _normal(text: str) -> str:
    found = [at for stop in _STOPS if (at := text.find(stop)) >= 0]
    body = text[: min(found)] if found else text
    try:
        return ast.unparse(ast.parse("def f():\n" + body.strip("\n")))
    except (SyntaxError, ValueError, RecursionError):
        return body


def _jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    return len(a & b) / len(a | b) if a or b else 1.0
