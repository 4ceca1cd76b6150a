"""Fine-tunes a base model on a mixture.

    from trainer import finetune

    finetune.train("base", data="DATA", out="judge", recipe=finetune.Recipe(steps=200, rate=1e-3))

The options are light to import; `train` imports jax when it is first used.
"""

from typing import TYPE_CHECKING, Any

from trainer.collection.mixture_options import MixtureOptions
from trainer.finetune.recipe import Recipe
from trainer.finetune.run_options import CheckpointPolicy, Devices, EvaluationOptions, ExampleOptions

if TYPE_CHECKING:
    from trainer.finetune.run import train

__all__ = [
    "CheckpointPolicy",
    "Devices",
    "EvaluationOptions",
    "ExampleOptions",
    "MixtureOptions",
    "Recipe",
    "train",
]


def __getattr__(name: str) -> Any:
    if name == "train":
        from trainer.finetune.run import train

        return train
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
