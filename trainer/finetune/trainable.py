"""Selects the parameters of a model that are trained: all of them, those above its lowest layers, or low-rank adapters.

The loss is differentiated with respect to the trained parameters only, so that no gradient is computed for the others
or the layers below them.
"""

from typing import Any, TypeAlias

from flax import nnx

from trainer.finetune import lora
from trainer.finetune.recipe import Recipe

Params: TypeAlias = Any  # nnx.State
Trained: TypeAlias = Any  # nnx.State, or lora.Adapters


def split(graph: Any, params: Params, recipe: Recipe) -> tuple[Trained, Params]:
    """Splits a model into the parameters that are trained and those that are frozen."""
    if recipe.lora:
        return lora.start(params, recipe.lora, recipe.seed, freeze=recipe.freeze), params
    if recipe.freeze:
        parts: Any = nnx.split(nnx.merge(graph, params), lambda path, _: lora.is_frozen(path, recipe.freeze), ...)
        return parts[2], parts[1]
    return params, {}


def assembled(graph: Any, trained: Trained, frozen: Params) -> Any:
    """Joins the two results of `split` into a model."""
    if isinstance(trained, nnx.State):
        return nnx.merge(graph, trained, frozen)
    model = nnx.merge(graph, frozen)
    lora.attach(model, trained)
    return model


def params(graph: Any, trained: Trained, frozen: Params) -> Params:
    """Joins the two results of `split` into all parameters of the model, with adapters merged into them."""
    if isinstance(trained, nnx.State):
        return nnx.split(nnx.merge(graph, trained, frozen))[1]
    return lora.merged(trained, frozen)
