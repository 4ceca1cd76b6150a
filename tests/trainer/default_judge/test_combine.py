"""How much each kind of evidence counts: the problems that it is learned on, and what is learned from them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from flame_rank.judges.default.pool import EVIDENCE, IMPOSSIBLE, PoolEvidence
from flame_rank.records import Problem
from strategies.base import FloatArray
from trainer.default_judge import combine
from trainer.default_judge.combine import (
    AGAINST,
    SAMPLES,
    LabelledProblem,
    calibration_factor,
    draw,
    group_by_prompt,
    label_right,
    learn,
    right_share,
    scale,
)
from trainer.default_judge.pools import LabelledPool
from trainer.default_judge.sources import Comparison


def pool(number: int, right: int, wrong: int, mutants: int = 0) -> LabelledPool:
    kinds = ["right"] * right + ["wrong"] * wrong + ["mutant"] * mutants
    return LabelledPool(
        problem=number,
        prompt=f"def f{number}():\n",
        texts=tuple(f"{kind} {i}" for i, kind in enumerate(kinds)),
        right=tuple(kind == "right" for kind in kinds),
        mutant=tuple(kind == "mutant" for kind in kinds),
    )


def test_draw_fills_pools_as_a_weak_sampler_would() -> None:
    drawn = draw([pool(number, 20, 20) for number in range(60)], seed=0, times=2)
    assert len(drawn) == 120
    count = []
    for item in drawn:
        assert item.right is not None
        assert len(item.problem.texts) == len(set(item.problem.texts)) == len(item.right) == SAMPLES == 10
        assert [text.startswith("right") for text in item.problem.texts] == item.right.tolist()
        count.append(int(item.right.sum()))
    assert set(count) == {1, 2, 3, 4, 5, 6}
    assert np.mean(count) == pytest.approx(3.5, abs=0.5)
    # The right ones stand anywhere: a judge that prefers a place learns nothing.
    assert np.mean([item.right[0] for item in drawn if item.right is not None]) == pytest.approx(0.35, abs=0.15)


def test_pairs_are_every_right_one_with_every_wrong_one() -> None:
    for item in draw([pool(1, 8, 9)], seed=0, times=20):
        assert item.right is not None
        expected = {(i, j) for i in range(10) for j in range(10) if item.right[i] and not item.right[j]}
        assert {(int(i), int(j)) for i, j in item.pairs} == expected
        assert len(item.pairs) == len(expected)
        assert item.pairs.dtype == np.int64


def test_mutants_fill_up_where_sampled_mistakes_are_too_few() -> None:
    for item in draw([pool(1, 10, 3, mutants=10)], seed=0, times=20):
        wrong = [text for text in item.problem.texts if not text.startswith("right")]
        assert sum(text.startswith("wrong") for text in wrong) == 3
        assert len(item.problem.texts) == SAMPLES
    for item in draw([pool(1, 10, 9, mutants=10)], seed=0, times=20):
        assert not any(text.startswith("mutant") for text in item.problem.texts)


@pytest.mark.parametrize("too_little", [pool(1, 9, 0), pool(1, 0, 9), pool(1, 2, 2)])
def test_draw_leaves_out_what_cannot_be_filled(too_little: LabelledPool) -> None:
    assert draw([too_little], seed=0, times=10) == []


def test_a_pool_may_be_small() -> None:
    assert {len(item.problem.texts) for item in draw([pool(1, 1, 4)], seed=0, times=10)} == {5}


def test_pools_of_other_sizes() -> None:
    drawn = draw([pool(number, 20, 20) for number in range(40)], seed=0, times=1, sizes=(2, 4))
    assert {len(item.problem) for item in drawn} == {2, 3, 4} and len(drawn) == 40
    assert all(item.right is not None and 0 < item.right.sum() < len(item.right) for item in drawn)


def test_draw_is_a_function_of_its_seed() -> None:
    def texts(seed: int, *pools: LabelledPool) -> list[tuple[str, ...]]:
        return [item.problem.texts for item in draw(pools, seed=seed, times=2)]

    first, second = pool(1, 20, 20), pool(2, 20, 20)
    assert texts(0, first, second) == texts(0, first, second)
    assert texts(0, first) == texts(0, first, second)[::2]
    assert texts(0, first) != texts(1, first)
    assert texts(0, first)[0] != texts(0, first)[1]


def test_group() -> None:
    triples = [("p", "a", "b"), ("q", "x", "y"), ("p", "b", "c"), ("p", "a", "c"), ("p", "c", "a")]
    item, other = group_by_prompt(Comparison(prompt=p, better=b, worse=w) for p, b, w in triples)
    assert (item.problem.prompt, item.problem.texts) == ("p", ("a", "b", "c"))
    assert item.pairs.tolist() == [[0, 1], [1, 2], [0, 2], [2, 0]]
    assert item.right is None
    assert (other.problem.texts, other.pairs.tolist()) == (("x", "y"), [[0, 1]])
    assert group_by_prompt([]) == []


EVERY = tuple(EVIDENCE)


@pytest.fixture
def unpulled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pull to 0 is so small that it moves nothing that the problems say."""
    monkeypatch.setattr(combine, "PULL", 1e-6)


