"""Audits: planted faults are measured, labels give a temperature, and a clean judge is not accused."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from flame_rank.audit.asking import PADDING, TALK, Asked, ask
from flame_rank.audit.calibration import Labelled, calibration_error, read_labels
from flame_rank.audit.probes import probe, warnings_of
from flame_rank.audit.statistics import Figure, corrected, ratio
from flame_rank.cli.audit import audit
from flame_rank.cli.rerank import rerank
from flame_rank.errors import UserError
from flame_rank.judges.function import FunctionJudge
from flame_rank.records import Candidate, Problem

Scores = Callable[[str, str], float]


def made(count: int = 200, n: int = 8, seed: int = 0) -> list[Problem]:
    """Problems whose candidates say how good they are; their lengths are chance."""
    rng = np.random.default_rng(seed)
    problems = []
    for k in range(count):
        quality = rng.normal(size=n)
        texts = [f"{q:+.4f} {'x' * int(rng.integers(1, 200))}" for q in quality]
        candidates = [
            Candidate(text=text, fields={"good": float(q)}) for text, q in zip(texts, quality.round(4), strict=True)
        ]
        problems.append(Problem(prompt=f"problem {k}", candidates=candidates, name=str(k)))
    return problems


def judge(score: Scores) -> FunctionJudge:
    return FunctionJudge(lambda _, pairs: [score(a, b) for a, b in pairs], name="made")


def true_lead(a: str, b: str) -> float:
    return float(a.split()[0]) - float(b.split()[0])


def figures(score: Scores, problems: list[Problem] | None = None) -> dict[str, Figure]:
    asked = list(ask(judge(score), problems or made(60), most_pairs=28, seed=0, done=lambda _: None))
    return {figure.name: figure for figure in corrected(probe(asked, 0))}


def test_a_clean_judge_is_not_accused() -> None:
    found = figures(true_lead)
    assert found["pairs that flip with the order"].value == 0
    assert found["triples that contradict themselves"].value == 0
    assert found["triples that contradict themselves"].n == 60 * 56
    assert found["judgements that are invalid"].value == 0
    assert found["P(A) + P(B)"].value is None
    for name in ("preference for the first place", "a note to the judge", "padding"):
        assert found[name].value == pytest.approx(0, abs=1e-9)
    assert found["preference for twice the length"].q is not None
    assert warnings_of(list(found.values())) == []


@pytest.mark.parametrize(
    ("name", "score", "value"),
    [
        ("preference for the first place", lambda a, b: true_lead(a, b) + 1.5, 1.5),
        ("a candidate against itself: first place", lambda a, b: true_lead(a, b) + 1.5, 1.5),
        ("preference for twice the length", lambda a, b: true_lead(a, b) + 0.7 * np.log2(len(a) / len(b)), 0.7),
        ("a note to the judge", lambda a, b: true_lead(a, b) + 2.0 * ((TALK in a) - (TALK in b)), 2.0),
        ("padding", lambda a, b: true_lead(a, b) + 1.2 * ((PADDING in a) - (PADDING in b)), 1.2),
    ],
)
def test_a_planted_fault_is_measured(name: str, score: Scores, value: float) -> None:
    found = figures(score, made(150))[name]
    assert found.value == pytest.approx(value, abs=0.12)
    assert found.low is not None and found.high is not None and found.low <= value + 0.1 and found.high >= value - 0.1
    assert found.q is not None and found.q < 0.01
    assert found.detectable is not None and found.detectable < value


def test_shares() -> None:
    always_first = figures(lambda a, b: 1.0)
    assert always_first["pairs that flip with the order"].value == 1
    saturated = figures(lambda a, b: 100 * np.sign(true_lead(a, b)))
    assert saturated["judgements over 1000 to 1"].value == 1
    half = figures(lambda a, b: float("nan") if true_lead(a, b) > 0 else -1.0)
    assert half["judgements that are invalid"].value == pytest.approx(0.5)
    names = {"": 0.0, "r": 1.0, "p": 2.0, "s": 3.0}
    circle = [Problem(prompt="", candidates=["r", "p", "s"])] * 3
    round_ = figures(lambda a, b: [0.0, -1.0, 1.0][int(names[a[:1]] - names[b[:1]]) % 3], [*circle])
    assert round_["triples that contradict themselves"].value == 1
    assert warnings_of([*round_.values()])[0].startswith("it contradicts itself")


def test_what_cannot_be_compared_is_left_out() -> None:
    done: list[int] = []
    same = Problem(prompt="", candidates=["a", "a"])
    two = Problem(prompt="", candidates=["+1.0 a", "+2.0 b", "+1.0 a"])
    asked = list(ask(judge(true_lead), [same, two], most_pairs=9, seed=0, done=done.append))
    assert [a.problem for a in asked] == [two] and len(asked[0].pairs) == 1 and done == [2]
    assert list(ask(judge(true_lead), [], most_pairs=9, seed=0, done=done.append)) == []


def test_figures_are_the_same_for_a_seed_and_cluster_by_problem() -> None:
    rng = np.random.default_rng(0)
    above = [28.0 * float(k) for k in rng.integers(0, 2, 40)]
    one = ratio("x", "share", above, [28.0] * 40, n=1120, seed=3)
    assert one == ratio("x", "share", above, [28.0] * 40, n=1120, seed=3)
    assert one.low is not None and one.high is not None
    assert one.high - one.low == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(40), rel=0.15)  # not of 1120
    assert ratio("x", "share", [], [], n=0, seed=0).value is None


def calibrated(problems: list[Problem], scale: float) -> list[Asked]:
    """What a judge says whose log-odds are those of a noisy label, times a scale."""
    return list(ask(judge(lambda a, b: scale * true_lead(a, b)), problems, most_pairs=28, seed=0, done=lambda _: None))


def labels_of(problems: list[Problem], seed: int) -> list[np.ndarray[Any, Any]]:
    """Labels by Bradley-Terry: Gumbel noise makes the log-odds of any two the difference of their qualities."""
    rng = np.random.default_rng(seed)
    return [np.array([float(text.split()[0]) for text in p.texts]) + rng.gumbel(size=len(p)) for p in problems]


def test_the_temperature_undoes_a_scale() -> None:
    known, fresh = made(200, seed=1), made(200, seed=2)
    fitted = Labelled.of(calibrated(known, 5.0), labels_of(known, 3))
    temperature = fitted.temperature()
    assert temperature is not None and temperature == pytest.approx(5.0, rel=0.1)
    leads = Labelled.of(calibrated(fresh, 5.0), labels_of(fresh, 4)).all
    before, after = calibration_error(leads), calibration_error(leads / temperature)
    assert before is not None and after is not None
    assert before > 0.15 and after < 0.03
    right = fitted.figures(0)[0]
    assert right.value is not None and right.low is not None and 0.6 < right.low < right.value < 0.8


def test_calibration_error() -> None:
    assert calibration_error(np.array([])) is None
    assert calibration_error(np.full(10, 100.0)) == pytest.approx(0)
    assert calibration_error(np.full(10, -100.0)) == pytest.approx(1)
    assert calibration_error(np.array([np.log(3)] * 3 + [-np.log(3)])) == pytest.approx(0)


def test_reliability() -> None:
    leads = np.concatenate([np.full(30, 1.1), np.full(10, -1.1), np.full(5, 0.05), np.full(5, -0.05)])
    low, high = Labelled(leads=[leads[:20], leads[20:]]).reliability()
    assert (low.low, low.high, low.n, low.right) == (0.5, 0.55, 10, 0.5)
    assert (high.low, high.high, high.n, high.right) == (0.75, 0.8, 40, 0.75)
    assert high.confidence == pytest.approx(1 / (1 + np.exp(-1.1)))
    assert Labelled(leads=[]).reliability() == []


def test_an_audit_takes_little_beside_the_judge() -> None:
    problems = made(200, 8)
    spent = 0.0

    def timed(prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
        nonlocal spent
        began = time.process_time()
        answers = [true_lead(a, b) for a, b in pairs]
        spent += time.process_time() - began
        return answers

    began = time.process_time()
    asked = list(ask(FunctionJudge(timed, name="timed"), problems, most_pairs=28, seed=0, done=lambda _: None))
    corrected([*probe(asked, 0), *Labelled.of(asked, labels_of(problems, 0)).figures(0)])
    assert time.process_time() - began - spent < 5


# The command.

JUDGE = "def better(prompt, pairs):\n    return [5.0 * (float(a.split()[0]) - float(b.split()[0])) for a, b in pairs]\n"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "made.py").write_text(JUDGE)
    problems = made(40, 4)
    with (tmp_path / "f.jsonl").open("w") as out:
        for problem, labels in zip(problems, labels_of(problems, 0), strict=True):
            fields = {"prompt": problem.prompt, "candidates": list(problem.texts), "good": labels.tolist()}
            out.write(json.dumps(fields) + "\n")
    return tmp_path


def invoke(command: Any, *line: str) -> Any:
    return CliRunner().invoke(command, line, catch_exceptions=False, standalone_mode=False)


def test_the_command_and_the_calibration(files: Path) -> None:
    known, out = files / "calibration.json", files / "out.json"
    line = [str(files / "f.jsonl"), "--judge", f"{files}/made.py:better"]
    done = invoke(audit, *line, "--labels", "good", "--calibration", str(known), "--json", str(out))
    assert "40 problems, 240 pairs in both orders" in done.stdout
    assert "pairs that flip with the order" in done.stdout and "temperature" in done.stdout
    assert "warning" not in done.stdout
    assert "█ right, | confidence" in done.stdout
    bins = json.loads(out.read_text())["reliability"]
    assert sum(part["n"] for part in bins) == 240 and all(part["low"] <= part["confidence"] for part in bins)
    figures = {figure["name"]: figure for figure in json.loads(out.read_text())["figures"]}
    assert figures["temperature"]["value"] == pytest.approx(5, rel=0.4)
    assert json.loads(known.read_text())["pairs"] == 240
    plain = [json.loads(text) for text in invoke(rerank, *line).stdout.splitlines()]
    softer = [json.loads(text) for text in invoke(rerank, *line, "--calibration", str(known)).stdout.splitlines()]
    assert [a["ranking"] for a in plain] == [b["ranking"] for b in softer]
    assert sum(max(a["p_best"]) for a in plain) > sum(max(b["p_best"]) for b in softer) + 2
    assert " at temperature " in softer[0]["judge"]
    (files / "made.py").write_text(JUDGE + "\nother = better\n")
    with pytest.raises(UserError, match=r"calibration\.json: it is for the judge .*made\.py:better"):
        invoke(rerank, line[0], "--judge", f"{files}/made.py:other", "--calibration", str(known))


def test_a_calibration_warns_of_a_judge_that_flips(files: Path, caplog: pytest.LogCaptureFixture) -> None:
    known = files / "calibration.json"
    name = f"{files}/made.py:better"
    fields = {"temperature": 2.0, "pairs": 9, "problems": 3, "flips": 0.31, "contradictions": 0.0}
    known.write_text(json.dumps(fields | {"judge": name}))
    invoke(rerank, str(files / "f.jsonl"), "--judge", name, "--calibration", str(known))
    assert "changes its verdict with the order of two candidates in 31 % of the cases" in caplog.text
    known.write_text(json.dumps(fields | {"judge": name, "temperature": 0}))
    with pytest.raises(UserError, match="the temperature is 0"):
        invoke(rerank, str(files / "f.jsonl"), "--judge", name, "--calibration", str(known))


def test_labels(files: Path, tmp_path: Path) -> None:
    def problem(**fields: Any) -> Problem:
        from flame_rank.io.jsonl import read_problems

        path = tmp_path / "labels.jsonl"
        path.write_text(json.dumps({"prompt": "p", "candidates": ["a", "b"]} | fields) + "\n")
        return next(iter(read_problems(str(path))))

    assert read_labels(problem(good=[True, None]), "good") == pytest.approx([1, np.nan], nan_ok=True)
    assert read_labels(problem(good=[None, None]), "good") is None
    assert read_labels(problem(), "good") is None
    inside = problem(candidates=[{"text": "a", "good": 2}, {"text": "b", "good": 1.5}])
    assert read_labels(inside, "good") == pytest.approx([2, 1.5])
    with pytest.raises(UserError, match="'good' is not a list with a label for each of 2 candidates"):
        read_labels(problem(good=[1]), "good")
    for label in ("x", 10**400):
        with pytest.raises(UserError, match="holds a label that is not a finite number"):
            read_labels(problem(good=[label, 1]), "good")


def test_mistakes(files: Path) -> None:
    line = [str(files / "f.jsonl"), "--judge", f"{files}/made.py:better"]
    with pytest.raises(UserError, match="--calibration is fitted to labels; name their field with --labels"):
        invoke(audit, *line, "--calibration", str(files / "c.json"))
    broken = [line[0], "--judge", f"{files}/none.py:none"]  # not loaded if the labels are wrong
    with pytest.raises(UserError, match="no two candidates of a problem have different labels in 'none'"):
        invoke(audit, *broken, "--labels", "none")
    (files / "same.jsonl").write_text('{"prompt": "p", "candidates": ["a", "a"]}\n')
    with pytest.raises(UserError, match="nothing to compare"):
        invoke(audit, str(files / "same.jsonl"), *line[1:])


def test_few_labels_are_not_certain() -> None:
    all_right = ratio("right", "share", [1.0, 1.0], [1.0, 1.0], n=2, seed=0, null=0.5)
    assert all_right.p == 0.5  # both might be by chance
    labelled = Labelled(leads=[np.array([lead]) for lead in (2.0, 1.0, 3.0)])
    temperature = labelled.temperature()
    assert temperature is not None and 0.1 < temperature < 1
