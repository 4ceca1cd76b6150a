"""Reads the parameters of a function from a program or from a prompt that shows only its first line."""

import ast
import re


def read_parameters(program: str, function: str) -> ast.arguments | None:
    """Returns the parameters of a function's last definition; None if the program does not define it.

    Args:
      program: Python source, or a prompt that ends after the function's first line.
    """
    heads = list(re.finditer(rf"^[ \t]*(?:async[ \t]+)?def[ \t]+{re.escape(function)}[ \t]*\(", program, re.MULTILINE))
    if not heads:
        return None
    rest = program[heads[-1].start() :].lstrip()
    for end in (match.end() for match in re.finditer(":", rest)):
        try:
            tree = ast.parse(f"{rest[:end]} pass").body[0]
        except (SyntaxError, ValueError):
            continue
        if isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef):
            return tree.args
    return None
