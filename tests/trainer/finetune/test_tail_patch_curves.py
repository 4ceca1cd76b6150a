"""The rules of ratings on given curves, and curves that do not compare."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame_rank.errors import UserError
from flame_rank.io.writing import write_whole
from trainer.collection import tasks
from trainer.collection.mixture import THRESHOLDS
from trainer.finetune.tail_patch_curves import (
    CATEGORIES,
    KEEPS,
    LAST,
    POINTS,
    SIGNIFICANT,
    curve_file,
    rate,
    read_curves,
)


def rating(*accuracies: float, examples: int = 1000) -> int:
    return rate(accuracies, examples).rating


def test_the_four_ratings() -> None:
    assert rating(0.6, 0.7, 0.7, 0.7) == 2
    assert rating(0.6, 0.7, 0.62, 0.7, 0.7, 0.7) == 1  # it fell back to a fifth of the change
    assert rating(0.6, 0.5, 0.55, 0.7, 0.7, 0.7) == 2  # before it is reached it may fall
    assert rating(0.6, 0.63, 0.63, 0.63) == 1  # 1.4 standard errors
    assert rating(0.6, 0.7, 0.7, 0.7, examples=50) == 1  # 1.05 standard errors
    assert rating(0.6, 0.61, 0.61, 0.61) == 0  # 0.5 standard errors
    assert rating(0.6, 0.5, 0.5, 0.5) == -1
    assert rating(0.6, 0.57, 0.57, 0.57) == 0
    assert rating(0.6, 0.615, 0.615, 0.615, examples=10**6) == 1  # sure, and too small to be helpful
    assert rating(0.6, 0.585, 0.585, 0.585, examples=10**6) == 0
    assert rate([0.6, 0.9, 0.7, 0.8, 0.9], 9).score == pytest.approx(80)  # the mean of the last three


SHARES = st.floats(0, 1)


@given(st.lists(SHARES, min_size=2, max_size=12), st.integers(1, 10**6))
def test_what_a_rating_stands_for(accuracies: list[float], examples: int) -> None:
    found, base = rate(accuracies, examples), accuracies[0]
    after = float(np.mean(accuracies[1:][-LAST:]))
    change, error = after - base, np.sqrt((base * (1 - base) + after * (1 - after)) / examples)
    assert found.score == pytest.approx(100 * after)
    assert found.rating in (-1, 0, 1, 2)
    if found.rating > 0:
        assert change > 0
    if found.rating in (2, -1):
        assert abs(change) >= max(SIGNIFICANT * error, POINTS / 100) - 1e-9
    if found.rating == 2:
        later = accuracies[1:]
        reached = next(k for k, one in enumerate(later) if one - base >= change - 1e-9)
        assert all(one - base >= KEEPS * change - 1e-9 for one in later[reached:])
    if found.rating == -1:  # what is harmful is helpful, or helpful for a while, seen from the other side
        assert rate([1 - one for one in accuracies], examples).rating > 0
    assert found.rating == 0 or rate(accuracies, 4 * examples).rating * found.rating > 0  # more examples: as sure


@given(SHARES, st.integers(1, 12), st.integers(1, 10**6))
def test_no_change_has_no_effect(share: float, count: int, examples: int) -> None:
    assert rate([share] * (count + 1), examples).rating == 0


def test_the_categories_are_rewardbenchs() -> None:
    parts = [name for names in CATEGORIES.values() for name in names]
    assert sorted(parts) == sorted(task.name for task in tasks.TASKS if task.name.startswith("rewardbench-"))
    assert list(CATEGORIES) == list(THRESHOLDS)
    full = {c: sum(tasks.by_name(name).full or 0 for name in names) for c, names in CATEGORIES.items()}
    assert full == {"chat": 358, "chat-hard": 456, "code": 984, "math": 447, "safety": 740}  # Lambert et al., Table 1


def test_curves_that_do_not_compare_are_refused(tmp_path: Path) -> None:
    for name, steps in (("a", 3), ("b", 4)):
        curve = {"task": name, "setup": {"steps": steps}, "examples": {}, "steps": [0, 3], "accuracies": {}}
        write_whole(curve_file(tmp_path, name), json.dumps(curve))
    with pytest.raises(UserError, match="another steps; they do not compare"):
        read_curves(tmp_path)
    write_whole(curve_file(tmp_path, "a"), "{}")
    with pytest.raises(UserError, match=r"holds something else than it should .*delete it and measure again"):
        read_curves(tmp_path)
