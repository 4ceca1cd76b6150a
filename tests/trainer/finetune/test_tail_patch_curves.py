"""The rules of ratings on given curves, and curves that do not compare."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame_rank.errors import UserError
from flame_rank.io.writing import write_whole
from trainer.collection import tasks
from trainer.collection.mixture_options import THRESHOLDS
from trainer.finetune.tail_patch_curves import (
    CATEGORIES,
    KEEPS,
    LAST,
    POINTS,
    SIGNIFICANT,
    BoolArray,
    Curve,
    curve_file,
    rate,
    read_curves,
    read_right,
    table,
    write_right,
)

BASE, COUNT = 600, 1000  # right answers of the base, of so many


def evaluation(gained: int, lost: int, count: int = COUNT, base: int = BASE) -> BoolArray:
    """Answers after so many wrong ones became right and right ones wrong."""
    right = np.arange(count) < base
    right[base : base + gained] = True
    right[base - lost : base] = False
    return right


def rating(*flips: tuple[int, int], count: int = COUNT, base: int = BASE) -> int:
    rows = [evaluation(gained, lost, count, base) for gained, lost in ((0, 0), *flips)]
    return rate(np.stack(rows)).rating


def test_the_four_ratings() -> None:
    assert rating(*[(100, 0)] * 3) == 2
    assert rating((100, 0), (20, 0), *[(100, 0)] * 3) == 1  # it fell back to a fifth of the change
    assert rating((0, 100), (0, 50), *[(100, 0)] * 3) == 2  # before it is reached it may fall
    assert rating(*[(0, 100)] * 3) == -1
    assert rating(*[(0, 0)] * 3) == 0


def test_only_flips_count() -> None:
    assert rating(*[(60, 40)] * 3) == 2  # 20 of 100 flips: 2 standard errors
    assert rating(*[(125, 100)] * 3) == 1  # 25 of 225: 1.7 standard errors
    assert rating(*[(130, 110)] * 3) == 0  # 20 of 240: 1.3 standard errors
    assert rating(*[(55, 50)] * 3) == 0  # half a standard error
    assert rating(*[(40, 60)] * 3) == -1
    assert rating(*[(110, 130)] * 3) == 0
    assert rating(*[(30, 0)] * 3) == 2  # two independent samples would be 1.4 standard errors apart
    assert rating(*[(15, 0)] * 3) == 1  # sure, and too small to be helpful
    assert rating(*[(0, 15)] * 3) == 0
    assert rating(*[(3, 0)] * 3, count=20, base=10) == 1  # three flips may be chance
    assert rating(*[(4, 0)] * 3, count=20, base=10) == 2


def test_the_last_evaluations_are_put_together() -> None:
    rows = np.array([[1, 0, 0], [0, 0, 0], [1, 1, 0], [1, 1, 0], [1, 0, 1]], bool)
    assert rate(rows).score == pytest.approx(100 * 6 / 9)


@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(1, 200))
def test_what_a_rating_stands_for(seed: int, evaluations: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    right = rng.random((evaluations, count)) < rng.random((evaluations, 1))
    found, shares = rate(right), right.mean(1)
    change = float(right[1:][-LAST:].mean() - shares[0])
    flips = right[1:][-LAST:].mean(0) - right[0]
    error = float(np.sqrt((flips**2).sum())) / count
    assert found.rating in (-1, 0, 1, 2)
    if found.rating > 0:
        assert change > 0
    if found.rating in (2, -1):
        assert abs(change) >= max(SIGNIFICANT * error, POINTS / 100) - 1e-9
    if found.rating == 2:
        reached = next(k for k, share in enumerate(shares[1:]) if share - shares[0] >= change - 1e-9)
        assert all(share - shares[0] >= KEEPS * change - 1e-9 for share in shares[1:][reached:])
    if found.rating == -1:  # what is harmful is helpful, or helpful for a while, seen from the other side
        assert rate(~right).rating > 0
    assert rate(right[:, rng.permutation(count)]).rating == found.rating
    assert found.rating == 0 or rate(np.tile(right, 4)).rating * found.rating > 0  # more examples: as sure


def test_a_curve_holds_every_answer(tmp_path: Path) -> None:
    measured = {0: {"chat": evaluation(0, 0, 13, 7)}, 30: {"chat": evaluation(2, 1, 13, 7)}}
    for step, right in measured.items():
        write_right(tmp_path, step, right)
    curve = Curve.of("x", {}, read_right(tmp_path))
    assert curve.steps == [0, 30] and curve.examples == {"chat": 13} and curve.is_whole()
    np.testing.assert_array_equal(curve.answers("chat"), np.stack([right["chat"] for right in measured.values()]))
    assert curve.accuracies == {"chat": [7 / 13, 8 / 13]}
    shown = table([curve], {"chat": 50.0, "code": 84.0})  # as far as categories are measured
    assert shown[0].split() == ["task", "chat", "sum", "bundles"] and shown[-1].endswith("above chat 50")
    assert not replace(curve, right={"chat": ["fe00", "fe"]}).is_whole()
    assert not replace(curve, right={"chat": ["fe00", "nothing"]}).is_whole()


def test_the_categories_are_rewardbenchs() -> None:
    parts = [name for names in CATEGORIES.values() for name in names]
    assert sorted(parts) == sorted(task.name for task in tasks.TASKS if task.name.startswith("rewardbench-"))
    assert list(CATEGORIES) == list(THRESHOLDS)
    full = {c: sum(tasks.by_name(name).full or 0 for name in names) for c, names in CATEGORIES.items()}
    assert full == {"chat": 358, "chat-hard": 456, "code": 984, "math": 447, "safety": 740}  # Lambert et al., Table 1


def test_curves_that_do_not_compare_are_refused(tmp_path: Path) -> None:
    for name, steps in (("a", 3), ("b", 4)):
        curve = {"task": name, "setup": {"steps": steps}, "examples": {}, "steps": [0, 3], "right": {}}
        write_whole(curve_file(tmp_path, name), json.dumps(curve))
    with pytest.raises(UserError, match="another steps; they cannot be compared"):
        read_curves(tmp_path)
    write_whole(curve_file(tmp_path, "a"), "{}")
    with pytest.raises(UserError, match=r"holds something else than it should .*delete it and measure again"):
        read_curves(tmp_path)
