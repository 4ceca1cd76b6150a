"""Makes programs that are almost right: each has one small mutation, of a kind that occurs in models' programs."""

import ast
import copy
import random
from collections.abc import Callable, Iterator

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


def _mutations(tree: ast.AST) -> Iterator[Callable[[random.Random], None]]:
    """Yields every single mutation of a tree, as a function that applies it."""
    stored = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    own = stored | {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}  # names that may be confused

    def replace(field: list[ast.stmt], at: int, new: list[ast.stmt]) -> Callable[[random.Random], None]:
        return lambda rng: field.__setitem__(slice(at, at + 1), new)

    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and type(node.ops[0]) in _COMPARE:
            yield lambda rng, n=node: n.ops.__setitem__(0, _COMPARE[type(n.ops[0])]())  # type: ignore[misc]
        elif isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in _ARITHMETIC:
            yield lambda rng, n=node: setattr(n, "op", _ARITHMETIC[type(n.op)]())  # type: ignore[misc]
        elif isinstance(node, ast.BoolOp):
            yield lambda rng, n=node: setattr(  # type: ignore[misc]
                n, "op", ast.And() if isinstance(n.op, ast.Or) else ast.Or()
            )
        elif isinstance(node, ast.Constant) and type(node.value) is int:
            yield lambda rng, n=node: setattr(n, "value", n.value + rng.choice((-1, 1)))  # type: ignore[misc]
        elif isinstance(node, ast.Constant) and type(node.value) is bool:
            yield lambda rng, n=node: setattr(n, "value", not n.value)  # type: ignore[misc]
        elif isinstance(node, ast.Name) and node.id in _CALLS:
            yield lambda rng, n=node: setattr(n, "id", _CALLS[n.id])  # type: ignore[misc]
        elif isinstance(node, ast.UnaryOp):
            yield lambda rng, n=node: setattr(n, "op", ast.Not())  # type: ignore[misc]
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and len(own - {node.id}) and node.id in own:
            yield lambda rng, n=node: setattr(n, "id", rng.choice(sorted(own - {n.id})))  # type: ignore[misc]
        elif isinstance(node, ast.Call) and len(node.args) > 1:
            yield lambda rng, n=node: n.args.insert(0, n.args.pop(1))  # type: ignore[misc]
        elif isinstance(node, ast.Slice) and node.lower is not None and node.upper is None:
            yield lambda rng, n=node: n.__dict__.update(lower=None, upper=n.lower)  # type: ignore[misc]
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
                    yield lambda rng, s=statement, b=block, i=at: s.body.append(b[i + 1])  # type: ignore[misc]


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
