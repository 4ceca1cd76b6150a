"""Several judges as one: what is asked of whom, what comes of it, and what it costs."""

import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import flame_rank
from flame_rank.audit.calibration import CalibratedJudge, Calibration
from flame_rank.errors import UserError
from flame_rank.judges import load
from flame_rank.judges.base import Judge
from flame_rank.judges.function import FunctionJudge
from flame_rank.judges.panel import CascadeJudge, PanelJudge
from flame_rank.records import Problem
from strategies.base import FloatArray, IntArray

Pairs = Sequence[tuple[str, str]]
PROBLEM = {"prompt": "p", "candidates": ["a", "bb", "ccc", "dddd"]}


def longer(prompt: str, pairs: Pairs) -> list[float]:
    return [float(len(a) - len(b)) for a, b in pairs]


def judge_of(value: dict[str, float] | None = None, *, name: str, scale: float = 1.0) -> FunctionJudge:
    """Log-odds by a value of each text, by default its length."""

    def judge(prompt: str, pairs: Pairs) -> list[float]:
        values = value or {text: float(len(text)) for pair in pairs for text in pair}
        return [scale * (values[a] - values[b]) for a, b in pairs]

    return FunctionJudge(judge, name=name)


class Rated:
    """A pointwise judge of given qualities, which counts the comparisons that it is asked."""

    pool_aware, pointwise, one_by_one = False, True, False

    def __init__(self, qualities: dict[str, float], name: str = "rated"):
        self.qualities, self.name, self.count = qualities, name, 0

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        self.count += sum(len(pairs) for _, pairs in asked)
        return [
            np.array([self.qualities[p.texts[i]] - self.qualities[p.texts[j]] for i, j in pairs.tolist()])
            for p, pairs in asked
        ]


@given(st.lists(st.floats(0.1, 10), min_size=2, max_size=4))
def test_a_panel_is_the_weighted_mean(weights: list[float]) -> None:
    members = [judge_of(name=f"j{k}", scale=k + 1.0) for k in range(len(weights))]
    panel = PanelJudge(members, weights)
    pairs = np.array([[0, 1], [3, 0]])
    (log_odds,) = panel.judge([(Problem.of(PROBLEM), pairs)])
    scale = sum(weight * (k + 1) for k, weight in enumerate(weights)) / sum(weights)
    assert log_odds == pytest.approx([-1 * scale, 3 * scale])
    assert isinstance(panel, Judge) and not panel.pointwise and panel.one_by_one


def test_what_each_judge_holds_is_in_the_record() -> None:
    against = {"a": 9.0, "bb": 0.0, "ccc": 0.0, "dddd": 0.0}
    panel = PanelJudge([judge_of(name="long"), judge_of(against, name="a")], [3, 1])
    ranking = flame_rank.Reranker(panel, "round-robin").rank(PROBLEM)
    assert ranking.by_judge is not None
    assert ranking.by_judge["long"] == pytest.approx([-2, -2 / 3, 2 / 3, 2])
    assert ranking.by_judge["a"] == pytest.approx([9, -3, -3, -3])
    assert flame_rank.Reranker(judge_of(name="long")).rank(PROBLEM).by_judge is None


def test_what_one_judge_fails_at_is_no_judgement() -> None:
    def failing(prompt: str, pairs: Pairs) -> list[float]:
        return [float("nan") if "bb" in pair else 1.0 for pair in pairs]

    panel = PanelJudge([judge_of(name="long"), FunctionJudge(failing, name="failing")])
    ranking = flame_rank.Reranker(panel, "round-robin").rank(PROBLEM)
    assert ranking.invalid == 6  # both orders of three pairs


def test_a_ledger_keeps_the_answers_of_each(tmp_path: Path) -> None:
    ledger = tmp_path / "l"
    first, second = Rated({"a": 0, "bb": 1, "ccc": 2, "dddd": 3}, "r"), judge_of(name="long")
    panel = flame_rank.Reranker(PanelJudge([first, second]), "round-robin", ledger=ledger)
    before, asked = panel.rank(PROBLEM), first.count
    assert panel.remembered == 0 and asked == 12
    alone = flame_rank.Reranker(first, ledger=ledger)  # of what the panel asked it, nothing again
    alone.rank(PROBLEM)
    assert first.count == asked and alone.remembered > 0
    again = flame_rank.Reranker(PanelJudge([first, second], [2, 1]), "round-robin", ledger=ledger)
    after = again.rank(PROBLEM)
    assert first.count == asked and again.remembered == 24 and after.order == before.order


