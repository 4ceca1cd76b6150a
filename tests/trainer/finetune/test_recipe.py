"""Recipes that cannot be are refused."""

from typing import Any

import pytest

from trainer.finetune.recipe import Recipe


@pytest.mark.parametrize(
    "options",
    [
        {"steps": 0},
        {"batch": 7, "accumulate": 2},
        {"batch": 6, "share": 4},
        {"batch": 8, "share": 4, "accumulate": 4},
        {"dropout": 1.0},
        {"max_input": 0},
        {"rate": -1.0},
        {"warmup": -5},
        {"lora": -2},
        {"seed": -1},
    ],
    ids=str,
)
def test_a_recipe_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"is|divide"):
        Recipe(**options)
