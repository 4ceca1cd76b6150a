"""The ablation's table."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from flame_rank.judges.default.pool import EVIDENCE, PoolEvidence
from flame_rank.records import Problem
from strategies.base import FloatArray
from trainer.default_judge import ablation
from trainer.default_judge.ablation import FOLDS, ROWS, ablation_table, held_out_qualities
from trainer.default_judge.combine import LabelledProblem, label_right
from trainer.default_judge.consensus import consensus
from trainer.measuring import intervals

BESIDE = ["longest", "mean"]


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "RESAMPLES", 300)


@pytest.fixture
def some_rows(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fewer rows to learn weights for."""
    some = ["agreement", "forward", "all", "all but overlap", "all but forward"]
    monkeypatch.setattr(ablation, "ROWS", {name: ROWS[name] for name in some})
    return some


@pytest.fixture
def unlearned(monkeypatch: pytest.MonkeyPatch) -> None:
    """All evidence that may count counts 1."""

    def even(labelled: object, seen: object, sources: object, *, using: Sequence[str], **_: Any) -> dict[str, float]:
        return dict.fromkeys(using, 1.0)

    monkeypatch.setattr(ablation, "learn", even)


def evidence(**values: FloatArray) -> PoolEvidence:
    n = len(next(iter(values.values())))
    return PoolEvidence(
        values={name: values.get(name, np.zeros(n)) for name in EVIDENCE},
        penalty=np.zeros(n),
        sound=np.ones(n, np.bool_),
        kind="texts",
        truncated=0,
    )


def pools(count: int, *, forward: float, overlap: float) -> tuple[list[LabelledProblem], list[PoolEvidence], list[str]]:
    """Pools of six candidates, two of them right; evidence has noise of 1, and the given lead for the right ones."""
    rng = np.random.default_rng(0)
    labelled, seen = [], []
    for number in range(count):
        right = rng.permutation([True, True, False, False, False, False])
        problem = Problem(prompt=f"def f{number}():\n", candidates=[f"    return {i}\n" for i in range(6)])
        labelled.append(label_right(problem, right))
        noise, other = rng.normal(size=(2, 6))
        seen.append(evidence(forward=forward * right + noise, overlap=overlap * right + other))
    return labelled, seen, ["MBPP"] * count


def test_every_kind_of_evidence_is_left_out_once() -> None:
    assert ROWS["all"] == tuple(EVIDENCE) and set(ROWS["agreement"]) < set(EVIDENCE)
    for name in EVIDENCE:
        assert {*ROWS[f"all but {name}"]} == {*EVIDENCE} - {name}


def test_evidence_that_is_noise_does_not_help(some_rows: list[str]) -> None:
    rows = ablation_table(*pools(100, forward=0.0, overlap=2.0), "programs")["MBPP"]
    assert list(rows) == [*some_rows, *BESIDE, "consensus"]
    assert rows["mean"] == pytest.approx((1 / 3,) * 3)
    assert rows["agreement"][0] > 0.7 and rows["forward"][0] == pytest.approx(1 / 3, abs=0.15)
    assert rows["all"][0] == pytest.approx(rows["all but forward"][0], abs=0.05)
    assert rows["all but overlap"][0] < 0.5


def test_evidence_that_tells_does(some_rows: list[str]) -> None:
    rows = ablation_table(*pools(100, forward=2.0, overlap=1.0), "texts")["MBPP"]
    assert list(rows) == [*some_rows, *BESIDE]  # plain consensus is for programs
    assert rows["forward"][0] > rows["agreement"][0]
    low, high = rows["all"][1:]
    assert low < rows["all"][0] < high and rows["all"][0] > rows["forward"][0] > rows["all but forward"][0]


def pairs(prompt: str, **values: list[float]) -> tuple[LabelledProblem, PoolEvidence]:
    """A problem whose first candidate is better than each other."""
    n = len(next(iter(values.values())))
    problem = Problem(prompt=prompt, candidates=[f"{prompt} {'long' * i}" for i in range(n)])
    item = LabelledProblem(problem=problem, pairs=np.array([(0, i) for i in range(1, n)], np.int64))
    return item, evidence(**{name: np.array(chosen, np.float64) for name, chosen in values.items()})


