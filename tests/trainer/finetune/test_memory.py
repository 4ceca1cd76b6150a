"""The estimate of memory holds against XLA's own count, and parts of a batch follow from it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from small_training import MESH, SMALL, checkpoint, fresh, some

from flame_rank.errors import UserError
from trainer.finetune import base_model, malloc, memory
from trainer.finetune.step import collate, fitting_parts
from trainer.finetune.tokenized_rows import Row, TokenizedRows
from trainer.finetune.training import Training


@pytest.mark.full
@pytest.mark.parametrize("options", [{}, {"lora": 2, "freeze": 1}], ids=str)
def test_memory_is_estimated(options: dict[str, Any], tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"num_hidden_layers": 3, "hidden_size": 64, "intermediate_size": 256}
    base = base_model.load(checkpoint(tmp_path / "base", **sizes), MESH)
    training = Training(base, replace(SMALL, **options), MESH)
    counted = []
    for length in (128, 256):
        batch = collate([Row(np.ones(length - 8, np.int32), np.ones(8, np.int32))] * 8, 1, joined=True)
        lowered = training.program.lower(training.state, training.frozen, batch, jax.random.key(0), 1e-3)
        compiled = lowered.compile(compiler_options={"xla_backend_optimization_level": 0})
        counted.append(compiled.memory_analysis().temp_size_in_bytes)
    a_token = (counted[1] - counted[0]) / (8 * 128)
    assert a_token < memory.token(base, training.recipe, 256) < 3 * a_token


def test_too_little_memory_is_told_and_little_is_enough(
    base: base_model.Base, rows: TokenizedRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    least = memory.weights(base, SMALL) + 320 * memory.token(base, SMALL, 320)
    monkeypatch.setattr(malloc, "memory", lambda: (least - 1) * jax.local_device_count())
    with pytest.raises(UserError, match=r"GiB more, and there are only 0.0 GiB; --lora"):
        Training(base, SMALL, MESH)
    monkeypatch.setattr(malloc, "memory", lambda: least * jax.local_device_count())
    little = Training(fresh(base), SMALL, MESH)
    assert little.room == 320
    monkeypatch.undo()
    much = Training(fresh(base), SMALL, MESH)
    examples = some(rows, *range(8))
    assert fitting_parts(examples, little.room, joined=True) > 1 == fitting_parts(examples, much.room, joined=True)
    assert float(little.step(examples).loss) == pytest.approx(float(much.step(examples).loss), rel=1e-5)
