"""Reads pools of MBPP programs by several models and labels them by running their problems' tests; from them the
default judge learns which of many samples are right. The files are those of LLMDebugger, AgentCoder and Reflexion,
whose licences are permissive; the WizardCoder files beside them are left out, because theirs is not."""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flame_rank.sandbox.pool import Order, Sandbox
from trainer.collection.decontamination import NgramIndex
from trainer.collection.release_files import Folder, reject_bad
from trainer.default_judge.mutants import mutants


@dataclass(frozen=True, kw_only=True)
class LabelledPool:
    """One MBPP problem with many programs, each known to be right or wrong.

    Attributes:
      problem: the MBPP task id.
      prompt: the signature and docstring, as a model reads them.
      texts: the candidates, function bodies that continue the prompt; a text occurs as often as models wrote it.
      right: for each text, whether it passes the problem's tests.
      mutant: for each text, whether it was made by mutating a program that passes.
    """

    problem: int
    prompt: str
    texts: tuple[str, ...]
    right: tuple[bool, ...]
    mutant: tuple[bool, ...]


@dataclass(frozen=True, kw_only=True)
class _Task:
    text: str
    entry_point: str
    signature: str  # "def f(a, b):"
    imports: tuple[str, ...]  # of MBPP's own program
    setup: str
    tests: tuple[str, ...]


def read_pools(data: Path, *, seed: int = 0, mutants_each: int = 2, workers: int | None = None) -> list[LabelledPool]:
    """Reads every program, runs its problem's tests and returns the pools in the order of their task ids.

    Args:
      data: the folder that holds `mbpp/` and `mbpp_model_solutions/`.
      seed: seed of the random choice of mutations.
      mutants_each: the largest number of mutants made from each distinct right program.
      workers: the number of programs that run at the same time; None for the sandbox's default.

    Raises:
      UserError: a file is missing or damaged.
    """
    tasks = {}
    for _, record in reject_bad(Folder(data / "mbpp").jsonl("mbpp.jsonl")):
        if task := _task(record):
            tasks[int(record["task_id"])] = task
    # A sampler's text counts once, because its files repeat it. The same text by two samplers is evidence, and stays.
    attempts: dict[tuple[int, str, str], None] = {}
    imports = {number: dict.fromkeys(task.imports) for number, task in tasks.items()}
    for sampler, number, program in _programs(data / "mbpp_model_solutions"):
        if number in tasks and (body := _body(program, tasks[number])):
            attempts[number, sampler, body] = None
            imports[number].update(dict.fromkeys(_IMPORT.findall(program)))
    asked = list(dict.fromkeys((number, body) for number, _, body in attempts))
    # The prompt imports what some program of the problem imports and uses. All programs run behind these imports.
    written: dict[int, list[str]] = {number: [task.signature] for number, task in tasks.items()}
    for number, body in asked:
        written[number].append(body)
    used = {n: [line for line in sorted(lines) if _needed(line, written[n])] for n, lines in imports.items()}
    with Sandbox(workers=workers, packages="none") as sandbox:
        right = dict(zip(asked, _passes(asked, tasks, used, sandbox), strict=True))
        mutated = [
            (number, mutant)
            for (number, body), passed in right.items()
            if passed
            for mutant in _mutant_bodies(body, tasks[number], seed=seed, count=mutants_each)
            if (number, mutant) not in right
        ]
        mutated = list(dict.fromkeys(mutated))
        wrong = dict(zip(mutated, _passes(mutated, tasks, used, sandbox), strict=True))
    pools = []
    for number, task in tasks.items():
        own = [(body, right[n, body], False) for n, _, body in attempts if n == number]
        own += [(body, False, True) for (n, body), passed in wrong.items() if n == number and not passed]
        if len(own) > 1:
            texts, passed, mutant = zip(*own, strict=True)
            header = "".join(f"{line}\n" for line in used[number])
            prompt = f'{header}{task.signature}\n    """\n    {task.text}\n    """\n'
            pools.append(LabelledPool(problem=number, prompt=prompt, texts=texts, right=passed, mutant=mutant))
    return pools


def pools_without_overlap(pools: Sequence[LabelledPool], held_out: NgramIndex) -> list[LabelledPool]:
    """Leaves out the programs that share an n-gram with a held-out text, and pools of which fewer than two programs
    remain."""
    kept = []
    for pool in pools:
        clean = [i for i, text in enumerate(pool.texts) if not held_out.overlaps(pool.prompt + text)]
        if len(clean) > 1:
            texts, right, mutant = zip(*[(pool.texts[i], pool.right[i], pool.mutant[i]) for i in clean], strict=True)
            kept.append(replace(pool, texts=texts, right=right, mutant=mutant))
    return kept


def _task(record: dict[str, Any]) -> _Task | None:
    """Reads a problem of mbpp.jsonl; None if its own program does not define the function that its tests call."""
    tests = tuple(str(test) for test in record["test_list"])
    code = str(record["code"]).replace("\r\n", "\n")
    called = set(re.findall(r"(\w+)\s*\(", " ".join(tests)))
    defined = [node for node in ast.parse(code).body if isinstance(node, ast.FunctionDef) and node.name in called]
    if not defined:
        return None
    function = defined[-1]
    return _Task(
        text=str(record["text"]).strip(),
        entry_point=function.name,
        signature=f"def {function.name}({ast.unparse(function.args)}):",
        imports=tuple(_IMPORT.findall(code)),
        setup=str(record.get("test_setup_code") or ""),
        tests=tests,
    )


