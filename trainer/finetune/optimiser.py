"""The optimiser of a training run: Adam, and the learning rate of each step."""

from collections.abc import Callable
from typing import Any

import optax

from trainer.finetune.recipe import ResolvedRecipe


def make_optimiser(recipe: ResolvedRecipe) -> optax.GradientTransformation:
    """Makes Adam with a learning rate of 1 and the recipe's limit on the gradient's norm.

    The learning rate of each step is an argument of the compiled step, so that runs of another length or rate use the
    same programs.
    """
    adam = optax.adam(1.0)
    return adam if recipe.clip is None else optax.chain(optax.clip_by_global_norm(recipe.clip), adam)


def learning_rates(recipe: ResolvedRecipe) -> Callable[[int], Any]:
    """Returns the learning rate of a step, counted from 0: the recipe's, with its warm-up and schedule."""
    schedule: Callable[[int], Any] = optax.constant_schedule(recipe.rate)
    if recipe.schedule == "cosine":
        schedule = optax.cosine_decay_schedule(recipe.rate, max(recipe.steps - recipe.warmup, 1))
    elif recipe.schedule == "linear":
        schedule = optax.linear_schedule(recipe.rate, 0.0, max(recipe.steps - recipe.warmup, 1))
    if recipe.warmup:
        rising = optax.linear_schedule(0.0, recipe.rate, recipe.warmup)
        schedule = optax.join_schedules([rising, schedule], [recipe.warmup])
    return schedule
