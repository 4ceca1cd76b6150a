"""Fine-tunes the default judge's encoder on comparisons: pairwise logistic loss on the difference of two qualities."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from flame_rank.model import buckets, checkpoint
from flame_rank.model.encoder import Encoder
from flame_rank.model.tokenizer import Row, RowTokenizer, pad
from trainer.comparisons import Comparison
from trainer.sampling import Mixture


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the encoder is trained.

    Attributes:
      steps: optimiser steps; the learning rate rises over the first tenth and falls to 0 over the rest.
      pairs: comparisons a step.
      length: tokens of a row in training; the judge reads longer ones.
    """

    steps: int = 360
    pairs: int = 16
    rate: float = 1.5e-4
    weight_decay: float = 0.01
    length: int = 192
    max_prompt: int = 80
    seed: int = 0


def optimiser(recipe: Recipe) -> optax.GradientTransformation:
    warmup = max(1, recipe.steps // 10)
    rate = optax.warmup_cosine_decay_schedule(0.0, recipe.rate, warmup, max(recipe.steps, warmup + 1))
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=recipe.weight_decay))


def loss(graph: Any, params: Any, tokens: jax.Array, types: jax.Array) -> tuple[jax.Array, jax.Array]:
    """tokens, types: [2P, T], the better answers first -> the mean loss in nats, and the share judged rightly."""
    quality, _ = nnx.merge(graph, params)(tokens, types)
    better, worse = jnp.split(quality, 2)
    return jax.nn.softplus(worse - better).mean(), (better > worse).mean()


@partial(jax.jit, static_argnums=(0, 1), donate_argnums=(2, 3))
def _step(graph: Any, tx: Any, params: Any, state: Any, tokens: jax.Array, types: jax.Array) -> Any:
    (value, right), gradients = jax.value_and_grad(partial(loss, graph), has_aux=True)(params, tokens, types)
    updates, state = tx.update(gradients, state, params)
    return optax.apply_updates(params, updates), state, value, right


def rows(tokenizer: RowTokenizer, comparisons: Sequence[Comparison]) -> list[Row]:
    """The better answers' rows, then the worse ones'."""
    pairs = [tokenizer.rows(c.prompt, [c.better, c.worse]) for c in comparisons]
    return [pair[side] for side in (0, 1) for pair in pairs]


def fit(
    encoder: Encoder,
    tokenizer: RowTokenizer,
    mixture: Mixture,
    recipe: Recipe,
    *,
    state: Path | None = None,
    say: Callable[[str], None] = print,
) -> Encoder:
    """Trains and returns the encoder; the one passed in is used up.

    Args:
      state: where the run is kept every 100 steps, and taken up again.
      say: told of the progress, a line every 20 steps.
    """
    graph, params = nnx.split(encoder)
    tx = optimiser(recipe)
    held = tx.init(params)
    start = 0
    if state and state.exists():
        kept = checkpoint.load(state)
        start = kept.pop("step").item()
        fresh, structure = jax.tree.flatten((params, held))
        # A file keeps a number as an array of one.
        leaves = [jnp.asarray(kept[str(i)]).reshape(leaf.shape) for i, leaf in enumerate(fresh)]
        params, held = jax.tree.unflatten(structure, leaves)
        say(f"taken up at step {start}")
    began, losses, rights = time.monotonic(), [], []
    for step in range(start, recipe.steps):
        read = rows(tokenizer, mixture.batch(recipe.seed, step, recipe.pairs))
        length = buckets.length(max(len(row.tokens) for row in read))
        tokens, types = pad(read, len(read), length)
        params, held, value, right = _step(graph, tx, params, held, tokens, types)
        losses.append(float(value))
        rights.append(float(right))
        done = step + 1
        if done % 20 == 0 or done == recipe.steps:
            left = (time.monotonic() - began) / (done - start) * (recipe.steps - done)
            say(
                f"step {done}/{recipe.steps}  loss {np.mean(losses[-100:]):.3f}  "
                f"right {np.mean(rights[-100:]):.3f}  {left / 60:.0f} min left"
            )
        if state and done % 100 == 0:
            arrays = {str(i): np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves((params, held)))}
            checkpoint.save(arrays | {"step": np.array(done)}, state)
    return nnx.merge(graph, params)