def test_a_judge_around_a_panel_leaves_it_a_panel(tmp_path: Path) -> None:
    first, second = judge_of(name="long"), judge_of(name="far", scale=3.0)
    plain = flame_rank.Reranker(PanelJudge([first, second]), "round-robin", ledger=tmp_path / "l").rank(PROBLEM)
    audit = Calibration(judge="p", temperature=2.0, pairs=9, problems=3, flips=0.0, contradictions=0.0)
    calibrated = CalibratedJudge(PanelJudge([first, second]), audit)
    reranker = flame_rank.Reranker(calibrated, "round-robin", ledger=tmp_path / "l")
    ranking = reranker.rank(PROBLEM)
    assert reranker.remembered == 24 and ranking.order == plain.order
    assert ranking.by_judge is not None and plain.by_judge is not None
    assert {name: own.tolist() for name, own in ranking.by_judge.items()} == {
        name: own.tolist() for name, own in plain.by_judge.items()
    }


def test_what_has_no_ledger_has_none_within_another(tmp_path: Path) -> None:
    def asked(first: float) -> Problem:
        said: list[dict[str, Any]] = [{"logprobs": {"content": [{"token": "x", "logprob": p}]}} for p in (first, -1.0)]
        texts = [flame_rank.Candidate(text=f"The answer is {k}.", fields=fields) for k, fields in enumerate(said)]
        return Problem(prompt="p", candidates=texts)

    best = []
    for first in (-0.1, -3.0):  # the same texts; what the sampler said of them is not in a key
        panel = PanelJudge([flame_rank.load_judge("votes:logprob"), judge_of({}, name="flat")])
        best.append(flame_rank.Reranker(panel, "round-robin", ledger=tmp_path / "l").rank(asked(first)).order[0])
    assert best == [0, 1]


def test_a_judge_without_a_name_has_no_ledger(tmp_path: Path) -> None:
    unnamed = FunctionJudge(lambda prompt, pairs: [0.0] * len(pairs))
    with pytest.raises(UserError, match="no identity for a ledger"):
        flame_rank.Reranker(PanelJudge([judge_of(name="long"), unnamed]), ledger=tmp_path / "l")


def test_a_cascade_asks_about_what_is_open() -> None:
    cheap = judge_of({"a": 0.0, "bb": 0.1, "ccc": 9.0, "dddd": 9.1}, name="cheap")
    cascade = CascadeJudge(cheap, judge_of(name="dear", scale=-1.0), sure=0.9)
    pairs = np.array([[0, 1], [0, 2], [2, 3], [3, 0]])
    (log_odds,) = cascade.judge([(Problem.of(PROBLEM), pairs)])
    assert log_odds == pytest.approx([1.0, -np.log(9), 1.0, np.log(9)]) and cascade.counts == [4, 2]


def test_a_cascade_asks_about_those_that_can_be_the_best() -> None:
    cheap = Rated({"a": 0.0, "bb": 0.1, "ccc": 9.0, "dddd": 9.1})
    cascade = CascadeJudge(cheap, judge_of(name="dear", scale=-1.0), hopeless=0.1)
    pairs = np.array([[0, 1], [0, 2], [2, 3], [3, 0]])
    (log_odds,) = cascade.judge([(Problem.of(PROBLEM), pairs)])
    assert log_odds == pytest.approx([-0.1, -np.log(9), 1.0, np.log(9)])
    assert cascade.counts == [4, 1] and not cascade.pointwise
    assert flame_rank.Reranker(cascade, "round-robin").rank(PROBLEM).order == [2, 3, 1, 0]


