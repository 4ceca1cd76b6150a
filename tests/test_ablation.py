"""The ablation's table."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest

from flame_rank.judges.pool import Combination, Evidence
from flame_rank.records import Problem
from strategies.base import FloatArray
from trainer import ablation
from trainer.ablation import interval, table
from trainer.combine import EVIDENCE, Judged, learn
from trainer.consensus import consensus

BOTH = ["(a) agreement", "(b) encoder", "both", "both - (a)"]
EACH = Combination(pair=1.0, invalid=0.0, **dict.fromkeys(EVIDENCE, 1.0))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer steps than a combination that ships."""
    monkeypatch.setattr(ablation, "learn", partial(learn, steps=150))


@pytest.fixture
def unlearned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every source that may count counts 1."""

    def fixed(judged: object, seen: object, *, using: Sequence[str]) -> Combination:
        weights = {source: float(source in using) for source in EVIDENCE}
        return Combination(pair=weights["encoder"], invalid=0.0, **weights)

    monkeypatch.setattr(ablation, "learn", fixed)


def evidence(encoder: FloatArray, overlap: FloatArray, vote: FloatArray | None = None) -> Evidence:
    flat = np.zeros(len(encoder))
    vote = flat if vote is None else vote
    return Evidence(
        encoder=encoder, overlap=overlap, cosine=flat, vote=vote, valid=flat + 1, kind="answers", truncated=0
    )


def pools(count: int, *, encoder: float, overlap: float) -> tuple[list[Judged], list[Evidence]]:
    """Pools of six programs, two of them right; each source has noise of 1, and the given lead for the right ones."""
    rng = np.random.default_rng(0)
    judged, seen = [], []
    for number in range(count):
        right = rng.permutation([True, True, False, False, False, False])
        pairs = np.array([(i, j) for i in np.flatnonzero(right) for j in np.flatnonzero(~right)], np.int64)
        problem = Problem(prompt=f"def f{number}():\n", candidates=[f"    return {i}\n" for i in range(6)])
        judged.append(Judged(problem=problem, pairs=pairs, right=right))
        seen.append(evidence(encoder * right + rng.normal(size=6), overlap * right + rng.normal(size=6)))
    return judged, seen


@pytest.mark.usefixtures("quick")
def test_a_source_of_noise_does_not_help() -> None:
    rows = table(*pools(150, encoder=0.0, overlap=2.0))
    assert list(rows) == ["mean", "consensus", *BOTH]
    assert rows["mean"] == pytest.approx((1 / 3,) * 3)
    assert rows["(a) agreement"][0] > 0.7
    assert rows["(b) encoder"][0] == pytest.approx(1 / 3, abs=0.12)
    mean, low, high = rows["both - (a)"]
    assert low <= mean < 0.04
    assert low <= 0.0 <= high


@pytest.mark.usefixtures("quick")
def test_a_source_that_tells_does() -> None:
    rows = table(*pools(150, encoder=2.0, overlap=1.0))
    assert rows["(b) encoder"][0] > rows["(a) agreement"][0]
    mean, low, high = rows["both - (a)"]
    assert 0 < low < mean < high


def pairs(prompt: str, encoder: Sequence[float], overlap: Sequence[float]) -> tuple[Judged, Evidence]:
    """A problem whose first candidate is better than each other."""
    n = len(encoder)
    problem = Problem(prompt=prompt, candidates=[f"{prompt} {i}" for i in range(n)])
    one = Judged(problem=problem, pairs=np.array([(0, i) for i in range(1, n)], np.int64))
    return one, evidence(np.array(encoder), np.array(overlap))


@pytest.mark.usefixtures("unlearned")
def test_rows_use_their_sources_and_the_difference_is_paired() -> None:
    # By prompt: the encoder right, agreement wrong by less; both right; agreement right, the encoder wrong by less.
    made = [pairs("p", [2, 0], [0, 1]), pairs("q", [1, 0], [1, 0]), pairs("r", [0, 1], [2, 0])]
    judged, seen = zip(*made, strict=True)
    rows = table(judged, seen)
    assert list(rows) == BOTH
    assert [rows[row][0] for row in BOTH] == pytest.approx([2 / 3, 2 / 3, 1, 1 / 3])
    assert rows["both"] == (1.0, 1.0, 1.0)
    assert rows["both - (a)"][1:] == (0.0, 1.0)


@pytest.mark.usefixtures("unlearned")
def test_votes_are_agreement() -> None:
    one, _ = pairs("p", [0, 1], [0, 0])
    seen = evidence(np.array([0.0, 1.0]), np.zeros(2), np.array([2.0, 0.0]))
    rows = table([one], [seen])
    assert [rows[row][0] for row in BOTH] == [1.0, 0.0, 1.0, 0.0]


@pytest.mark.usefixtures("unlearned")
def test_a_prompt_counts_once() -> None:
    made = [pairs("p", [1, 0], [0, 0])] * 3 + [pairs("q", [0, 1], [0, 0])]
    judged, seen = zip(*made, strict=True)
    assert table(judged, seen)["(b) encoder"][0] == 0.5


@pytest.mark.usefixtures("unlearned")
def test_consensus_reads_the_texts() -> None:
    texts = ["    return a + b\n", "    return a + b\n", "    return 7\n"]
    made = [
        Judged(problem=Problem(prompt=p, candidates=texts), pairs=np.array([[0, 2]]), right=np.array(right))
        for p, right in (("p", [True, False, False]), ("q", [False, False, True]))
    ]
    assert np.argmin(consensus(texts)) == 2
    rows = table(made, [evidence(np.zeros(3), np.zeros(3))] * 2)
    assert rows["consensus"][0] == (0.5 + 0.0) / 2
    assert rows["mean"][0] == pytest.approx(1 / 3)


@pytest.mark.parametrize("sources", [None, [f"source {i % 3}" for i in range(11)] * 3])
def test_nothing_is_measured_where_it_was_learned(
    sources: Sequence[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged, seen = zip(*[pairs(f"p{i % 11}", [1, 0], [1, 0]) for i in range(33)], strict=True)
    learned_on: set[str] = set()
    measured = []

    def fake_learn(inside: Sequence[Judged], _: object, **__: Any) -> Combination:
        learned_on.clear()
        learned_on.update(one.problem.prompt for one in inside)
        return EACH

    def fake_share(one: Judged, _: object) -> float:
        assert one.problem.prompt not in learned_on
        measured.append(one.problem.prompt)
        return 1.0

    monkeypatch.setattr(ablation, "learn", fake_learn)
    monkeypatch.setattr(ablation, "right_share", fake_share)
    table(judged, seen, sources)
    assert len(measured) == 3 * 33  # each in each of the three rows
    # Without sources, a fifth is left out, which is two or three prompts; with them, a source of three or four.
    assert learned_on == {f"p{i}" for i in range(11) if i % 3 != 2} if sources else len(learned_on) >= 8


def test_interval() -> None:
    values = np.random.default_rng(1).normal(2.0, 3.0, 400)
    mean, low, high = interval(values)
    assert mean == values.mean()
    # A mean's 95 % interval is 1.96 standard errors to each side.
    error = values.std() / np.sqrt(400)
    assert mean - low == pytest.approx(1.96 * error, rel=0.06)
    assert high - mean == pytest.approx(1.96 * error, rel=0.06)
    assert interval(values) == (mean, low, high)
    assert interval(values, seed=1) != (mean, low, high)
    assert interval(np.full(7, 0.25)) == (0.25, 0.25, 0.25)
