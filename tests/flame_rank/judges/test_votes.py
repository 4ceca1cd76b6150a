"""Majority votes: what counts, what the share is, and what is without a vote."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import flame_rank
from flame_rank.cli.group import cli
from flame_rank.errors import UserError
from flame_rank.judges import load
from flame_rank.judges.function import FunctionJudge
from flame_rank.judges.votes import VotesJudge
from flame_rank.records import Problem
from strategies.base import FloatArray, IntArray


class Rated:
    """A pointwise judge of given qualities by text."""

    pool_aware, pointwise, name = False, True, "rated"

    def __init__(self, values: dict[str, float]):
        self.values = values

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        return [
            np.array([self.values[p.texts[i]] - self.values[p.texts[j]] for i, j in pairs.tolist()])
            for p, pairs in asked
        ]


def solutions(answers: list[int]) -> list[str]:
    return [f"Way {i}: first this, then that. The answer is {answer}." for i, answer in enumerate(answers)]


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)  # the first example imports scipy
@given(st.lists(st.integers(0, 4), min_size=2, max_size=12))
def test_p_best_is_the_share_of_the_votes(answers: list[int]) -> None:
    ranking = flame_rank.Reranker(VotesJudge()).rank("p", solutions(answers))
    counts = Counter(answers)
    if len(set(answers)) < len(answers):  # equal answers are one option
        assert ranking.p_best == pytest.approx([counts[answer] / len(answers) for answer in answers])
    assert counts[answers[ranking.order[0]]] == max(counts.values())
    assert (np.diff(ranking.scores[ranking.order]) < 1e-9).all()
    assert ranking.scores[0] - ranking.scores[-1] == pytest.approx(np.log(counts[answers[0]] / counts[answers[-1]]))


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(-5, 5)), min_size=3, max_size=8))
def test_votes_are_weighted(voters: list[tuple[int, float]]) -> None:
    texts = solutions([answer for answer, _ in voters])
    judge = VotesJudge(Rated({text: quality for text, (_, quality) in zip(texts, voters, strict=True)}))
    pairs = np.array([(i, 0) for i in range(len(texts))])
    (log_odds,) = judge.judge([(Problem(prompt="p", candidates=texts), pairs)])
    totals = [np.log(sum(np.exp(q) for other, q in voters if other == answer)) for answer, _ in voters]
    assert log_odds == pytest.approx(np.array(totals) - totals[0], abs=1e-9)


def test_a_candidate_without_an_answer_has_no_vote() -> None:
    silent = "I have thought about it for a long time and cannot tell."
    ranking = flame_rank.Reranker("votes").rank("p", [silent, *solutions([5, 4, 4])])
    assert ranking.order == [2, 3, 1, 0] and ranking.p_best[0] == 0 and ranking.p_best[2] == pytest.approx(2 / 3)
    assert ranking.invalid == 1 and ranking.reasons[0].startswith("candidate 0: no final answer")
    mostly = flame_rank.Reranker("votes").rank("p", [silent, silent + "!", *solutions([5])])
    assert not mostly.decided and sorted(mostly.order) == [0, 1, 2]


def test_a_vote_that_cannot_be_weighed_does_not_count() -> None:
    texts = solutions([5, 4, 4])
    judge = VotesJudge(Rated({texts[0]: float("nan"), texts[1]: 0.0, texts[2]: 1.0}))
    (log_odds,) = judge.judge([(Problem(prompt="p", candidates=texts), np.array([[1, 2], [0, 1]]))])
    assert log_odds[0] == 0 and np.isnan(log_odds[1])
    judge = VotesJudge(Rated({texts[0]: 0.0, texts[1]: float("nan"), texts[2]: 1.0}))
    (log_odds,) = judge.judge([(Problem(prompt="p", candidates=texts), np.array([[1, 2], [1, 0]]))])
    assert log_odds.tolist() == [0, 1]  # it has the votes of its answer, without its own


def test_a_judge_of_pairs_weighs_no_votes() -> None:
    with pytest.raises(ValueError, match="compares pairs"):
        VotesJudge(FunctionJudge(lambda prompt, pairs: [0.0] * len(pairs), name="f"))


@pytest.mark.parametrize(
    ("spec", "options", "words"),
    [
        ("votes", {"criteria": "x"}, "takes no criteria"),
        ("votes:", {}, "name the judge that weights the votes"),
        ("votes:nothing", {}, "--judge nothing: neither"),
        ("votes:flame_rank.errors:UserError", {}, "compares pairs; take default"),
        ("votes:agreement", {"max_length": 3}, "agreement takes no max_length"),
    ],
)
def test_what_is_refused(spec: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        load(spec, **options)  # type: ignore[arg-type]


def test_by_the_command(tmp_path: Path) -> None:
    path = tmp_path / "problems.jsonl"
    path.write_text(json.dumps({"prompt": "p", "candidates": ["=> red", "=> blue", "so => blue"]}) + "\n")
    arguments = ["rerank", str(path), "--judge", "votes:agreement", "--answer", "=> (.*)", "--format", "jsonl"]
    ran = CliRunner().invoke(cli, [*arguments, "--ledger", str(tmp_path / "l.db")])
    record = json.loads(ran.stdout)
    assert ran.exit_code == 0 and record["best"] == 1 and "tied" not in record
    again = CliRunner().invoke(cli, [*arguments, "--ledger", str(tmp_path / "l.db")])
    assert again.stdout == ran.stdout
