"""The optimiser of a training run: Adam, with the learning rate of the recipe at each step."""

from typing import Any

import optax

from trainer.finetune.recipe import ResolvedRecipe


def make_optimiser(recipe: ResolvedRecipe) -> optax.GradientTransformation:
    """Makes Adam with the recipe's learning rate, warm-up, schedule and limit on the gradient's norm."""
    rate: Any = recipe.rate
    if recipe.schedule == "cosine":
        rate = optax.cosine_decay_schedule(recipe.rate, max(recipe.steps - recipe.warmup, 1))
    elif recipe.schedule == "linear":
        rate = optax.linear_schedule(recipe.rate, 0.0, max(recipe.steps - recipe.warmup, 1))
    if recipe.warmup:
        after = rate if callable(rate) else optax.constant_schedule(rate)
        rate = optax.join_schedules([optax.linear_schedule(0.0, recipe.rate, recipe.warmup), after], [recipe.warmup])
    adam = optax.adam(rate)
    return adam if recipe.clip is None else optax.chain(optax.clip_by_global_norm(recipe.clip), adam)
