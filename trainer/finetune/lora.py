"""Low-rank adaptation (Hu et al. 2021): a frozen weight W [out, in] plus (alpha / rank) B A, of which A [rank, in] and
B [out, rank] are trained. Adapters are saved merged into W, or in the form of the library PEFT, which
flame_rank/model/adapter.py reads."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from flame_rank.model import safetensors_file
from flame_rank.model.adapter import tensor_name
from flame_rank.model.adapter_config import CONFIG, WEIGHTS
from flame_rank.model.choices import Responses
from flame_rank.model.config import RESPONSES

Params = Any  # nnx.State
Adapters = dict[str, dict[str, jax.Array]]  # tensor name -> "A", "B"

TARGETS = re.compile(r"(_proj|Attention\.[qkvo]|\.wi(_0|_1)?|\.wo)\.weight$")  # every matrix inside the layers
_LAYER = re.compile(r"model\.layers\.(\d+)\.")
ALPHA = 2  # alpha / rank: the weight of an adapter does not depend on the rank


def is_frozen(path: tuple[Any, ...], freeze: int) -> bool:
    """Tells whether a decoder's parameter is one of its embeddings or of its `freeze` lowest layers."""
    return freeze > 0 and ("embed_tokens" in path or ("layers" in path and path[path.index("layers") + 1] < freeze))


def start(params: Params, rank: int, seed: int, *, freeze: int = 0) -> Adapters:
    """Makes adapters that change nothing yet: A is normal with variance 1 / in, and B is 0.

    Args:
      freeze: the number of lowest layers that, with the embeddings, get no adapters.
    """
    adapters: Adapters = {}
    for number, (path, leaf) in enumerate(nnx.to_flat_state(params)):
        name = ".".join(map(str, path))
        if TARGETS.search(name) and not is_frozen(path, freeze):
            out, into = leaf.shape
            key = jax.random.fold_in(jax.random.key(seed), number)
            adapters[name] = {"A": jax.random.normal(key, (rank, into)) * into**-0.5, "B": jnp.zeros((out, rank))}
    return adapters


def attach(model: Any, adapters: Mapping[str, Mapping[str, jax.Array]]) -> None:
    """Attaches adapters to a model's matrices without computing their sums, which would be as large as the weights."""
    for name, adapter in adapters.items():
        layer = model
        for part in name.split(".")[:-1]:
            layer = layer[int(part)] if part.isdecimal() else getattr(layer, part)
        layer.adapter = adapter["A"], ALPHA * adapter["B"]


def merged(adapters: Mapping[str, Mapping[str, jax.Array]], params: Params) -> Params:
    """Adds adapters to the parameters, and returns the sums."""
    tree = jax.tree.map(lambda leaf: leaf, params)  # a copy, whose leaves may be set
    for path, leaf in nnx.to_flat_state(tree):
        adapter = adapters.get(".".join(map(str, path)))
        if adapter is not None:
            leaf.set_value(leaf[...] + ALPHA * (adapter["B"] @ adapter["A"]).astype(leaf.dtype))
    return tree


def _layers(adapters: Adapters) -> list[int] | None:
    """Returns the numbers of the layers that have adapters; None if all layers have one, or the model is a T5."""
    numbers = sorted({int(match[1]) for name in adapters if (match := _LAYER.match(name))})
    return numbers if numbers and numbers[0] else None


def save_peft(adapters: Adapters, base: str, folder: Path, responses: Responses = "joint") -> None:
    """Writes a folder that `flame-rank rerank --judge` and PEFT read.

    Args:
      base: the path of the model on which the adapters were trained, or its name on the hub.
      responses: the form in which they were trained to read comparisons.
    """
    rank = next(iter(adapters.values()))["A"].shape[0]
    modules = sorted({name.rsplit(".", 2)[-2] for name in adapters})
    config = {
        "peft_type": "LORA",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": ALPHA * rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": modules,
        "layers_to_transform": _layers(adapters),
        "task_type": "SEQ_2_SEQ_LM" if any("Attention." in name for name in adapters) else "CAUSAL_LM",
    }
    if responses != "joint":
        config[RESPONSES] = responses
    tensors = {
        tensor_name(name.removesuffix(".weight"), side): np.asarray(adapter[side], np.float32)
        for name, adapter in adapters.items()
        for side in ("A", "B")
    }
    folder.mkdir(parents=True, exist_ok=True)
    safetensors_file.write(folder / WEIGHTS, tensors)
    (folder / CONFIG).write_text(json.dumps(config, indent=1) + "\n")