def _programs(folder: Path) -> Iterator[tuple[str, int, str]]:
    """Yields (sampler, task id, program text) of every attempt of every model, as released. A repair run starts from
    the attempts of the same model, so both count as one sampler."""
    solutions = Folder(folder)
    for path in solutions.files("llmdebugger_*.jsonl"):
        if path.name == "llmdebugger_mbpp_tests.jsonl":
            continue
        sampler = path.stem.split("_")[-1]
        for _, record in reject_bad(solutions.jsonl(path.name)):
            number = int(record["task_id"].split("/")[1])
            for program in [record.get("solution"), *record.get("implementations", [])]:
                if program:
                    yield sampler, number, program
    for path in solutions.files("agentcoder_*.json"):
        for _, record in reject_bad(solutions.records(path.name)):
            yield path.stem, int(record["task_id"]), record["completion"]
            yield path.stem, int(record["task_id"]), record["full_code"]
    for path in solutions.files("reflexion_*.jsonl"):
        for _, record in reject_bad(solutions.jsonl(path.name)):
            yield path.stem, int(record["name"].split("_")[1]), record["solution"]


def _body(program: str, task: _Task) -> str | None:
    """Returns the function's lines below signature and docstring, with the task's names for its parameters.

    None if the program is not a single function; imports around it are allowed, because they go into the prompt."""
    try:
        tree = ast.parse(program.replace("\r\n", "\n"))
    except (SyntaxError, ValueError):
        return None
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    if len(functions) != 1 or functions[0].name != task.entry_point:
        return None
    function = functions[0]
    ours = ast.parse(task.signature + " pass").body[0]
    assert isinstance(ours, ast.FunctionDef)
    renamed = dict(zip(*([a.arg for a in f.args.args] for f in (function, ours)), strict=False))
    if len(function.args.args) != len(ours.args.args):
        return None
    statements = function.body
    if ast.get_docstring(function) is not None:
        statements = statements[1:]
    if not statements:
        return None
    places = _places(statements, {old: new for old, new in renamed.items() if old != new})
    if places is None:
        return None
    lines = program.replace("\r\n", "\n").encode().split(b"\n")
    if lines[statements[0].lineno - 1][: statements[0].col_offset].strip():  # on the signature's line
        return None
    for row, column, old, new in sorted(places, reverse=True):  # from the end, so that columns before stay
        line = lines[row - 1]
        lines[row - 1] = line[:column] + new.encode() + line[column + len(old.encode()) :]
    return b"\n".join(lines[statements[0].lineno - 1 : function.end_lineno]).decode() + "\n"


def _places(statements: Sequence[ast.stmt], renamed: dict[str, str]) -> list[tuple[int, int, str, str]] | None:
    """Lists where names have to be replaced: line, byte in the line, the old name and the new one.

    None if a new name is in use already, or if the syntax tree does not say where a name is."""
    places = []
    for node in (node for statement in statements for node in ast.walk(statement)):
        match node:
            case ast.Name(id=name) | ast.arg(arg=name):
                if name in renamed:
                    places.append((node.lineno, node.col_offset, name, renamed[name]))
                elif name in renamed.values():
                    return None
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                if renamed.keys() & set(names):
                    return None
            case ast.JoinedStr():  # this version of Python does not say where names in f-strings stand
                if any(isinstance(inner, ast.Name) and inner.id in renamed for inner in ast.walk(node)):
                    return None
    return places


def _mutant_bodies(body: str, task: _Task, *, seed: int, count: int) -> Iterator[str]:
    program = f"{task.signature}\n{body}"
    for mutant in mutants(program, seed=seed, count=count):
        if (mutated := _body(mutant, task)) and mutated != body:
            yield mutated


_IMPORT = re.compile(r"^(?:import|from) [^*\n]+$", re.MULTILINE)


def _needed(line: str, texts: Sequence[str]) -> bool:
    """Tells whether a name that this import line binds occurs in some text."""
    names = re.findall(r"\w+", re.sub(r"^from\s+\S+\s+import|^import|\bas\b", "", line))
    return any(re.search(rf"\b{name}\b", text) for name in names for text in texts)


def _passes(
    asked: list[tuple[int, str]], tasks: dict[int, _Task], imports: dict[int, list[str]], sandbox: Sandbox
) -> list[bool]:
    def order(number: int, body: str) -> Order:
        task = tasks[number]
        header = "\n".join(f"try:\n    {line}\nexcept ImportError:\n    pass" for line in imports[number])
        return Order(
            program=f"{header}\n{task.signature}\n{body}\n{task.setup}\n",
            test="\n".join(task.tests),
            given=f"{header}\n{task.setup}\n",
            entry_point=task.entry_point,
            timeout=1.0,
        )

    return [outcome.passed for outcome in sandbox.run_many(order(number, body) for number, body in asked)]
