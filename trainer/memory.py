"""How much of a batch a training computes at once: a stated rule, checked against XLA's own count in its test.

For the gradient every matrix keeps what goes in and what comes out of it; what is trained has, beside itself, a part's
gradient, the sum of them and two moments. A quarter of the memory that is left beside those is for a batch.
"""

import math
import re
from collections import defaultdict
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from flame_rank.errors import UserError
from flame_rank.model import sharding
from trainer import heap, lora
from trainer.recipe import Recipe

_COPIES, _SHARE = 4, 4
_BESIDE = 2  # norms, activations and what attention keeps are as much again
_EMBEDDINGS = re.compile(r"(embed_tokens|shared)\.weight$")


def room(params: Any, recipe: Recipe, mesh: Mesh, *, longest: int) -> int:
    """Tokens, padding included, that a training computes at once on all devices.

    Args:
      params: shapes are enough.
      longest: tokens of the longest row that may come.

    Raises:
      UserError: not even a row of that length fits.
    """
    memory, own, each = _memory(mesh), weights(params, recipe) // mesh.size, token(params, recipe)
    free = memory - own
    if longest * each > free:
        raise UserError(
            f"the parameters and their moments take {own / 2**30:.1f} GiB, a row of {longest} tokens "
            f"{longest * each / 2**30:.1f} GiB more, and there are {memory / 2**30:.1f} GiB; --recompute, --freeze, "
            "--lora or a smaller --max-input needs less"
        )
    return max(longest, int(free / _SHARE / each)) * sharding.shares(mesh)


def token(params: Any, recipe: Recipe) -> int:
    """Bytes that a token of a batch keeps for the gradient."""
    layers: dict[Any, int] = defaultdict(int)
    D = 0
    for path, leaf in nnx.to_flat_state(params):
        name = ".".join(map(str, path))
        if lora.TARGETS.search(name) and not lora.stays(path, recipe.freeze):
            layers[path[: [isinstance(part, int) for part in path].index(True) + 1]] += sum(leaf.shape)
        elif _EMBEDDINGS.search(name):
            D = leaf.shape[1]
    kept = max(layers.values()) + len(layers) * D if recipe.recompute else sum(layers.values())
    return _BESIDE * kept * jnp.dtype(recipe.dtype).itemsize


def weights(params: Any, recipe: Recipe) -> int:
    """Bytes of the parameters and of what belongs to those that are trained, float32."""
    total = trained = 0
    for path, leaf in nnx.to_flat_state(params):
        size, name = math.prod(leaf.shape), ".".join(map(str, path))
        total += size
        if not lora.stays(path, recipe.freeze):
            trained += size if not recipe.lora else recipe.lora * sum(leaf.shape) * bool(lora.TARGETS.search(name))
    return np.dtype(np.float32).itemsize * (total + (_COPIES + bool(recipe.lora)) * trained)


def _memory(mesh: Mesh) -> int:
    """Bytes of one device."""
    device = mesh.devices.flat[0]
    if device.platform == "cpu":
        return heap.memory() // jax.local_device_count()
    return int((device.memory_stats() or {}).get("bytes_limit", 2**34))