def test_a_dear_judge_that_never_works_is_an_error() -> None:
    def broken(prompt: str, pairs: Pairs) -> list[float]:
        raise OSError("no route")

    cheap = judge_of({"a": 0.0, "bb": 0.1, "ccc": 9.0, "dddd": 9.1}, name="cheap")
    cascade = CascadeJudge(cheap, FunctionJudge(broken, name="dear"))
    problems = [{**PROBLEM, "prompt": f"{k}"} for k in range(3)]
    with pytest.raises(UserError, match="the judge dear fails at every call: dear: OSError: no route"):
        list(flame_rank.Reranker(cascade, "round-robin").rank_many(problems))


def test_what_the_cheap_judge_fails_at_is_open() -> None:
    failing = FunctionJudge(lambda prompt, pairs: [float("nan")] * len(pairs), name="failing")
    cascade = CascadeJudge(failing, judge_of(name="dear"))
    (log_odds,) = cascade.judge([(Problem.of(PROBLEM), np.array([[0, 1]]))])
    assert log_odds == pytest.approx([-1.0])


def test_most_of_the_dear_picks_for_less_than_half_of_its_cost() -> None:
    """Simulated: eight candidates of normal qualities (standard deviation 2 nats); the dear judge sees them with an
    error of 0.3 nats in each pair, the cheap one, which rates candidates and costs a tenth, with one of 0.5 nats."""
    rng = np.random.default_rng(0)
    same, dear_cost, cascade_cost = 0, 0.0, 0.0
    for k in range(300):
        texts = [f"{k} {i}" for i in range(8)]
        quality = dict(zip(texts, rng.normal(0, 2, 8), strict=True))
        noise = {(a, b): float(rng.normal(0, 0.3)) for a in texts for b in texts}

        def dear(
            prompt: str, pairs: Pairs, quality: dict[str, float] = quality, noise: dict[tuple[str, str], float] = noise
        ) -> list[float]:
            return [quality[a] - quality[b] + noise[a, b] for a, b in pairs]

        cheap = Rated({text: value + rng.normal(0, 0.5) for text, value in quality.items()})
        problem = {"prompt": "p", "candidates": texts}
        alone = flame_rank.Reranker(FunctionJudge(dear, name="dear"), "round-robin").rank(problem)
        cascade = CascadeJudge(cheap, FunctionJudge(dear, name="dear"))
        both = flame_rank.Reranker(cascade, "round-robin").rank(problem)
        same += alone.order[0] == both.order[0]
        dear_cost += alone.comparisons
        cascade_cost += cascade.counts[1] + 8 / 10  # the cheap judge reads each candidate once
    assert same / 300 >= 0.98 and cascade_cost / dear_cost <= 0.4, (same / 300, cascade_cost / dear_cost)


PANEL = """
kind = "panel"
[[judges]]
judge = "mine.py:longer"
weight = 3
[[judges]]
judge = "agreement"
"""


def test_a_file_of_judges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("def longer(prompt, pairs):\n    return [len(a) - len(b) for a, b in pairs]\n")
    Path("panel.toml").write_text(PANEL)
    panel = load("panel.toml")
    assert isinstance(panel, PanelJudge) and panel.weights.tolist() == [0.75, 0.25]
    assert flame_rank.Reranker("panel.toml").rank(PROBLEM).order[0] == 3
    Path("cascade.toml").write_text(PANEL.replace("panel", "cascade").replace("weight = 3\n", ""))
    assert isinstance(load("cascade.toml"), CascadeJudge)
    Path("problems.jsonl").write_text(json.dumps(PROBLEM) + "\n")
    from click.testing import CliRunner

    from flame_rank.cli.group import cli

    ran = CliRunner().invoke(cli, ["rerank", "problems.jsonl", "--judge", "panel.toml", "--format", "jsonl"])
    assert ran.exit_code == 0 and len(json.loads(ran.stdout)["by_judge"]) == 2
    for _ in range(2):
        ran = CliRunner().invoke(cli, ["rerank", "problems.jsonl", "--judge", "panel.toml", "--ledger", "l.db"])
    assert "; 24 answers of its judges from the ledger" in ran.stderr and " 12 comparisons" in ran.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind =", "Invalid value"),
        ('kind = "jury"\njudges = []', "kind"),
        ('kind = "panel"\n[[judges]]\njudge = "agreement"\n', "length"),
        (PANEL.replace('judge = "agreement"', "weight = 1"), r'\[\[judges\]\] 2 has no judge = "..."'),
        (PANEL.replace('"agreement"', '"nothing"'), r"\[\[judges\]\] 2: --judge nothing: neither"),
        (PANEL.replace("weight = 3", "weight = -3"), "positive weights"),
        (PANEL.replace("weight = 3", 'weight = "3"'), "weight must be a number"),
        (PANEL.replace("weight = 3", "weight = [3]"), "weight must be a number"),
        (PANEL.replace("weight = 3", "weight = 2026-01-01"), "weight must be a number"),
        (PANEL.replace("weight = 3", "depth = 3"), "has no option depth; it has weight, ask"),
        (PANEL.replace('"panel"', '"panel"\nsure = 0.9'), "sure applies to a cascade only"),
        (PANEL.replace("panel", "cascade"), "for a panel"),
        (
            PANEL.replace('"panel"', '"cascade"\nsure = 0.3').replace("weight = 3", ""),
            "sure is 0.3 and hopeless is 0.02; sure must be from 0.5 to 1",
        ),
        ("x = " + "[" * 5000 + "]" * 5000, "nested too deeply|Invalid|kind"),
    ],
)
def test_a_file_that_is_not_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("def longer(prompt, pairs):\n    return [len(a) - len(b) for a, b in pairs]\n")
    Path("j.toml").write_text(text)
    with pytest.raises(UserError, match=words) as raised:
        load("j.toml")
    assert str(raised.value).startswith("j.toml: ")


