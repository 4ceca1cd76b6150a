"""A task of two lines of words, a tiny base model and a short recipe: what the tests of a training share."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from checkpoints import VARIANTS, write_checkpoint
from flax import nnx
from tokenizers_tiny import write_byte_bpe, write_sentencepiece

from flame_rank.model import sharding
from trainer.collection.tasks.base import DataSet, Pair, Release, Task
from trainer.finetune import base_model
from trainer.finetune.recipe import DROPOUT, Recipe
from trainer.finetune.step import Batch, Sums, sums
from trainer.finetune.tokenized_rows import TokenizedRows

MESH = sharding.mesh(devices=jax.devices()[:1])
RECIPE = Recipe(steps=6, batch=8, rate=1e-2, dropout=DROPOUT, max_input=256, max_target=8)
SMALL = RECIPE.resolve(decoder=True, platform="cpu")


def convert(record: Any) -> Iterator[Pair]:
    yield Pair(context=(record["q"],), better=record["good"], worse=record["bad"])


TASK = Task(
    name="words",
    split="train",
    capability="safety",
    kind="pairwise",
    data=DataSet(
        folder="words",
        origin="https://example.org",
        licence="MIT",
        permissive=True,
        releases=(Release(files=("w.jsonl",), read=lambda folder: folder.jsonl("w.jsonl")),),
    ),
    title="Words",
    description="Choose.",
    fields=("prompt",),
    convert=convert,
)


def write_words(data: Path, count: int, seed: int = 0) -> Path:
    """Of two lines of words, the one with "yes" in it is the better one."""
    rng, words = np.random.default_rng(seed), ["item", "sum", "first", "second", "choice", "return", "print", "for"]
    (data / "words").mkdir(parents=True, exist_ok=True)
    with (data / "words" / "w.jsonl").open("w") as file:
        for k in range(count):
            one, two = (list(rng.choice(words, 3)) for _ in range(2))
            one[rng.integers(3)], two[rng.integers(3)] = "A", "B"
            file.write(json.dumps({"q": f"{k % 7}", "good": " ".join(one), "bad": " ".join(two)}) + "\n")
    return data


def checkpoint(folder: Path, family: str = "llama3", **sizes: Any) -> Path:
    folder.mkdir(parents=True)
    if family == "t5":
        size = write_sentencepiece(folder, "t5")
        config: dict[str, Any] = {
            "model_type": "t5",
            "d_model": 32,
            "d_ff": 48,
            "d_kv": 8,
            "num_layers": 1,
            "num_heads": 4,
        }
    else:
        size = write_byte_bpe(folder, bos=True)
        config = VARIANTS[family] | {"num_hidden_layers": 1}  # to compile a gradient takes long
    write_checkpoint(folder, {**config, **sizes, "vocab_size": size})
    return folder


def fresh(base: base_model.Base) -> base_model.Base:
    """With parameters of its own: a step takes them over."""
    copied: base_model.Base = replace(base, params=jax.tree.map(jnp.copy, base.params))
    return copied


@partial(jax.jit, static_argnums=0)
def sums_of(graph: Any, params: Any, batch: Batch) -> Sums:
    """Computes the sums of a batch, compiled as a whole: operation by operation it would be hundreds of programs."""
    return sums(nnx.merge(graph, params), batch)


def some(rows: TokenizedRows, *places: int) -> list[Any]:
    return [rows[place] for place in places]


def flat(params: Any) -> dict[str, np.ndarray]:
    return {".".join(map(str, path)): np.asarray(leaf[...]) for path, leaf in nnx.to_flat_state(params)}
