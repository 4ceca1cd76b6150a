"""Many candidates in one problem: memory is that of the comparisons, and what is too much is said with its numbers."""

import json
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import strategies
from flame_rank.errors import UserError
from flame_rank.judges.function import FunctionJudge
from flame_rank.ranking.reranker import Reranker
from flame_rank.records import Problem
from strategies import Active, Standing, by_name
from strategies.base import MOST, FloatArray, IntArray, Strategy, TooMany

COMMAND = [sys.executable, "-c", "from flame_rank.cli.group import main; main()"]


def answers(quality: FloatArray, asked: IntArray) -> FloatArray:
    """What a noisy judge, who says the same when asked again, makes of some comparisons [M, 2]."""
    first, second = asked.T
    noise = (np.minimum(first, second) * 40503 + np.maximum(first, second) * 65537) % 1009 / 1009 - 0.5
    said: FloatArray = quality[first] - quality[second] + np.where(first < second, noise, -noise)
    return said


def play(strategy: Strategy, quality: FloatArray) -> tuple[Standing, int]:
    """The standing of candidates of these qualities [n], and how many comparisons it took."""
    schedule, count = strategy.schedule(len(quality), np.random.default_rng(0)), 0
    try:
        asked = next(schedule)
        while True:
            count += len(asked)
            asked = schedule.send(answers(quality, asked))
    except StopIteration as end:
        return end.value, count


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("knockout", {}),
        ("pointwise", {}),
        pytest.param("pivot", {"budget": 60_000, "top": 3}, marks=pytest.mark.full),
        pytest.param("double-elimination", {"order": "random"}, marks=pytest.mark.full),
        pytest.param("heap", {"order": "fixed"}, marks=pytest.mark.full),
        pytest.param("active", {"budget": 25_000}, marks=pytest.mark.full),
        pytest.param("round-robin", {"budget": 60_000, "order": "random"}, marks=pytest.mark.full),
        ("swiss", {"rounds": 2}),
    ],
)
def test_memory_is_that_of_the_comparisons(name: str, options: dict[str, Any]) -> None:
    n = 20_000
    quality = np.random.default_rng(1).normal(size=n)
    tracemalloc.start()
    try:
        standing, count = play(by_name(name, **options), quality)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3_000 * n + 300 * count < n * n / 4  # bytes; a quarter of one for each pair is more
    assert sorted(standing.order.tolist()) == list(range(n)) and standing.p_best.sum() == pytest.approx(1)
    if name not in ("active", "round-robin"):  # which that budget is next to nothing for
        assert (quality > quality[standing.order[0]]).sum() < 50


@pytest.mark.full
@pytest.mark.parametrize("name", ["knockout", "double-elimination", "heap", "swiss", "merge", "window", "active"])
def test_a_hundred_thousand_candidates(name: str) -> None:
    quality = 3 * np.random.default_rng(1).normal(size=100_000)
    standing, _ = play(by_name(name), quality)
    assert standing.decided and (quality > quality[standing.order[0]]).sum() < 100


@pytest.mark.full
def test_active_takes_less_than_a_minute_of_two_thousand() -> None:
    quality = np.random.default_rng(1).permutation(2000) / 10
    start = time.process_time()
    standing, count = play(Active(), quality)
    assert time.process_time() - start < 60 and count == 8000 and standing.order[0] == quality.argmax()


@pytest.mark.parametrize(
    ("name", "options", "comparisons"),
    [
        ("round-robin", {}, 9_999_900_000),
        ("pivot", {"order": "fixed"}, 31_649_914),
        ("swiss", {"rounds": 300}, 30_000_000),
        ("active", {"confidence": 0.9}, 9_999_900_000),
        ("window", {"top": 200}, 39_959_800),
    ],
)
def test_what_is_too_much_is_refused_with_the_numbers(name: str, options: dict[str, Any], comparisons: int) -> None:
    strategy = by_name(name, **options)
    with pytest.raises(TooMany, match=f"^{name} may ask {comparisons:,} comparisons of 100,000 candidates.* budget"):
        next(strategy.schedule(100_000, np.random.default_rng(0)))
    # One that a budget keeps below goes on.
    assert len(next(by_name(name, **options, budget=200_000).schedule(100_000, np.random.default_rng(0)))) > 0


