"""Problems and rankings as a user of the library makes and reads them."""

import pydoc
import re
import subprocess
import sys
import weakref
from typing import Any

import numpy as np
import pytest

import flame_rank
from flame_rank.records import Candidate, Problem, Ranking
from strategies.base import Standing


def ranking(problem: Problem, order: list[int], scores: list[float], decided: bool = True, **more: Any) -> Ranking:
    standing = Standing(
        order=np.array(order),
        scores=np.array(scores),
        p_best=np.ones(len(order)) / len(order),
        decided=decided,
    )
    known: dict[str, Any] = {"comparisons": 6, "strategy": "s", "judge": "j"}
    return Ranking(problem=problem, standing=standing, **known | more)


@pytest.mark.parametrize(
    ("prompt", "candidates", "error", "words"),
    [
        (["p"], ["a"], TypeError, "prompt is a list; it must be a str or a list of chat messages"),
        (None, ["a"], TypeError, "prompt is None"),
        ("p", [], ValueError, "no candidates"),
        ("p", ["a", "b", 3], TypeError, "candidate 2 is an int; it must be a str, a flame_rank.Candidate or"),
        ("p", ["a", None], TypeError, "candidate 1 is None"),
        ("p", "abc", TypeError, "candidates is a str; put the candidates in a list"),
        ("p", {"a": "x", "b": "y"}, TypeError, "candidates is a dict; put the candidates in a list"),
        ("p", Candidate(text="a"), TypeError, "candidates is a Candidate"),
        ("p\ud800", ["a"], ValueError, "prompt holds half of a surrogate pair at character 1"),
        ("p", ["a", Candidate(text="\udfff")], ValueError, "candidate 1 holds half of a surrogate pair"),
    ],
)
def test_what_is_no_problem(prompt: Any, candidates: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=re.escape(words)):
        Problem(prompt=prompt, candidates=candidates)


@pytest.mark.parametrize(
    ("answers", "error", "words"),
    [
        (["4"], ValueError, "it must list an answer, or None, for each candidate"),
        ("45", ValueError, "answers is '45'"),
        (["4", 5], TypeError, "answer 1 is an int; it must be a str, or None"),
        (["4", "\ud800"], ValueError, "answer 1 holds half of a surrogate pair"),
    ],
)
def test_what_are_no_answers(answers: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=re.escape(words)):
        Problem(prompt="p", candidates=["a", "b"], answers=answers)
    assert Problem(prompt="p", candidates=["a", "b"], answers=["4", None]).answers == ["4", None]


def test_a_candidates_text_is_a_str() -> None:
    with pytest.raises(TypeError, match="a candidate's text is an int"):
        Candidate(text=3)  # type: ignore[arg-type]


def test_a_problem_keeps_its_candidates_as_given() -> None:
    given: list[str | Candidate] = ["x", Candidate(text="y", fields={"id": 7}), "x"]
    problem = Problem(prompt="p", candidates=given)
    assert problem.candidates == tuple(given) and problem.candidates[1] is given[1]
    assert problem.texts == ("x", "y", "x") and len(problem) == 3
    given.append("z")
    assert len(problem) == 3


def test_problems_are_themselves_only() -> None:
    one, other = (Problem(prompt="p", candidates=["x"]) for _ in range(2))
    assert one != other and len({one, other}) == 2
    weakref.ref(one)


def test_a_ranking_reads_like_a_list_of_what_was_given() -> None:
    best = Candidate(text="c", fields={"id": 2})
    result = ranking(Problem(prompt="p", candidates=["a", "b", best]), [2, 0, 1], [0, -1, 1])
    assert list(result) == [best, "a", "b"] == result[:] == result.top(9)
    assert result[0] is best is result.best and result[-1] == "b" and len(result) == 3
    assert result[1:] == ["a", "b"] and result.top(2) == [best, "a"] and "b" in result
    assert result.order == [2, 0, 1] and result.scores.tolist() == [0, -1, 1] and result.tied == []
    assert result.p_best.sum() == pytest.approx(1) and (result.comparisons, result.judge) == (6, "j")
    with pytest.raises(IndexError):
        result[3]
    with pytest.raises(ValueError, match="k must be 1 or more"):
        result.top(0)