PLANTED = {"overlap": 4.0, "vote": 2.5, "forward": 1.5, "repeated": -2.0, "refuses": -1.0, "refusal": 0.8}


def evidence(values: dict[str, FloatArray], sound: Sequence[bool] | None = None) -> PoolEvidence:
    """What is given; of all else nothing."""
    n = len(next(iter(values.values())))
    return PoolEvidence(
        values={name: values.get(name, np.zeros(n)) for name in EVERY},
        penalty=np.zeros(n),
        sound=np.ones(n, np.bool_) if sound is None else np.array(sound),
        kind="texts",
        truncated=0,
    )


def drawn(rng: np.random.Generator, n: int) -> PoolEvidence:
    return evidence({name: rng.normal(size=n) for name in EVERY}, (rng.random(n) < 0.9).tolist())


def compared(rng: np.random.Generator, quality: FloatArray) -> LabelledProblem:
    """All pairs of a problem, decided at random with the odds that the qualities give."""
    n = len(quality)
    pairs = []
    for i in range(n):
        for j in range(i):
            first = rng.random() < 1 / (1 + np.exp(quality[j] - quality[i]))
            pairs.append((i, j) if first else (j, i))
    problem = Problem(prompt="p", candidates=[f"c{i}" for i in range(n)])
    return LabelledProblem(problem=problem, pairs=np.array(pairs, np.int64))


def best_known(rng: np.random.Generator, quality: FloatArray) -> LabelledProblem:
    """A problem whose right candidate is drawn with the probabilities that the qualities give."""
    p = np.exp(quality - quality.max())
    right = np.arange(len(quality)) == rng.choice(len(quality), p=p / p.sum())
    return label_right(Problem(prompt="p", candidates=[f"c{i}" for i in range(len(quality))]), right)


World = tuple[list[LabelledProblem], list[PoolEvidence], list[str]]


def world(count: int, weights: dict[str, float], n: int = 6, known: bool = False) -> World:
    rng = np.random.default_rng(0)
    seen = [drawn(rng, n) for _ in range(count)]
    decide = best_known if known else compared
    return [decide(rng, item.quality(weights)) for item in seen], seen, ["source"] * count


@pytest.mark.usefixtures("unpulled")
@pytest.mark.parametrize("known", [False, True])
def test_learns_the_weights_that_made_the_problems(known: bool) -> None:
    learned = learn(*world(900 if known else 400, PLANTED, known=known))
    for name, weight in PLANTED.items():
        assert learned[name] == pytest.approx(weight, rel=0.2), name
    assert all(abs(weight) < 0.15 for name, weight in learned.items() if name not in PLANTED)