def test_no_strategy_refuses_a_thousand() -> None:
    assert all(by_name(name, top=9).comparisons(1000)[1] < MOST / 10 for name in strategies.NAMES)


def former_left(asked: IntArray, n: int, order: str) -> np.ndarray:
    """[n, n] bool, which comparisons may be asked."""
    left = np.triu(np.ones((n, n), bool), 1) if order == "fixed" else ~np.eye(n, dtype=bool)
    left[asked[:, 0], asked[:, 1]] = False
    if order != "both":
        left[asked[:, 1], asked[:, 0]] = False
    return left


@given(order=st.sampled_from(["both", "random", "fixed"]), n=st.integers(2, 12), data=st.data())
@settings(deadline=None, max_examples=100)
def test_what_active_may_ask_is_that_of_the_matrix(order: Any, n: int, data: st.DataObject) -> None:
    cells = np.argwhere(former_left(np.empty((0, 2), np.int64), n, order))
    asked = cells[data.draw(st.lists(st.integers(0, len(cells) - 1), unique=True))]
    lead = np.array(data.draw(st.lists(st.integers(0, n - 1), unique=True, min_size=1)))
    wide = data.draw(st.integers(1, n))
    active, left = Active(order=order), former_left(asked, n, order)
    done = asked if order == "both" else np.concatenate([asked, asked[:, ::-1]])
    np.testing.assert_array_equal(active._free(lead, done, n), left[np.ix_(lead, lead)])
    once = left if order == "both" else np.triu(left)  # each pair, in an order that is drawn later
    np.testing.assert_array_equal(active._next(done, n, wide), np.argwhere(once)[:wide])


def test_a_seed_of_active_throws_the_coins_of_all_pairs() -> None:
    rng = np.random.default_rng(7)
    rng.integers(2, size=(20 * 19 // 2, 1))
    ring = rng.permutation(20)
    first = next(Active(order="random").schedule(20, np.random.default_rng(7)))
    np.testing.assert_array_equal(first, np.stack([ring, np.roll(ring, -1)], axis=1))


def longer(prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
    return [float(len(first) - len(second)) for first, second in pairs]


def test_a_problem_that_is_too_large_comes_after_those_before_it(tmp_path: Path) -> None:
    small = Problem(prompt="p", candidates=["a", "ccc"])
    large = Problem(prompt="p", candidates=[str(i) for i in range(5000)], name="t9")
    judge = FunctionJudge(longer, name="longer")
    rankings = Reranker(judge, "round-robin", ledger=tmp_path / "l.db").rank_many([small, large])
    assert next(rankings).best == "ccc"
    with pytest.raises(UserError, match=r"^t9: round-robin may ask 24,995,000 comparisons of 5,000 candidates"):
        next(rankings)


@pytest.mark.parametrize(
    ("n", "name", "ledger"),
    [
        (5_000, "knockout", True),
        pytest.param(100_000, "knockout", True, marks=pytest.mark.full),
        pytest.param(100_000, "heap", False, marks=pytest.mark.full),
        pytest.param(100_000, "window", False, marks=pytest.mark.full),
    ],
)
def test_from_line_to_line(n: int, name: str, ledger: bool, tmp_path: Path) -> None:
    texts = [f"{i * 7919 % n:06}" for i in range(n)]  # 7919 is prime: all of 0 to n - 1
    (tmp_path / "in.jsonl").write_text(json.dumps({"prompt": "p", "candidates": texts}) + "\n")
    (tmp_path / "larger.py").write_text("def f(prompt, pairs):\n    return [(int(a) - int(b)) / 9 for a, b in pairs]\n")
    asked = ["rerank", "in.jsonl", "-o", "out.jsonl", "--judge", "larger.py:f", "--strategy", name]
    done = subprocess.run([*COMMAND, *asked, *(["--ledger", "l.db"] * ledger)], cwd=tmp_path, check=True, text=True)
    assert done.returncode == 0
    record = json.loads((tmp_path / "out.jsonl").read_text())
    assert sorted(record["ranking"]) == list(range(n)) and int(texts[record["best"]]) == n - 1
    assert len(record["p_best"]) == len(record["scores"]) == n and record["comparisons"] < 4 * n
