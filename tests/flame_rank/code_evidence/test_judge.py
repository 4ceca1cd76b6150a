"""Evidence for code: what programs show when they are run, and the judge behind it."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from flame_rank.cli.humaneval import humaneval
from flame_rank.cli.rerank import rerank
from flame_rank.code_evidence.collect import PARTS, CodeEvidence, CodeQuestion, collect
from flame_rank.code_evidence.judge import EvidenceJudge
from flame_rank.code_evidence.questions import read_question
from flame_rank.errors import UserError
from flame_rank.judges import load
from flame_rank.judges.function import FunctionJudge
from flame_rank.ranking.reranker import Reranker
from flame_rank.records import Candidate, Problem
from flame_rank.sandbox.pool import Order, Sandbox

PROMPT = 'def add(a, b):\n    """Adds.\n    >>> add(1, 2)\n    3\n    >>> add(0, 0)\n    0\n    """\n'
RIGHT, TIMES, MINUS, BROKEN, LOOP = (
    f"    {body}\n" for body in ("return a + b", "return a * b", "return a - b", "return (a", "while True: pass")
)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=2) as made:
        yield made


def look(sandbox: Sandbox, bodies: list[str], tests: list[str] | None = None) -> CodeEvidence:
    programs = [PROMPT + body for body in bodies]
    question = CodeQuestion(function="add", text=PROMPT, programs=programs, tests=tests or [])
    return next(collect([question], PARTS, sandbox))


def test_each_part(sandbox: Sandbox) -> None:
    tests = ["assert add(2, 2) == 4", "assert add(5, 5) == 10"]
    bodies = [RIGHT, TIMES, MINUS, BROKEN, LOOP, RIGHT]
    values = look(sandbox, bodies, tests).values
    assert values["parse"].tolist() == [1, 1, 1, 0, 1, 1]
    assert values["examples"].tolist() == [1, 0.5, 0.5, 0, 0, 1]
    assert values["tests"].tolist() == [1, 0.5, 0, 0, 0, 1]
    agreement = values["agreement"]
    assert agreement[0] == agreement[5] == agreement.max() and agreement[3] == agreement[4] == 0
    assert np.all((agreement >= 0) & (agreement <= 1))


def test_a_part_without_anything_to_go_by_is_not_there(sandbox: Sandbox) -> None:
    question = CodeQuestion(function="f", text="def f(x):\n", programs=["def f(x): return x"])
    assert next(collect([question], ("examples", "tests"), sandbox)).values == {}


def test_equal_results_of_other_types(sandbox: Sandbox) -> None:
    prompt = "def half(x):\n    '''half(4) == 2'''\n"
    programs = [f"def half(x): return {body}" for body in ("x / 2", "x // 2", "(x // 2,)", "'2'")]
    question = CodeQuestion(function="half", text=prompt, programs=programs)
    assert next(collect([question], ("examples",), sandbox)).values["examples"].tolist() == [1, 1, 0, 0]


def test_many_problems_keep_their_order(sandbox: Sandbox) -> None:
    questions = [
        CodeQuestion(function="f", text=f"f(1) == {k}", programs=[f"def f(x): return {j}" for j in range(3)])
        for k in [0, 1, 2] * 7
    ]
    best = [int(e.values["examples"].argmax()) for e in collect(questions, ("examples",), sandbox)]
    assert best == [0, 1, 2] * 7


def test_a_pairwise_judge_is_asked_about_what_is_open(sandbox: Sandbox) -> None:
    asked: list[tuple[str, str]] = []

    def longer(prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
        asked.extend(pairs)
        return [float(len(a) - len(b)) for a, b in pairs]

    other = "    return sum([a, b])\n"
    judge = EvidenceJudge(FunctionJudge(longer, name="longer"), ("examples",), sandbox)
    ranking = Reranker(judge, "round-robin").rank(PROMPT, [TIMES, RIGHT, other, MINUS])
    assert ranking.order[:2] == [2, 1]
    assert {frozenset(pair) for pair in asked} == {frozenset((RIGHT, other)), frozenset((TIMES, MINUS))}
    assert judge.name == "longer behind examples"


def test_a_pointwise_judge_decides_among_equals(sandbox: Sandbox) -> None:
    judge = EvidenceJudge(load("agreement"), ("parse", "examples"), sandbox)
    assert Reranker(judge).rank(PROMPT, [MINUS, MINUS, MINUS, RIGHT]).order[0] == 3
    prose = Problem(prompt="Say hello.", candidates=["Hello!", "Hello", "Hello, hello"])
    assert Reranker(judge).rank(prose).order == Reranker(load("agreement")).rank(prose).order


def test_questions_of_any_data_set() -> None:
    fenced = f"Sure!\n```python\n{PROMPT}{RIGHT}```\nDone."
    question = read_question(Problem(prompt="Add two numbers.", candidates=[fenced, "I cannot."]))
    assert question is not None and question.function == "add"
    assert question.programs[0].strip() == f"{PROMPT}{RIGHT}".strip()
    given = "import math\ndef root(x):\n    '''Takes the root.'''\n"
    whole = Candidate(text="def root(x):\n    return math.sqrt(x)\n", key="solution")
    question = read_question(Problem(prompt=given, candidates=[whole, "    return math.sqrt(x)"]))
    assert question is not None and all("import math" in program for program in question.programs)
    assert read_question(Problem(prompt="Say hello.", candidates=["Hello!"])) is None


def test_rerank_with_evidence(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    fields = {"task_id": "a", "prompt": PROMPT, "candidates": [TIMES, TIMES, RIGHT, BROKEN]}
    path.write_text(json.dumps(fields | {"unit": ["assert add(2, 3) == 5"]}) + "\n")
    for evidence in ("examples", "tests", "parse,examples,agreement,tests"):
        line = [str(path), "--judge", "agreement", "--evidence", evidence, "--tests", "unit", "--workers", "1"]
        done = CliRunner().invoke(rerank, line, catch_exceptions=False, standalone_mode=False)
        assert json.loads(done.stdout)["best"] == 2
    path.write_text(json.dumps(fields | {"tests": 3}) + "\n")
    with pytest.raises(UserError, match="'tests' holds no tests"):
        line = [str(path), "--judge", "agreement", "--evidence", "tests"]
        CliRunner().invoke(rerank, line, catch_exceptions=False, standalone_mode=False)
    with pytest.raises(UserError, match="--evidence luck: it must be a list of parse, examples, agreement, tests"):
        CliRunner().invoke(rerank, [str(path), "--evidence", "luck"], catch_exceptions=False, standalone_mode=False)


def test_a_ledger_holds_the_judge_and_no_evidence(tmp_path: Path) -> None:
    path, judge = tmp_path / "f.jsonl", tmp_path / "own.py"
    judge.write_text("def longer(prompt, pairs):\n    return [float(len(a) - len(b)) for a, b in pairs]\n")
    fields = {"task_id": "a", "prompt": "def add(a, b):\n", "candidates": [TIMES, RIGHT, RIGHT + "\n"]}
    line = [
        str(path),
        "--judge",
        f"{judge}:longer",
        "--evidence",
        "tests",
        "--ledger",
        str(tmp_path / "l"),
        "--workers=1",
    ]
    said = [*line, "--json-summary", str(tmp_path / "counts.json")]
    for test, best, known in (("add(2, 3) == 6", 0, 0), ("add(2, 3) == 5", 2, 2)):  # the first test was wrong
        path.write_text(json.dumps(fields | {"tests": [f"assert {test}"]}) + "\n")
        done = CliRunner().invoke(rerank, said, catch_exceptions=False, standalone_mode=False)
        assert json.loads(done.stdout)["best"] == best
        assert json.loads((tmp_path / "counts.json").read_text())["from_ledger"] == known


def test_humaneval_with_evidence(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    wrong, right = "    return x - y\n", "    return x + y\n"
    samples = [wrong, wrong, wrong, right]
    path.write_text(json.dumps({"task_id": "HumanEval/53", "prompt": "def add(x, y):\n", "samples": samples}) + "\n")
    out = tmp_path / "out.json"
    for options, share in (([], 0.0), (["--evidence", "examples"], 1.0)):
        line = [str(path), "--judge", "agreement", "--samples", "4", "--json", str(out), *options]
        CliRunner().invoke(humaneval, line, catch_exceptions=False, standalone_mode=False)
        assert json.loads(out.read_text())[0]["judge"] == share
    with pytest.raises(UserError, match="HumanEval's tests are what is measured here"):
        CliRunner().invoke(humaneval, [str(path), "--evidence", "tests"], catch_exceptions=False, standalone_mode=False)


def test_the_function_that_the_prompt_names_is_run() -> None:
    wrong = "def inc(x):\n    return x\n\ndef main():\n    print(inc(1))\n"
    right = "def inc(x):\n    return x + 1\n"
    asked = Problem(
        prompt="Write a Python function inc(x). Example: inc(1) == 2", candidates=[wrong, wrong + "\n", right]
    )
    question = read_question(asked)
    assert question is not None and question.function == "inc"


def test_a_forged_value_is_a_failed_call_of_its_program(sandbox: Sandbox) -> None:
    codec = "sys._getframe(1).f_locals['codec']"
    forge = f"    import sys\n    {codec}.encode = lambda v: {{'opaque': ['x', {{}}]}}\n    return 3\n"
    values = look(sandbox, [forge, RIGHT, RIGHT + "\n"]).values
    assert values["agreement"][1] == values["agreement"].max() > 0


def test_a_stop_does_not_pass_tests(sandbox: Sandbox) -> None:
    stops = "def f(x):\n    raise StopIteration\n"
    for test in (
        "assert all(map(lambda p: f(p[0]) == p[1], [(1, 2), (3, 4)]))",
        "for got, want in zip(map(f, [1, 3]), [2, 4]): assert got == want",
    ):
        assert not sandbox.run(Order(program=stops, test=test, entry_point="f")).passed
