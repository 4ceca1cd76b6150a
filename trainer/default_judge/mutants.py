"""Makes programs that are almost right: each has one small mutation, of a kind that occurs in models' programs."""

import ast
import copy
import random
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

_Mutation: TypeAlias = Callable[[random.Random], None]

_COMPARE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.FloorDiv,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
}
_CALLS = {
    "min": "max",
    "max": "min",
    "any": "all",
    "all": "any",
    "sorted": "list",
    "sum": "len",
    "append": "extend",
}


def _mutations(tree: ast.AST) -> Iterator[_Mutation]:
    """Yields every single mutation of a tree, as a function that applies it."""
    stored = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    own = stored | {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}  # names that may be confused

    def replace(block: list[ast.stmt], at: int, new: list[ast.stmt]) -> _Mutation:
        return lambda rng: block.__setitem__(slice(at, at + 1), new)

    def put(node: ast.AST, field: str, value: object) -> _Mutation:
        return lambda rng: setattr(node, field, value)

    def draw(node: ast.AST, field: str, values: Sequence[object]) -> _Mutation:
        return lambda rng: setattr(node, field, rng.choice(values))

    def end_at_start(node: ast.Slice) -> _Mutation:
        return lambda rng: node.__dict__.update(lower=None, upper=node.lower)

    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and type(node.ops[0]) in _COMPARE:
            yield put(node, "ops", [_COMPARE[type(node.ops[0])](), *node.ops[1:]])
        elif isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in _ARITHMETIC:
            yield put(node, "op", _ARITHMETIC[type(node.op)]())
        elif isinstance(node, ast.BoolOp):
            yield put(node, "op", ast.And() if isinstance(node.op, ast.Or) else ast.Or())
        elif isinstance(node, ast.Constant) and type(node.value) is int:
            yield draw(node, "value", (node.value - 1, node.value + 1))
        elif isinstance(node, ast.Constant) and type(node.value) is bool:
            yield put(node, "value", not node.value)
        elif isinstance(node, ast.Name) and node.id in _CALLS:
            yield put(node, "id", _CALLS[node.id])
        elif isinstance(node, ast.UnaryOp):
            yield put(node, "op", ast.Not())
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and len(own - {node.id}) and node.id in own:
            yield draw(node, "id", sorted(own - {node.id}))
        elif isinstance(node, ast.Call) and len(node.args) > 1:
            yield put(node, "args", [node.args[1], node.args[0], *node.args[2:]])
        elif isinstance(node, ast.Slice) and node.lower is not None and node.upper is None:
            yield end_at_start(node)
        for field in ("body", "orelse"):
            block = getattr(node, field, None)
            if not isinstance(block, list) or isinstance(node, ast.Module):
                continue
            for at, statement in enumerate(block):
                if len(block) > 1 and not isinstance(statement, ast.Return):
                    yield replace(block, at, [])
                if isinstance(statement, ast.If):
                    yield replace(block, at, statement.body)
                if isinstance(statement, ast.For) and len(block) > at + 1:  # the return goes into the loop
                    yield replace(statement.body, len(statement.body), [block[at + 1]])


def mutants(program: str, *, seed: int, count: int) -> Iterator[str]:
    """Yields at most `count` programs that differ from `program` by one mutation each; they may still be right."""
    rng = random.Random(f"{seed} {program}")
    tree = ast.parse(program)
    plain = ast.unparse(tree)
    numbers = list(range(len(list(_mutations(tree)))))
    rng.shuffle(numbers)
    for number in numbers:
        if count <= 0:
            return
        mutated = copy.deepcopy(tree)
        list(_mutations(mutated))[number](rng)
        text = ast.unparse(ast.fix_missing_locations(mutated))
        if text != plain:
            count -= 1
            yield text