def test_a_file_that_is_not_there() -> None:
    with pytest.raises((UserError, OSError), match=r"nowhere.toml|No such file"):
        load("nowhere.toml")
    with pytest.raises(UserError, match=r"takes no max_length: write the options of each judge into the file"):
        load("nowhere.toml", max_length=3)


def test_a_cheap_judge_that_fails_at_every_candidate_leaves_all_to_the_dear_one() -> None:
    cheap = Rated(dict.fromkeys(["a", "bb", "ccc", "dddd"], float("nan")))
    ranking = flame_rank.Reranker(CascadeJudge(cheap, judge_of(name="length"))).rank(PROBLEM)
    assert ranking.order == [3, 2, 1, 0] and not ranking.invalid


def test_replay_says_how_a_panel_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    from flame_rank.cli.group import cli

    monkeypatch.chdir(tmp_path)
    flame_rank.Reranker(PanelJudge([judge_of(name="one"), judge_of(name="two")]), ledger="l.db").rank(PROBLEM)
    Path("in.jsonl").write_text(json.dumps(PROBLEM) + "\n")
    ran = CliRunner().invoke(cli, ["replay", "in.jsonl", "--ledger", "l.db", "--judge", "panel.toml"])
    assert "rerank --judge panel.toml --ledger l.db repeats them" in str(ran.exception)


def test_a_file_that_names_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.toml").write_text(PANEL.replace('"agreement"', '"b.toml"').replace("mine.py:longer", "agreement"))
    Path("b.toml").write_text(PANEL.replace('"agreement"', '"a.toml"').replace("mine.py:longer", "agreement"))
    with pytest.raises(UserError, match=r"^a.toml: .* b.toml: .* a.toml: the file names itself") as raised:
        load("a.toml")
    assert len(str(raised.value)) < 200


def test_a_name_is_not_a_judge() -> None:
    members: list[Any] = ["default", "agreement"]
    with pytest.raises(UserError, match=r"default is a name, not a judge; load it with .*load_judge\('default'\)"):
        PanelJudge(members)
    with pytest.raises(UserError, match="a member is a int, not a judge"):
        CascadeJudge(3, 4)  # type: ignore[arg-type]


def test_a_used_cascade_is_pickled_without_what_it_remembers() -> None:
    rated = Rated({"a": 3.0, "bb": 2.9, "ccc": -9.0, "dddd": -9.0})
    cascade = CascadeJudge(rated, FunctionJudge(longer, name="longer"))
    before = flame_rank.Reranker(cascade).rank(PROBLEM)
    again = pickle.loads(pickle.dumps(cascade))
    assert before.order[:2] == [1, 0] and again.name == cascade.name
    assert flame_rank.Reranker(again).rank(PROBLEM).order == before.order