@pytest.mark.usefixtures("unpulled")
def test_what_cannot_be_right_is_a_rule_and_not_learned() -> None:
    labelled, seen, sources = world(400, PLANTED)
    everything = [replace(item, sound=np.ones(6, np.bool_)) for item in seen]
    with_rule, without = learn(labelled, seen, sources), learn(labelled, everything, sources)
    # Where the rule is not known, that such candidates are worse speaks against what they happen to have.
    assert abs(with_rule["overlap"] - 4.0) < abs(without["overlap"] - 4.0)
    assert without["overlap"] < 3.5 and IMPOSSIBLE >= 10


@pytest.mark.usefixtures("unpulled")
def test_evidence_counts_on_its_side_only() -> None:
    planted = {name: 2.0 if name in AGAINST else -2.0 for name in EVERY}
    assert learn(*world(150, planted)) == {}
    turned = learn(*world(150, {name: -weight for name, weight in planted.items()}))
    assert turned.keys() == {*EVERY} and all(turned[name] < -0.5 for name in ("repeated", "refuses"))


@pytest.mark.usefixtures("unpulled")
def test_evidence_left_out_does_not_count() -> None:
    learned = learn(*world(100, PLANTED), using=("forward", "reverse"))
    assert learned.keys() <= {"forward", "reverse"} and learned["forward"] > 0.2
    assert learn(*world(3, PLANTED), using=()) == {}


def saying(*pairs: tuple[int, int]) -> LabelledProblem:
    problem = Problem(prompt="p", candidates=[str(i) for i in range(9)])
    return LabelledProblem(problem=problem, pairs=np.array(pairs, np.int64))


RISING = evidence({"forward": np.arange(9.0)})
MANY = saying(*[(i + 1, i) for i in range(8)])  # the likelier one is better, eight times


@pytest.mark.usefixtures("unpulled")
def test_each_problem_of_a_source_counts_once() -> None:
    few = [saying((0, 1)), saying((3, 4))]  # the likelier one is worse, once in each of two
    assert learn([MANY, *few], [RISING] * 3, ["a"] * 3) == {}
    # Two problems against one, all pairs as far apart: log 2.
    in_favour = learn([MANY, saying((1, 0)), saying((3, 4))], [RISING] * 3, ["a"] * 3)
    assert in_favour["forward"] == pytest.approx(np.log(2), abs=0.1)


@pytest.mark.usefixtures("unpulled")
def test_each_source_counts_once() -> None:
    labelled = [MANY, *[saying((0, 1))] * 5, *[MANY] * 2]
    sources = ["a", *["b"] * 5, *["c"] * 2]
    assert learn(labelled, [RISING] * 8, sources)["forward"] == pytest.approx(np.log(2), abs=0.1)
    assert learn(labelled, [RISING] * 8, ["a"] * 8) == {}


def test_weights_are_pulled_to_nothing() -> None:
    assert 0 < learn([MANY], [RISING], ["a"])["forward"] < 10  # though all that is known is in favour
    assert learn([saying((1, 0)), saying((0, 1))], [RISING] * 2, ["a"] * 2) == {}


@pytest.mark.usefixtures("unpulled")
def test_without_other_evidence_less_is_sure() -> None:
    labelled, seen, sources = world(400, PLANTED)
    assert 0 < learn(labelled, seen, sources, using=("overlap",))["overlap"] < 3 < PLANTED["overlap"]
    assert learn(labelled, seen, sources, using=()) == {}


@pytest.mark.parametrize("right", [[True, True], [False, False]])
def test_problems_that_tell_nothing(right: list[bool]) -> None:
    item = label_right(Problem(prompt="p", candidates=["a", "b"]), np.array(right))
    assert item.pairs.shape == (0, 2)
    assert learn([item], [evidence({"forward": np.array([1.0, 0.0])})], ["a"]) == {}
    assert learn([], [], []) == {}


