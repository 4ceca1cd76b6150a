"""The learning rate of each step."""

from itertools import pairwise
from typing import Any

import pytest

from trainer.finetune.optimiser import learning_rates
from trainer.finetune.recipe import Recipe


def test_schedules() -> None:
    def rates(**options: Any) -> list[float]:
        recipe = Recipe(steps=10, rate=1.0, **options).resolve(decoder=True, platform="cpu")
        return [float(learning_rates(recipe)(step)) for step in range(10)]

    assert rates() == [1.0] * 10
    warm = rates(warmup=4, schedule="linear")
    assert warm[:5] == pytest.approx([0, 0.25, 0.5, 0.75, 1.0]) and warm[-1] < 0.2
    assert all(a >= b for a, b in pairwise(rates(schedule="cosine")))
