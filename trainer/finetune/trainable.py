"""What of a model is trained: all of it, what is above its lowest layers, or low-rank adapters.

Only what is trained is an argument of the loss, so that no gradient is computed for the rest, nor below it.
"""

from typing import Any, TypeAlias

from flax import nnx

from trainer.finetune import lora
from trainer.finetune.recipe import Recipe

Params: TypeAlias = Any  # nnx.State
Trained: TypeAlias = Any  # nnx.State, or lora.Adapters


def split(graph: Any, params: Params, recipe: Recipe) -> tuple[Trained, Params]:
    """What is trained, and what stays as it is."""
    if recipe.lora:
        return lora.start(params, recipe.lora, recipe.seed, freeze=recipe.freeze), params
    if recipe.freeze:
        parts: Any = nnx.split(nnx.merge(graph, params), lambda path, _: lora.stays(path, recipe.freeze), ...)
        return parts[2], parts[1]
    return params, {}


def assembled(graph: Any, trained: Trained, frozen: Params) -> Any:
    """The model."""
    if isinstance(trained, nnx.State):
        return nnx.merge(graph, trained, frozen)
    model = nnx.merge(graph, frozen)
    lora.attach(model, trained)
    return model


def params(graph: Any, trained: Trained, frozen: Params) -> Params:
    """All parameters as they are now, adapters merged."""
    if isinstance(trained, nnx.State):
        return nnx.split(nnx.merge(graph, trained, frozen))[1]
    return lora.merged(trained, frozen)