def test_calibration_makes_p_best_the_share_of_right_picks() -> None:
    rng = np.random.default_rng(1)
    qualities = [rng.normal(size=5) * 2 for _ in range(600)]
    labelled = [best_known(rng, quality) for quality in qualities]
    for factor in (0.25, 1.0, 3.0):
        given = [factor * quality for quality in qualities]
        assert calibration_factor(labelled, given, ["a"] * 600) == pytest.approx(1 / factor, rel=0.15)
    # Problems that are only compared say nothing of it, and of two sources each counts half.
    sources = ["a"] * 100 + ["b"] * 500
    half = calibration_factor([*labelled, MANY], [*qualities, np.arange(9.0)], [*sources, "c"])
    stated = {
        name: np.mean([_p_best(half * q) for q, s in zip(qualities, sources, strict=True) if s == name])
        for name in ("a", "b")
    }
    picks = [right_share(item, quality) for item, quality in zip(labelled, qualities, strict=True)]
    assert (stated["a"] + stated["b"]) / 2 == pytest.approx((np.mean(picks[:100]) + np.mean(picks[100:])) / 2, abs=1e-6)
    assert calibration_factor([MANY], [np.arange(9.0)], ["c"]) == 1.0


def test_calibration_is_of_options() -> None:
    """Two of three vote for 3, and are right in four of five problems: P(best) of 3 is 0.8."""
    texts = ["1 + 2 = 3. The answer is 3.", "It is 3. The answer is 3.", "I think 4. The answer is 4."]
    quality = np.array([0.1, 0.1, 0.0])
    rights = [np.array([True, True, False])] * 8 + [np.array([False, False, True])] * 2
    labelled = [label_right(Problem(prompt=f"{i}?", candidates=texts), right) for i, right in enumerate(rights)]
    factor = calibration_factor(labelled, [quality] * 10, ["a"] * 10)
    assert factor == pytest.approx(np.log(2) / 0.1, rel=1e-3)  # 2 * 2 to 1
    # A text counts once, however often it occurs.
    problem = Problem(prompt="p", candidates=["a " * 30, "b " * 30, "b " * 30])
    twice = [
        label_right(problem, np.array([is_first, not is_first, not is_first])) for is_first in [True] * 8 + [False] * 2
    ]
    factor = calibration_factor(twice, [np.array([0.2, 0.0, 0.0])] * 10, ["a"] * 10)
    assert factor == pytest.approx(np.log(4) / 0.2, rel=1e-3)


def _p_best(quality: FloatArray) -> float:
    p = np.exp(quality - quality.max())
    return float(p.max() / p.sum())


def test_scaled() -> None:
    assert scale({"overlap": 1.0, "vote": -0.33333}, 3.0) == {"overlap": 3.0, "vote": -1.0}


def test_right_share_of_a_pool_is_whether_the_pick_is_right() -> None:
    problem = Problem(prompt="p", candidates=list("abcd"))
    right = np.array([True, False, False, True])
    item = LabelledProblem(problem=problem, pairs=np.array([[0, 1]]), right=right)
    assert right_share(item, np.array([2.0, 1.0, 0.0, 0.0])) == 1.0
    assert right_share(item, np.array([0.0, 1.0, 0.0, 0.0])) == 0.0
    assert right_share(item, np.array([1.0, 1.0, 0.0, 0.0])) == 0.5
    assert right_share(item, np.array([1.0, 1.0, 1.0, 1.0 - 1e-12])) == 0.5
    assert right_share(item, np.array([1.0, 1.0, 1.0, 0.0])) == pytest.approx(1 / 3)


def test_right_share_of_others_is_the_pairs_in_order() -> None:
    problem = Problem(prompt="p", candidates=list("abc"))
    item = LabelledProblem(problem=problem, pairs=np.array([[0, 1], [1, 2], [0, 2], [0, 2]]))
    assert right_share(item, np.array([3.0, 2.0, 1.0])) == 1.0
    assert right_share(item, np.array([1.0, 2.0, 3.0])) == 0.0
    assert right_share(item, np.array([2.0, 2.0 + 1e-12, 3.0])) == 0.125  # a tie is half
    assert right_share(item, np.zeros(3)) == 0.5
