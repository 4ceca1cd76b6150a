"""The likeliest label decides."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from flax import nnx
from small_training import MESH, SMALL, fresh

from trainer.finetune import base_model
from trainer.finetune.batches import collate
from trainer.finetune.evaluation import accuracy
from trainer.finetune.step import losses
from trainer.finetune.tokenized_rows import TokenizedRows
from trainer.finetune.training import Training


def test_the_likelihood_of_labels_decides(base: base_model.Base, rows: TokenizedRows) -> None:
    training = Training(fresh(base), SMALL, MESH)
    model, right, rows = nnx.merge(base.graph, base.params), 0, replace(rows, index=rows.index[:8])
    for k in range(len(rows)):
        of_input, _, label = rows[k]
        costs = [
            float(
                losses(
                    model, jax.tree.map(lambda x: x[0], collate([(of_input, np.array(ids, np.int32))], 1, joined=True))
                )[0][0, : len(ids)].sum()
            )
            for ids in rows.label_ids
        ]
        right += int(np.argmin(costs)) == label
    assert accuracy(training, rows) == right / len(rows)
    with pytest.raises(ValueError, match="no labels"):
        accuracy(training, replace(rows, labels=()))
