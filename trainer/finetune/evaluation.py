"""Measures how often a model in training finds the annotators' label the likeliest of a task's labels."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from flax import nnx

from flame_rank.model import sharding
from trainer.finetune.step import Batch, collate, losses
from trainer.finetune.tokenized_rows import Row, TokenizedRows
from trainer.finetune.training import Training

ROWS = 16  # texts that are read at once


def accuracy(training: Training, rows: TokenizedRows) -> float:
    """Computes the share of rows whose label has the highest log-probability of the task's labels.

    Raises:
      ValueError: the task has no labels.
    """
    return float(right_answers(training, rows).mean())


def right_answers(training: Training, rows: TokenizedRows) -> npt.NDArray[np.bool_]:
    """Tells for each row [R] whether its label has the highest log-probability of the task's labels.

    Raises:
      ValueError: the task has no labels.
    """
    if not rows.labels:
        raise ValueError(f"{rows.task} has no labels to measure accuracy by")
    params = training.params()
    labels = [np.array(ids, np.int32) for ids in rows.label_ids]
    # Of comparisons in the separate form A alone is asked: it is preferred, 1, or not, 0, which is less than 0.5.
    asked = 1 if rows.separate else len(labels)
    pairs = [(k, c) for k in range(len(rows)) for c in range(asked)]
    pairs.sort(key=lambda pair: len(rows[pair[0]].source))
    scores = np.full((len(rows), len(labels)), 0.5)
    for start in range(0, len(pairs), ROWS):
        chunk = pairs[start : start + ROWS]
        examples = [rows[k]._replace(target=labels[c]) for k, c in chunk]
        padding = [Row(examples[0].source[:1], examples[0].target)] * (ROWS - len(chunk))
        batch = collate(examples + padding, 1, joined=training.base.joined)
        batch = sharding.put_global(batch, sharding.microbatches(training.mesh, ROWS))
        of_target = map(sharding.to_host, _asked(training.base.graph, params, batch))
        for (k, c), likelihood, preferred in zip(chunk, *of_target, strict=False):
            scores[k, c] = preferred if rows.separate and np.isfinite(likelihood) else likelihood
    return np.asarray((scores.argmax(1) == rows.index[:, 3]) & np.isfinite(scores).all(1))  # no answer is not right


@partial(jax.jit, static_argnums=0)
def _asked(graph: Any, params: Any, batch: Batch) -> tuple[jax.Array, jax.Array]:
    """Computes the log-probability of each row's target, [B], in nats, and whether its first token is the likeliest."""
    micro = jax.tree.map(lambda x: x[0], batch)
    costs, likeliest = losses(nnx.merge(graph, params), micro)
    counted = jnp.arange(costs.shape[1]) < micro.counts[:, None]
    return -jnp.where(counted, costs, 0.0).sum(1), likeliest[:, 0]
