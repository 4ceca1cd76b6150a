"""How a judge is trained: the paper's numbers (section 3.5) are the defaults."""

from dataclasses import dataclass
from typing import Any, Literal

import optax

DROPOUT = 0.05  # section 3.5
STEPS = {"flame": 60_000, "flame-rm": 3_000}  # section 3.5


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The numbers of a training.

    Attributes:
      steps: of the optimiser.
      batch: examples of a step.
      rate: the learning rate, at its highest.
      schedule: constant, or falling to 0 along a cosine or a line.
      warmup: steps in which the rate rises from 0.
      dropout: of what every sublayer adds; a base that was trained without does not bear it.
      max_input, max_target: tokens; what is longer is cut.
      accumulate: parts in which a batch is computed one after the other; the result is the same. None = as memory has
        room.
      clip: the norm to which gradients are cut down; None = they are not.
      lora: rank of low-rank adapters; 0 = all parameters are trained.
      freeze: the lowest layers of a decoder that stay as they are, and the embeddings with them; 0 = none.
      dtype: of the computation; parameters and moments are float32.
      by_length: batches of rows of like length: less padding; but tasks are mixed less within a batch.
      recompute: compute layers again for their gradients, for less memory.
      seed: of the examples' order, of dropout and of adapters.
    """

    steps: int = STEPS["flame"]
    batch: int = 8
    rate: float = 1e-4
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    warmup: int = 0
    dropout: float = DROPOUT
    max_input: int = 2048
    max_target: int = 1024
    accumulate: int | None = None
    clip: float | None = None
    lora: int = 0
    freeze: int = 0
    dtype: Literal["float32", "bfloat16"] = "float32"
    by_length: bool = False
    recompute: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "max_input", "max_target", "accumulate"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} is {value}; it is 1 or more")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}; it is at least 0 and less than 1")
        if self.accumulate and self.batch % self.accumulate:
            raise ValueError(f"a batch of {self.batch} does not divide into {self.accumulate} equal parts")


def optimiser(recipe: Recipe) -> optax.GradientTransformation:
    """Adam with the recipe's rate."""
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
