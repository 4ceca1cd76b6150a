"""Reads problems of any data set of Python functions: the function, the candidate programs and the tests."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from flame_rank.candidates.code_views import PROGRAM, fenced, is_continuation, parse
from flame_rank.code_evidence.collect import CodeQuestion
from flame_rank.errors import UserError
from flame_rank.humaneval.problems import CodeProblem, completed
from flame_rank.records import Candidate, GroupedRecord, Problem

_DEFINED = re.compile(r"^(?:async[ \t]+)?def[ \t]+(\w+)[ \t]*\(", re.MULTILINE)


def read_question(problem: Problem, tests_field: str = "tests") -> CodeQuestion | None:
    """Reads a problem as a code question; None if its candidates define no function.

    A candidate is a whole program, a fenced program, or the body of the function at the end of the prompt. If the
    prompt is Python, a whole program may use what the prompt imports and defines.

    Args:
      tests_field: the field of the problem's record that holds tests: Python source, or a list of such sources. If a
        source defines `check(candidate)`, that function is called.

    Raises:
      UserError: the field holds something else.
    """
    given = completed(problem.prompt)
    programs = [_program(problem.prompt, given, candidate) for candidate in problem.candidates]
    defined = _DEFINED.findall(problem.prompt)
    if defined:
        function = defined[-1]
    else:
        every = [list(dict.fromkeys(_DEFINED.findall(program))) for program in programs]
        named = [[name for name in names if re.search(rf"\b{name}\s*\(", problem.prompt)] for names in every]
        last = [[name for name in names if name != "main"][-1:] for names in every]
        counts = Counter(name for names in (named if any(named) else last) for name in names)
        if not counts:
            return None
        function = counts.most_common(1)[0][0]
    if not any(isinstance(node, PROGRAM) for p in programs if (tree := parse(p)) is not None for node in tree.body):
        return None
    tests = _tests(problem, tests_field, function)
    return CodeQuestion(function=function, text=problem.prompt, programs=programs, tests=tests, given=given)


def read_humaneval_question(problem: Problem, problems: Mapping[str, CodeProblem]) -> CodeQuestion | None:
    """Reads the samples of a HumanEval problem as programs to be tested; the problem is found by its name.

    The examples come from HumanEval's own prompt, because many published files of samples omit them.
    """
    known = problems[problem.name]
    programs = [known.program(candidate) for candidate in problem.candidates]
    return CodeQuestion(function=known.entry_point, text=known.prompt, programs=programs)


def _program(prompt: str, given: str, candidate: str | Candidate) -> str:
    text = candidate if isinstance(candidate, str) else candidate.text
    inside = fenced(text)
    text = text if inside is None else inside
    if is_continuation(prompt, text):
        return f"{prompt}{text}\n"
    return f"{given}\n{text}\n"


def _tests(problem: Problem, name: str, function: str) -> list[str]:
    fields = _fields(problem)
    if name not in fields:
        return []
    value = msgspec.json.decode(fields[name])
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise UserError(f"{problem.name}: {name!r} holds no tests; it must be Python source or a list of such sources")
    return [f"{text}\ncheck({function})" if re.search(r"^def check\(", text, re.MULTILINE) else text for text in texts]


def _fields(problem: Problem) -> Mapping[str, Any]:
    """Returns the undecoded fields of a problem's record."""
    record = problem.record
    if record is None:
        return {}
    if isinstance(record, GroupedRecord):
        return record.fields
    return msgspec.json.decode(record.lines[0], type=dict[str, msgspec.Raw])
