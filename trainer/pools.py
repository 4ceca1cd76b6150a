"""Pools of MBPP programs by several models, each labelled by running its problem's tests: where a judge learns which
of many samples are right. Read from the released files of LLMDebugger, AgentCoder and Reflexion (permissive; the
WizardCoder files beside them are not, and are left out).
"""

import ast
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from flame_rank.humaneval.sandbox import run_many
from trainer.comparisons import files, read_json, read_lines
from trainer.mutants import mutants


@dataclass(frozen=True, kw_only=True)
class Pool:
    """One problem with many candidates.

    Attributes:
      problem: the MBPP task id.
      prompt: signature and docstring, as a model sees it.
      texts: the candidates: function bodies that continue the prompt; repeated where samplers agree.
      right: for each, whether it passes the problem's tests.
      mutant: for each, whether it was made by damaging a program that passes.
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
    setup: str
    tests: tuple[str, ...]


def read_pools(data: Path, *, seed: int = 0, mutants_each: int = 2, workers: int | None = None) -> list[Pool]:
    """Reads every program, runs its problem's tests and returns the pools in order of task id.

    Args:
      data: the folder that holds `mbpp/` and `mbpp_model_solutions/`.
      seed: chooses the damage done to programs.
      mutants_each: mutants made of each distinct right program, at most.
      workers: programs run side by side; the number of cores by default.

    Raises:
      FileNotFoundError: a file is missing.
      UserError: a file is not whole.
    """
    workers = workers or os.cpu_count() or 1
    tasks = {}
    for record in read_lines(data / "mbpp" / "mbpp.jsonl"):
        if task := _task(record):
            tasks[int(record["task_id"])] = task
    # A sampler's text counts once: its files repeat it. The same text of two samplers is evidence, and stays.
    attempts: dict[tuple[int, str, str], None] = {}
    imports: dict[int, dict[str, None]] = {number: {} for number in tasks}
    for sampler, number, program in _programs(data / "mbpp_model_solutions"):
        if number in tasks and (body := _body(program, tasks[number])):
            attempts[number, sampler, body] = None
            imports[number].update(dict.fromkeys(_IMPORT.findall(program)))
    asked = list(dict.fromkeys((number, body) for number, _, body in attempts))
    right = dict(zip(asked, _passes(asked, tasks, workers), strict=True))
    damaged = [
        (number, mutant)
        for (number, body), passed in right.items()
        if passed
        for mutant in _mutant_bodies(body, tasks[number], seed=seed, count=mutants_each)
        if (number, mutant) not in right
    ]
    damaged = list(dict.fromkeys(damaged))
    wrong = dict(zip(damaged, _passes(damaged, tasks, workers), strict=True))
    pools = []
    for number, task in tasks.items():
        own = [(body, right[n, body], False) for n, _, body in attempts if n == number]
        own += [(body, False, True) for (n, body), passed in wrong.items() if n == number and not passed]
        if len(own) > 1:
            texts, passed, mutant = zip(*own, strict=True)
            used = "".join(f"{line}\n" for line in sorted(imports[number]) if _needed(line, texts))
            prompt = f'{used}{task.signature}\n    """\n    {task.text}\n    """\n'
            pools.append(Pool(problem=number, prompt=prompt, texts=texts, right=passed, mutant=mutant))
    return pools


def _task(record: dict[str, object]) -> _Task | None:
    """A problem of mbpp.jsonl, or None where its own program does not define the function that its tests call."""
    tests = tuple(str(test) for test in record["test_list"])  # type: ignore[attr-defined]
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
        setup=str(record.get("test_setup_code") or ""),
        tests=tests,
    )


def _programs(folder: Path) -> Iterator[tuple[str, int, str]]:
    """(sampler, task id, program text) of every model's every attempt, as released. A repair run starts from the
    seed of the same model, so both count as one sampler."""
    for path in files(folder, "llmdebugger_*.jsonl"):
        if path.name == "llmdebugger_mbpp_tests.jsonl":
            continue
        sampler = path.stem.split("_")[-1]
        for record in read_lines(path):
            number = int(record["task_id"].split("/")[1])
            for program in [record.get("solution"), *record.get("implementations", [])]:
                if program:
                    yield sampler, number, program
    for path in files(folder, "agentcoder_*.json"):
        for record in read_json(path):
            yield path.stem, int(record["task_id"]), record["completion"]
            yield path.stem, int(record["task_id"]), record["full_code"]
    for path in files(folder, "reflexion_*.jsonl"):
        for record in read_lines(path):
            yield path.stem, int(record["name"].split("_")[1]), record["solution"]


def _body(program: str, task: _Task) -> str | None:
    """The function's lines below signature and docstring, its parameters called as the task calls them, when the
    program is one function (with imports around it, which go into the prompt); None otherwise."""
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
    lines = program.replace("\r\n", "\n").split("\n")
    if statements[0].lineno == function.lineno:  # all on one line
        return None
    body = "\n".join(lines[statements[0].lineno - 1 : function.end_lineno])
    if any(old != new for old, new in renamed.items()):
        for old, new in renamed.items():  # two steps, so that swapped names do not meet
            body = re.sub(rf"(?<![\w.]){re.escape(old)}\b(?!\s*=[^=])", f"\0{new}\0", body)
        body = body.replace("\0", "")
    return body + "\n"


def _mutant_bodies(body: str, task: _Task, *, seed: int, count: int) -> Iterator[str]:
    program = f"{task.signature}\n{body}"
    for mutant in mutants(program, seed=seed, count=count):
        if (damaged := _body(mutant, task)) and damaged != body:
            yield damaged


_IMPORT = re.compile(r"^(?:import|from) [^*\n]+$", re.MULTILINE)


def _needed(line: str, texts: Sequence[str]) -> bool:
    """Whether a name that this import line binds occurs in some text."""
    names = re.findall(r"\w+", re.sub(r"^from\s+\S+\s+import|^import|\bas\b", "", line))
    return any(re.search(rf"\b{name}\b", text) for name in names for text in texts)


_IMPORTS = (
    "import math, re, itertools, collections, heapq, sys, cmath, string, functools, operator, bisect\n"
    + "".join(
        f"from {module} import *\n" for module in ("typing", "math", "collections", "itertools", "heapq", "functools")
    )
)


def _passes(asked: list[tuple[int, str]], tasks: dict[int, _Task], workers: int) -> list[bool]:
    programs = (
        "\n".join([_IMPORTS, f"{tasks[number].signature}\n{body}", tasks[number].setup, *tasks[number].tests])
        for number, body in asked
    )
    return [outcome.passed for outcome in run_many(programs, workers=workers, timeout=1.0)]