@pytest.mark.usefixtures("unlearned")
def test_rows_use_their_evidence() -> None:
    # By prompt: the model right, agreement wrong by less; both right; agreement right, the model wrong by less.
    made = [
        pairs("p", forward=[2, 0], overlap=[0, 1]),
        pairs("q", forward=[1, 0], vote=[1, 0]),
        pairs("r", forward=[0, 1], overlap=[2, 0]),
    ]
    labelled, seen = zip(*made, strict=True)
    rows = ablation_table(labelled, seen, ["s"] * 3, "texts")["s"]
    assert rows["all"] == (1.0, 1.0, 1.0)
    assert [rows[name][0] for name in ("agreement", "forward", "gain")] == pytest.approx([2 / 3, 2 / 3, 0.5])
    assert rows["all but overlap"][0] == pytest.approx(2 / 3) and rows["all but vote"][0] == 1
    assert rows["all but forward"][0] == rows["agreement"][0]
    assert rows["mean"][0] == 0.5 and rows["longest"][0] == 0  # the better one is the shorter one, always


@pytest.mark.usefixtures("unlearned")
def test_a_prompt_counts_once_and_a_source_for_itself() -> None:
    made = [pairs("p", forward=[1, 0])] * 3 + [pairs("q", forward=[0, 1]), pairs("r", forward=[1, 0])]
    labelled, seen = zip(*made, strict=True)
    results = ablation_table(labelled, seen, ["s", "s", "s", "s", "t"], "texts")
    assert list(results) == ["s", "t"]
    assert results["s"]["forward"][0] == 0.5 and results["t"]["forward"][0] == 1


@pytest.mark.usefixtures("unlearned")
def test_consensus_reads_the_texts() -> None:
    texts = ["    return a + b\n", "    return a + b\n", "    return 7\n"]
    made = [
        LabelledProblem(problem=Problem(prompt=p, candidates=texts), pairs=np.array([[0, 2]]), right=np.array(right))
        for p, right in (("p", [True, False, False]), ("q", [False, False, True]))
    ]
    assert np.argmin(consensus(texts)) == 2
    rows = ablation_table(made, [evidence(forward=np.zeros(3))] * 2, ["MBPP"] * 2, "programs")["MBPP"]
    assert rows["consensus"][0] == (0.5 + 0.0) / 2
    assert rows["mean"][0] == rows["forward"][0] == pytest.approx(1 / 3)


@pytest.mark.parametrize("several", [True, False])
def test_nothing_is_measured_where_it_was_learned(several: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = [f"p{i % 11}" for i in range(33)]
    labelled, seen = zip(*[pairs(prompt, forward=[1, 0]) for prompt in prompts], strict=True)
    sources = [f"source {prompts.index(prompt) % 3}" for prompt in prompts] if several else ["source"] * 33
    learned_on: list[tuple[set[str], set[str]]] = []

    def fake_learn(
        inside: Sequence[LabelledProblem], chosen: Sequence[PoolEvidence], named: Sequence[str], **_: Any
    ) -> dict[str, float]:
        assert len(inside) == len(chosen) == len(named)
        learned_on.append(({item.problem.prompt for item in inside}, {*named}))
        return {"forward": float(len(learned_on))}  # which weights a problem was measured by

    monkeypatch.setattr(ablation, "learn", fake_learn)
    qualities = held_out_qualities(labelled, seen, sources, ("forward",))
    assert len(learned_on) == (3 if several else FOLDS)
    for prompt, source, quality in zip(prompts, sources, qualities, strict=True):
        inside, named = learned_on[int(quality[0]) - 1]
        assert prompt not in inside and (source not in named or not several)
    sizes = [len(inside) for inside, _ in learned_on]
    assert sum(11 - size for size in sizes) == 11  # each prompt is left out once
    assert several or min(sizes) >= 8
