"""Runs the candidates of code problems and collects the evidence for each. No model is asked.

Agreement on inputs is MBR-Exec's (Shi et al., 2022). The inputs are made from the examples and the signature, while in
CodeT a model writes them (Chen et al., 2022).
"""

import ast
import math
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from flame_rank.code_evidence.examples import read_examples
from flame_rank.code_evidence.inputs import make_inputs, read_signature
from flame_rank.sandbox.pool import Order, Outcome, Sandbox
from flame_rank.sandbox.values import Codec, canonical
from strategies.base import FloatArray

Part: TypeAlias = Literal["parse", "examples", "agreement", "tests"]
PARTS: tuple[Part, ...] = get_args(Part)

_TOGETHER = 16  # problems that are run together, so that the sandbox is never idle


@dataclass(frozen=True, kw_only=True)
class CodeQuestion:
    """The candidates of one code problem as programs.

    Attributes:
      function: the name of the function that the candidates define.
      text: the prompt, which has the signature and may have examples.
      programs: [n] the Python source of each candidate.
      tests: the Python source of each test that the user gives; a test calls the function by its name.
      given: Python source that is run before the tests and defines their globals.
    """

    function: str
    text: str
    programs: Sequence[str]
    tests: Sequence[str] = ()
    given: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class CodeEvidence:
    """The evidence for the candidates of a problem.

    Attributes:
      values: for each part an array [n] from 0 to 1. "parse": 1 for Python. "examples": the share of the examples that
        a program passes. "agreement": the share of the pool that gives the same result, averaged over the inputs.
        "tests": the share of the tests that it passes. A part is missing if it has no data (no examples, no tests).
      examples: the number of examples.
    """

    values: dict[Part, FloatArray] = field(default_factory=dict)
    examples: int = 0


def collect(
    questions: Iterable[CodeQuestion], parts: Sequence[Part], sandbox: Sandbox, *, timeout: float = 1.0
) -> Iterator[CodeEvidence]:
    """Yields the evidence of each problem, in order. Equal programs are run once.

    Args:
      parts: the kinds of evidence to collect.
      timeout: seconds of processor time for all calls of one program, and for one test.
    """
    questions = iter(questions)
    while batch := list(islice(questions, _TOGETHER)):
        plans = [_Plan.of(question, parts, timeout) for question in batch]
        outcomes = sandbox.run_many(order for plan in plans for order in plan.orders)
        for plan in plans:
            yield plan.read(list(islice(outcomes, len(plan.orders))))


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """The runs that one problem needs: first the calls of each distinct program, then the tests of each."""

    question: CodeQuestion
    parts: Sequence[Part]
    distinct: list[str]
    sound: list[str]
    expected: list[str]
    inputs: list[tuple[Any, ...]]
    orders: list[Order]

    @classmethod
    def of(cls, question: CodeQuestion, parts: Sequence[Part], timeout: float) -> "_Plan":
        distinct = list(dict.fromkeys(question.programs))
        sound = [program for program in distinct if _parses(program)]
        examples = read_examples(question.text, question.function) if {"examples", "agreement"} & {*parts} else []
        inputs = [example.arguments for example in examples]
        if "agreement" in parts:
            signatures = (read_signature(text, question.function) for text in (question.text, *sound))
            inputs = make_inputs(examples, next((s for s in signatures if s is not None), []))
        encode = Codec(lambda *_: None, {}).encode
        orders = [
            Order(program=program, entry_point=question.function, calls=inputs, timeout=timeout)
            for program in sound
            if inputs
        ]
        if "tests" in parts:
            orders += [
                Order(
                    program=program,
                    test=test,
                    given=question.given,
                    entry_point=question.function,
                    timeout=timeout,
                )
                for program in sound
                for test in question.tests
            ]
        expected = [_result(encode(example.expected)) for example in examples]
        return cls(
            question=question,
            parts=parts,
            distinct=distinct,
            sound=sound,
            expected=expected,
            inputs=inputs,
            orders=orders,
        )

    def read(self, outcomes: list[Outcome]) -> CodeEvidence:
        """Computes the evidence from the results of these runs."""
        place = {program: k for k, program in enumerate(self.sound)}
        member = [place.get(program, -1) for program in self.question.programs]
        values: dict[Part, FloatArray] = {}
        if "parse" in self.parts:
            values["parse"] = np.array([float(k >= 0) for k in member])
        results = [
            _results(outcome, len(self.inputs)) for outcome in (outcomes[: len(self.sound)] if self.inputs else [])
        ]
        if "examples" in self.parts and self.expected:
            values["examples"] = _spread(member, [_share(row, self.expected) for row in results])
        if "agreement" in self.parts and self.inputs:
            values["agreement"] = _agreement(member, results, len(self.inputs))
        if "tests" in self.parts and self.question.tests:
            of_tests = outcomes[len(results) :]
            count = len(self.question.tests)
            rows = [of_tests[k * count : (k + 1) * count] for k in range(len(self.sound))]
            values["tests"] = _spread(member, [sum(o.passed for o in row) / count for row in rows])
        return CodeEvidence(values=values, examples=len(self.expected))


def _parses(program: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(program, "<candidate>", "exec", ast.PyCF_ONLY_AST)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _results(outcome: Outcome, count: int) -> list[str | None]:
    """Returns the result of each call as one text; None for one that failed or was not reached."""
    results = [_safe_result(value["value"]) if "value" in value else None for value in outcome.values]
    return [*results, *[None] * (count - len(results))]


def _safe_result(data: Any) -> str | None:
    """Returns `_result` of a value that a program sent; None if it is nested too deeply, or is none of the forms in
    which the worker writes values."""
    try:
        return _result(data)
    except (RecursionError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _result(data: Any) -> str:
    """Writes a result as a text that is the same for equal results; numbers are equal up to nine digits, whatever their
    type."""
    return canonical(_level(data))


def _level(data: Any) -> Any:
    if isinstance(data, list):
        return [_level(item) for item in data]
    if isinstance(data, dict):
        return {tag: _level(content) for tag, content in data.items()}
    if isinstance(data, bool):
        return int(data)
    if isinstance(data, float) and math.isfinite(data):
        return int(data) if data.is_integer() and abs(data) < 1e15 else float(f"{data:.9g}")
    return data


def _share(row: Sequence[str | None], expected: Sequence[str]) -> float:
    return sum(result == wanted for result, wanted in zip(row, expected, strict=False)) / len(expected)


def _spread(member: Sequence[int], of_sound: Sequence[float]) -> FloatArray:
    """Returns [n] values from those of the distinct programs that parse; 0 for the others."""
    return np.array([of_sound[k] if k >= 0 else 0.0 for k in member])


def _agreement(member: Sequence[int], results: Sequence[Sequence[str | None]], count: int) -> FloatArray:
    """Computes [n] the share of the pool with the same result, averaged over the inputs; a failed call agrees with
    none."""
    votes = np.bincount([k for k in member if k >= 0], minlength=len(results)).astype(np.float64)
    total = np.zeros(len(results))
    for column in range(count):
        of_result: Counter[str] = Counter()
        for k, row in enumerate(results):
            if (result := row[column]) is not None:
                of_result[result] += int(votes[k])
        total += [of_result[result] if (result := row[column]) is not None else 0 for row in results]
    return _spread(member, list(total / (count * len(member))))
