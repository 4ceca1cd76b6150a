"""The likeliest label decides."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from flax import nnx
from small_training import MESH, SMALL, fresh

from trainer.finetune import base_model
from trainer.finetune.evaluation import accuracy
from trainer.finetune.step import Batch, collate, losses
from trainer.finetune.tokenized_rows import Row, TokenizedRows
from trainer.finetune.training import Training


def alone(row: Row) -> Batch:
    batch: Batch = jax.tree.map(lambda x: x[0], collate([row], 1, joined=True))
    return batch


def test_the_likelihood_of_labels_decides(base: base_model.Base, rows: TokenizedRows) -> None:
    training = Training(fresh(base), SMALL, MESH)
    model, right, rows = nnx.merge(base.graph, base.params), 0, replace(rows, index=rows.index[:8])
    for k in range(len(rows)):
        row = rows[k]
        costs = [
            float(losses(model, alone(row._replace(target=np.array(ids, np.int32))))[0][0, : len(ids)].sum())
            for ids in rows.label_ids
        ]
        right += int(np.argmin(costs)) == int(rows.index[k, 3])
    assert accuracy(training, rows) == right / len(rows)
    broken = Training(fresh(base), SMALL, MESH)
    broken.state = broken.state._replace(trained=jax.tree.map(lambda x: x * np.nan, broken.state.trained))
    assert accuracy(broken, rows) == 0  # a model that says nothing is not right by chance
    with pytest.raises(ValueError, match="no labels"):
        accuracy(training, replace(rows, labels=()))