def test_an_undecided_ranking_has_no_best_but_is_whole() -> None:
    result = ranking(Problem(prompt="p", candidates=["a", "b"]), [1, 0], [0, 0], decided=False)
    assert result.best is None and not result.decided and list(result) == ["b", "a"]
    assert result.tied == [0, 1]
    assert "undecided" in repr(result)


def test_repr_is_short() -> None:
    problem = Problem(prompt="p" * 9999, candidates=["a" * 9999] * 50, name="HumanEval/0")
    shown = repr(ranking(problem, list(range(50)), [0.0] * 50))
    assert shown.startswith("Ranking('HumanEval/0', order [0, 1,") and len(shown) < 120


def test_records_import_no_numpy() -> None:
    code = "import flame_rank.records, flame_rank.io.jsonl, sys; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("candidates", "p_best", "decided", "unsure"),
    [
        (["a", "b"], [0.5, 0.5], True, True),
        (["a", "b"], [0.54, 0.46], True, True),
        (["a", "b"], [0.56, 0.44], True, False),
        (["a", "b"], [0.5, 0.5], False, False),  # undecided is said already
        (["a"], [1.0], True, False),
        (["a", "a"], [0.5, 0.5], True, False),  # one text
        (["a", "b", "a", "c"], [0.3, 0.2, 0.3, 0.2], True, False),  # its copies count together: 0.6 of three texts
        (["a", "b", "c", "d"], [0.31, 0.23, 0.23, 0.23], True, True),
    ],
)
def test_a_pick_that_is_hardly_likelier_is_unsure(
    candidates: list[str], p_best: list[float], decided: bool, unsure: bool
) -> None:
    n = len(candidates)
    standing = Standing(order=np.arange(n), scores=np.zeros(n), p_best=np.array(p_best), decided=decided)
    made = Ranking(
        problem=Problem(prompt="p", candidates=candidates), standing=standing, comparisons=1, strategy="s", judge="j"
    )
    assert made.unsure is unsure


def test_mappings_are_problems_and_candidates() -> None:
    given = {"prompt": "p", "samples": ["a", {"text": "bb", "k": np.int64(3)}, {"completion": "c"}], "task_id": 7}
    made = Problem.of(given)
    assert (made.prompt, made.texts, made.name) == ("p", ("a", "bb", "c"), "7")
    assert made.candidates[1] == Candidate(text="bb", fields={"k": 3}) and Problem.of(made) is made
    for wrong, error, said in (
        ("p", TypeError, 'a problem is a str; it must be a Problem or {"prompt"'),
        ({"prompt": "p"}, ValueError, 'has "prompt" and "candidates"; this one has \'prompt\''),
        ({"prompt": "p", "candidates": [{"x": 1}]}, ValueError, "a candidate has no \"text\"; it has 'x'"),
        ({"prompt": "p", "candidates": [{"text": 1}]}, TypeError, "text is an int"),
        ({"prompt": 3, "candidates": ["a"]}, TypeError, "prompt is an int"),
    ):
        with pytest.raises(error, match=re.escape(said)):
            Problem.of(wrong)  # type: ignore[arg-type]


def test_what_the_package_shows() -> None:
    assert dir(flame_rank) == flame_rank.__all__ == sorted(flame_rank.__all__) == sorted(flame_rank._MODULES)
    assert {"rerank", "Reranker", "Problem", "load_judge", "UserError"} <= set(dir(flame_rank))
    assert all(getattr(flame_rank, name).__doc__ for name in dir(flame_rank))
    text = pydoc.render_doc(flame_rank)
    assert "rerank(" in text and "import_module" not in text and "TYPE_CHECKING" not in text


@pytest.mark.parametrize("package", ["flame_rank", "trainer"])
def test_packages_are_commands(package: str) -> None:
    done = subprocess.run([sys.executable, "-m", package, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: flame-")
