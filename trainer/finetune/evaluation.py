"""How often a model in training gives the annotators' label: the likeliest of a task's labels as whole answers."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from flame_rank.model import sharding
from trainer.finetune.batches import collate
from trainer.finetune.step import Batch, losses
from trainer.finetune.tokenized_rows import TokenizedRows
from trainer.finetune.training import Training

ROWS = 16  # texts that are read at once


def accuracy(training: Training, rows: TokenizedRows) -> float:
    """The share of rows whose label has the highest log-probability.

    Raises:
      ValueError: the task has no labels.
    """
    if not rows.labels:
        raise ValueError(f"{rows.task} has no labels to measure accuracy by")
    params, right = training.params(), 0
    labels = [np.array(ids, np.int32) for ids in rows.label_ids]
    flat = [(k, c) for k in range(len(rows)) for c in range(len(labels))]
    flat.sort(key=lambda one: len(rows[one[0]][0]))
    scores = np.zeros((len(rows), len(labels)))
    for start in range(0, len(flat), ROWS):
        some = flat[start : start + ROWS]
        examples = [(rows[k][0], labels[c]) for k, c in some]
        padding = [(examples[0][0][:1], examples[0][1])] * (ROWS - len(some))
        batch = collate(examples + padding, 1, joined=training.base.joined)
        batch = sharding.put_global(batch, sharding.microbatches(training.mesh, ROWS))
        found = sharding.to_host(_likelihood(training.base.graph, params, batch))
        for (k, c), value in zip(some, found, strict=False):
            scores[k, c] = value
    for k in range(len(rows)):
        right += int(scores[k].argmax()) == rows[k][2]
    return right / len(rows)


@partial(jax.jit, static_argnums=0)
def _likelihood(graph: Any, params: Any, batch: Batch) -> jax.Array:
    """[B], the log-probability of each row's target, in nats."""
    one = jax.tree.map(lambda x: x[0], batch)
    values, _ = losses(nnx.merge(graph, params), one)
    return -jnp.where(jnp.arange(values.shape[1]) < one.counts[:, None], values, 0.0).sum(1)
