"""The learning rate of each step."""

from itertools import pairwise
from typing import Any

import jax.numpy as jnp
import pytest

from trainer.finetune.optimiser import make_optimiser
from trainer.finetune.recipe import Recipe


def test_schedules() -> None:
    def rates(**options: Any) -> list[float]:
        tx, params = (
            make_optimiser(Recipe(steps=10, rate=1.0, **options).resolve(decoder=True, platform="cpu")),
            jnp.zeros(()),
        )
        state, found = tx.init(params), []
        for _ in range(10):
            update, state = tx.update(jnp.ones(()), state, params)
            found.append(-float(update))
        return found

    assert rates() == pytest.approx([1.0] * 10, rel=1e-3)
    warm = rates(warmup=4, schedule="linear")
    assert warm[:5] == pytest.approx([0, 0.25, 0.5, 0.75, 1.0], abs=1e-3) and warm[-1] < 0.2
    assert all(a >= b for a, b in pairwise(rates(schedule="cosine")))
