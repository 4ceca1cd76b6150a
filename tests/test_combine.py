"""How much each source counts: the problems that it is learned on, and what is learned from them."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from flame_rank.judges.pool import Combination, Evidence, Kind
from flame_rank.records import Problem
from strategies.base import FloatArray
from trainer.combine import EVIDENCE, IMPOSSIBLE, SAMPLES, Judged, draw, group, learn, right_share
from trainer.comparisons import Comparison
from trainer.pools import Pool


def pool(number: int, right: int, wrong: int, mutants: int = 0) -> Pool:
    kinds = ["right"] * right + ["wrong"] * wrong + ["mutant"] * mutants
    return Pool(
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
    for one in drawn:
        assert one.right is not None
        assert len(one.problem.texts) == len(set(one.problem.texts)) == len(one.right) == SAMPLES == 10
        assert [text.startswith("right") for text in one.problem.texts] == one.right.tolist()
        count.append(int(one.right.sum()))
    assert set(count) == {1, 2, 3, 4, 5, 6}
    assert np.mean(count) == pytest.approx(3.5, abs=0.5)
    # The right ones stand anywhere: a judge that prefers a place learns nothing.
    assert np.mean([one.right[0] for one in drawn if one.right is not None]) == pytest.approx(0.35, abs=0.15)


def test_pairs_are_every_right_one_with_every_wrong_one() -> None:
    for one in draw([pool(1, 8, 9)], seed=0, times=20):
        assert one.right is not None
        expected = {(i, j) for i in range(10) for j in range(10) if one.right[i] and not one.right[j]}
        assert {(int(i), int(j)) for i, j in one.pairs} == expected
        assert len(one.pairs) == len(expected)
        assert one.pairs.dtype == np.int64


def test_mutants_fill_up_where_sampled_mistakes_are_too_few() -> None:
    for one in draw([pool(1, 10, 3, mutants=10)], seed=0, times=20):
        wrong = [text for text in one.problem.texts if not text.startswith("right")]
        assert sum(text.startswith("wrong") for text in wrong) == 3
        assert len(one.problem.texts) == SAMPLES
    for one in draw([pool(1, 10, 9, mutants=10)], seed=0, times=20):
        assert not any(text.startswith("mutant") for text in one.problem.texts)


@pytest.mark.parametrize("too_little", [pool(1, 9, 0), pool(1, 0, 9), pool(1, 2, 2)])
def test_draw_leaves_out_what_cannot_be_filled(too_little: Pool) -> None:
    assert draw([too_little], seed=0, times=10) == []


def test_a_pool_may_be_small() -> None:
    assert {len(one.problem.texts) for one in draw([pool(1, 1, 4)], seed=0, times=10)} == {5}


def test_draw_is_a_function_of_its_seed() -> None:
    def texts(seed: int, *pools: Pool) -> list[tuple[str, ...]]:
        return [one.problem.texts for one in draw(pools, seed=seed, times=2)]

    first, second = pool(1, 20, 20), pool(2, 20, 20)
    assert texts(0, first, second) == texts(0, first, second)
    assert texts(0, first) == texts(0, first, second)[::2]
    assert texts(0, first) != texts(1, first)
    assert texts(0, first)[0] != texts(0, first)[1]


def test_group() -> None:
    said = [("p", "a", "b"), ("q", "x", "y"), ("p", "b", "c"), ("p", "a", "c"), ("p", "c", "a")]
    one, other = group(Comparison(prompt=p, better=b, worse=w) for p, b, w in said)
    assert (one.problem.prompt, one.problem.texts) == ("p", ("a", "b", "c"))
    assert one.pairs.tolist() == [[0, 1], [1, 2], [0, 2], [2, 0]]
    assert one.right is None
    assert (other.problem.texts, other.pairs.tolist()) == (("x", "y"), [[0, 1]])
    assert group([]) == []


PLANTED = Combination(pair=1.5, encoder=1.5, overlap=4.0, cosine=0.0, vote=2.5, invalid=0.0)


def evidence(rng: np.random.Generator, n: int, kind: Kind) -> Evidence:
    return Evidence(
        encoder=rng.normal(size=n),
        overlap=rng.uniform(size=n),
        cosine=rng.uniform(-1, 1, size=n),
        vote=rng.uniform(size=n),
        valid=(rng.random(n) < 0.9).astype(np.float64),
        kind=kind,
        truncated=0,
    )


def judged(rng: np.random.Generator, quality: FloatArray) -> Judged:
    """All pairs of a problem, decided at random with the odds that the qualities give."""
    n = len(quality)
    pairs = []
    for i in range(n):
        for j in range(i):
            first = rng.random() < 1 / (1 + np.exp(quality[j] - quality[i]))
            pairs.append((i, j) if first else (j, i))
    problem = Problem(prompt="p", candidates=[f"c{i}" for i in range(n)])
    return Judged(problem=problem, pairs=np.array(pairs, np.int64))


def world(count: int, weights: Combination, kind: Kind = "answers") -> tuple[list[Judged], list[Evidence]]:
    rng = np.random.default_rng(0)
    seen = [evidence(rng, 6, kind) for _ in range(count)]
    return [judged(rng, one.quality(weights)) for one in seen], seen


def test_learns_the_weights_that_made_the_pairs() -> None:
    learned = learn(*world(300, PLANTED))
    assert learned.encoder == pytest.approx(PLANTED.encoder, rel=0.15)
    assert learned.overlap == pytest.approx(PLANTED.overlap, rel=0.15)
    assert learned.vote == pytest.approx(PLANTED.vote, rel=0.15)
    assert 0 <= learned.cosine < 0.1
    assert learned.pair == learned.encoder


def test_a_program_that_cannot_be_right_counts_what_it_counts() -> None:
    planted = msgspec.structs.replace(PLANTED, invalid=IMPOSSIBLE)
    of, seen = world(300, planted, "code")
    learned = learn(of, seen)
    assert learned.invalid == IMPOSSIBLE == 10
    # The other sources are learned beside it: it is not theirs to explain why such a program is the worse one.
    for source in ("encoder", "overlap", "vote"):
        assert getattr(learned, source) == pytest.approx(getattr(planted, source), rel=0.2)
    prose = learn(of, [replace(one, kind="prose") for one in seen])
    assert prose.invalid == 0
    assert prose.overlap < learned.overlap - 0.5
    assert learn(of[:3], [*seen[:2], replace(seen[2], kind="prose")], steps=1).invalid == 0  # not all are programs


def test_nothing_counts_below_zero() -> None:
    against = Combination(pair=-2.0, encoder=-2.0, overlap=-3.0, cosine=1.0, vote=-1.0, invalid=0.0)
    learned = learn(*world(100, against))
    for source in ("encoder", "overlap", "vote"):
        assert 0 <= getattr(learned, source) < 0.1
    assert learned.cosine > 0.15


def test_sources_left_out_do_not_count() -> None:
    learned = learn(*world(100, PLANTED), using=("encoder", "cosine"))
    assert (learned.overlap, learned.vote, learned.invalid) == (0.0, 0.0, 0.0)
    assert learned.encoder > 0.5
    nothing = Combination(pair=0.0, invalid=0.0, **dict.fromkeys(EVIDENCE, 0.0))
    assert learn(*world(3, PLANTED), using=(), steps=2) == nothing


def test_each_problem_counts_once() -> None:
    flat = np.zeros(9)
    seen = Evidence(
        encoder=np.arange(9.0), overlap=flat, cosine=flat, vote=flat, valid=flat + 1, kind="prose", truncated=0
    )

    def saying(*pairs: tuple[int, int]) -> Judged:
        problem = Problem(prompt="p", candidates=[str(i) for i in range(9)])
        return Judged(problem=problem, pairs=np.array(pairs, np.int64))

    many = [saying(*[(i + 1, i) for i in range(8)])]  # the encoder is right eight times in one problem
    few = [saying((0, 1)), saying((3, 4))]  # and wrong once in each of two
    against = learn([*many, *few], [seen] * 3, using=("encoder",))
    assert against.encoder < 0.05
    # Two problems against one, all pairs as far apart: log 2.
    in_favour = learn([*many, saying((1, 0)), saying((3, 4))], [seen] * 3, using=("encoder",))
    assert in_favour.encoder == pytest.approx(np.log(2), abs=0.02)


def test_right_share_of_a_pool_is_whether_the_pick_is_right() -> None:
    problem = Problem(prompt="p", candidates=list("abcd"))
    right = np.array([True, False, False, True])
    one = Judged(problem=problem, pairs=np.array([[0, 1]]), right=right)
    assert right_share(one, np.array([2.0, 1.0, 0.0, 0.0])) == 1.0
    assert right_share(one, np.array([0.0, 1.0, 0.0, 0.0])) == 0.0
    assert right_share(one, np.array([1.0, 1.0, 0.0, 0.0])) == 0.5
    assert right_share(one, np.array([1.0, 1.0, 1.0, 1.0 - 1e-12])) == 0.5
    assert right_share(one, np.array([1.0, 1.0, 1.0, 0.0])) == pytest.approx(1 / 3)


def test_right_share_of_others_is_the_pairs_in_order() -> None:
    problem = Problem(prompt="p", candidates=list("abc"))
    one = Judged(problem=problem, pairs=np.array([[0, 1], [1, 2], [0, 2], [0, 2]]))
    assert right_share(one, np.array([3.0, 2.0, 1.0])) == 1.0
    assert right_share(one, np.array([1.0, 2.0, 3.0])) == 0.0
    assert right_share(one, np.array([2.0, 2.0 + 1e-12, 3.0])) == 0.125  # a tie is half
    assert right_share(one, np.zeros(3)) == 0.5
