"""What a judge answers, and what is said when it cannot be had."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame_rank import judges
from flame_rank.errors import UserError
from flame_rank.judges.base import Judge, notes
from flame_rank.judges.function import FunctionJudge, from_probabilities
from flame_rank.records import Problem

Pairs = list[tuple[str, str]]


# A function of the user's.

TWO = Problem(prompt="p", candidates=["a", "bbb"])
TWICE = np.array([[0, 1], [1, 0]])


def test_a_function_sees_prompt_and_texts() -> None:
    seen: list[tuple[str, Pairs]] = []

    def f(prompt: str, pairs: Pairs) -> list[float]:
        seen.append((prompt, pairs))
        return [1.5, -2]

    judge = FunctionJudge(f)
    assert isinstance(judge, Judge) and not judge.pointwise and not judge.pool_aware
    [answers] = judge.judge([(TWO, TWICE)])
    assert seen == [("p", [("a", "bbb"), ("bbb", "a")])]
    assert answers.dtype == np.float64 and answers.tolist() == [1.5, -2]
    assert judge.notes(TWO).failures == ()
    assert (judge.name, FunctionJudge(f, name="mine").name) == (f"function:{f.__qualname__}", "mine")


@pytest.mark.parametrize("answer", [[1, 2], (1.0, 2.0), np.array([1, 2]), np.array([1, 2], np.float16), [1, True + 1]])
def test_any_sequence_of_numbers_is_an_answer(answer: Any) -> None:
    [answers] = FunctionJudge(lambda prompt, pairs: answer).judge([(TWO, TWICE)])
    assert answers.tolist() == [1, 2]


def test_nan_and_infinity_are_handed_on() -> None:
    [answers] = FunctionJudge(lambda prompt, pairs: [math.nan, math.inf]).judge([(TWO, TWICE)])
    assert np.isnan(answers[0]) and answers[1] == math.inf


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ([1.0], "ValueError: it returned shape (1,) for 2 pairs"),
        ([[1.0, 2.0]], "ValueError: it returned shape (1, 2) for 2 pairs"),
        (1.0, "ValueError: it returned shape () for 2 pairs"),
        (["A", "B"], "ValueError: could not convert string to float: 'A'"),
        ([[1.0], [1.0, 2.0]], "ValueError: setting an array element with a sequence"),
        (ZeroDivisionError("by the user"), "ZeroDivisionError: by the user"),
    ],
)
def test_what_fails_is_nan_with_its_reason(answer: Any, reason: str) -> None:
    def f(prompt: str, pairs: Pairs) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    judge, other = FunctionJudge(f, name="f"), Problem(prompt="p", candidates=["a", "b"])
    for _ in range(2):  # a reason is given once
        [answers] = judge.judge([(TWO, TWICE)])
        assert np.isnan(answers).all() and answers.shape == (2,)
    [failure] = judge.notes(TWO).failures
    assert failure.startswith(f"f: {reason}") and judge.notes(other).failures == ()


def test_one_problems_failure_is_not_anothers() -> None:
    def f(prompt: str, pairs: Pairs) -> list[float]:
        return [1 / len(prompt)] * len(pairs)

    nothing = Problem(prompt="", candidates=["a", "b"])
    first, failed, last = FunctionJudge(f).judge([(TWO, TWICE), (nothing, TWICE), (TWO, TWICE[:1])])
    assert first.tolist() == [1, 1] and np.isnan(failed).all() and last.tolist() == [1]


def test_ctrl_c_is_no_failure() -> None:
    def f(prompt: str, pairs: Pairs) -> list[float]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        FunctionJudge(f).judge([(TWO, TWICE)])


# Probabilities.


def log_odds_of(*probabilities: float) -> Sequence[float]:
    judge: Any = from_probabilities(lambda prompt, pairs: list(probabilities))
    return list(judge("p", []))


@given(p=st.floats(1e-12, 1 - 1e-12))
def test_probabilities_become_log_odds(p: float) -> None:
    [log_odds] = log_odds_of(p)
    assert 1 / (1 + math.exp(-log_odds)) == pytest.approx(p, rel=1e-9)


def test_the_ends_of_probability() -> None:
    zero, half, one, below, above, nan = log_odds_of(0, 0.5, 1, -0.1, 1.1, math.nan)
    assert half == 0 and zero == -one and 36 < one < 38
    assert all(map(math.isnan, [below, above, nan]))
    assert log_odds_of(1e-300)[0] == zero


def test_a_function_of_probabilities_keeps_its_name() -> None:
    def likelier(prompt: str, pairs: Pairs) -> list[float]:
        return [0.9 for _ in pairs]

    judge = FunctionJudge(from_probabilities(likelier))
    assert judge.name.endswith("likelier")
    assert judge.judge([(TWO, TWICE)])[0] == pytest.approx([math.log(9)] * 2)


# Judges by name.


def test_loads_a_function(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "judge_of_this_folder.py").write_text("def f(prompt, pairs): return [2.0] * len(pairs)\n")
    monkeypatch.chdir(tmp_path)
    judge = judges.load("judge_of_this_folder:f")
    assert judge.name == "judge_of_this_folder:f"
    assert judge.judge([(TWO, TWICE)])[0].tolist() == [2, 2]


def test_loads_a_function_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "of file.py").write_text(
        "from __future__ import annotations\nimport dataclasses, beside_it\n"
        "@dataclasses.dataclass\nclass Weight:\n    x: float\n"
        "def f(prompt, pairs): return [Weight(beside_it.x).x] * len(pairs)\n"
    )
    (tmp_path / "beside_it.py").write_text("x = 3.0\n")
    judge = judges.load(f"{tmp_path / 'of file.py'}:f")
    assert judge.judge([(TWO, TWICE)])[0].tolist() == [3, 3] and judge.name.endswith("of file.py:f")
    with pytest.raises(UserError, match=r"none\.py: there is no such file"):
        judges.load(f"{tmp_path / 'none.py'}:f")


@pytest.mark.parametrize("spec", ["{}/late_judge.py:f", "{}/late_judge.py:g", "late_judge:f", "late_judge:g"])
def test_a_judge_imports_what_is_beside_it_when_it_is_called(
    spec: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "late_judge.py").write_text(
        "def f(prompt, pairs):\n    import late_help, colorsys\n"
        "    return [late_help.x * colorsys.ONE_THIRD] * len(pairs)\n"
        "async def g(prompt, pairs):\n    import asyncio\n    await asyncio.sleep(0)\n    return f(prompt, pairs)\n"
    )
    (tmp_path / "late_help.py").write_text("x = 3.0\n")
    (tmp_path / "colorsys.py").write_text("raise RuntimeError('the wrong one')\n")
    monkeypatch.chdir(tmp_path)
    for name in ("late_judge", "late_help", "colorsys"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    before = [*sys.path]
    judge = judges.load(spec.format(tmp_path))
    monkeypatch.chdir("/")
    assert sys.path == before
    [answers] = judge.judge([(TWO, TWICE)])
    assert answers.tolist() == [1, 1], notes(judge, TWO)
    assert sys.path == before  # what the caller's own program imports is not looked for there


def test_the_current_directory_hides_no_module_of_pythons(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "this_judge.py").write_text(
        "import colorsys\ndef f(prompt, pairs): return [0.0 * colorsys.ONE_THIRD] * len(pairs)\n"
    )
    (tmp_path / "colorsys.py").write_text("raise RuntimeError('the wrong one')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    assert judges.load("this_judge:f").judge([(TWO, TWICE)])[0].tolist() == [0, 0]


def test_a_folder_does_not_hide_what_ships(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("agreement", "empty"):
        (tmp_path / name).mkdir()
    assert judges.load("agreement").name.endswith(":agreement")
    with pytest.raises(UserError, match=r"the judge in empty: neither config.json \(Hugging Face\) nor judge.json is"):
        judges.load("empty")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nothing", "a directory of weights, a .gguf file, hf:ORG/NAME, openai:MODEL@URL"),
        ("functions:", "a directory of weights, a .gguf file, hf:ORG/NAME, openai:MODEL@URL"),
        (":shorter", "a directory of weights, a .gguf file, hf:ORG/NAME, openai:MODEL@URL"),
        ("no_such_module:f", "No module named 'no_such_module'"),
        ("functions:no_such_function", "has no attribute 'no_such_function'"),
        ("functions:constant", "it is a float, not a function"),
        (".functions:shorter", "relative import"),
        ("broken_judge:f", "SyntaxError"),
        ("failing_judge:f", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_judge_that_is_none(spec: str, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "broken_judge.py").write_text("def f(:\n")
    (tmp_path / "failing_judge.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError) as caught:
        judges.load(spec)
    assert str(caught.value).startswith(f"--judge {spec}: ") and message in str(caught.value)
    assert "\n" not in str(caught.value)
