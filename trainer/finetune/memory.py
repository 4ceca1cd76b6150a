"""Estimates how much of a batch can be computed at once in training; a test compares the estimate with XLA's own count.

For the gradient, these are kept: the input and the output of every matrix, half as much for the operations between
matrices, and three copies of the attention scores. Besides its value, each trained parameter has four numbers: the
gradient of one part of the batch, the sum of the gradients of all parts, and two moments. A quarter of the remaining
memory is for a batch.
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
from trainer.finetune import lora, malloc
from trainer.finetune.base_model import Base
from trainer.finetune.recipe import ResolvedRecipe

_COPIES, _SHARE = 4, 4
_BETWEEN, _SCORES = 1.5, 3
_QUERIES = re.compile(r"(q_proj|Attention\.q)\.weight$")


def room(base: Base, recipe: ResolvedRecipe, mesh: Mesh, *, longest: int) -> int:
    """Estimates the number of tokens, padding included, that training can compute at once on all devices.

    Args:
      longest: the number of tokens of the longest row that may occur.

    Raises:
      UserError: a single row of that length does not fit.
    """
    memory, fixed, each = _memory(mesh), weights(base, recipe) // mesh.size, token(base, recipe, longest)
    free = memory - fixed
    if longest * each > free:
        raise UserError(
            f"the parameters and their moments take {fixed / 2**30:.1f} GiB, a row of {longest} tokens takes "
            f"{longest * each / 2**30:.1f} GiB more, and there are only {memory / 2**30:.1f} GiB; --lora, --freeze or "
            "a "
            "smaller --max-input needs less"
        )
    return max(longest, int(free / _SHARE / each)) * sharding.data_parallel_size(mesh)


def token(base: Base, recipe: ResolvedRecipe, longest: int) -> int:
    """Estimates the bytes that are kept for the gradient for each token of a row of `longest` tokens."""
    kept: dict[Any, float] = defaultdict(float)  # count of numbers in each layer
    for path, leaf in nnx.to_flat_state(base.params):
        name = ".".join(map(str, path))
        if lora.TARGETS.search(name) and not lora.is_frozen(path, recipe.freeze):
            layer = path[: [isinstance(part, int) for part in path].index(True) + 1]
            kept[layer] += _BETWEEN * sum(leaf.shape)
            if _QUERIES.search(name):
                kept[layer] += _SCORES * leaf.shape[0] // base.architecture.head_dim * longest
    # On a CPU, XLA computes nothing again, even if it is asked to.
    one_layer = recipe.recompute and jax.default_backend() != "cpu"
    return int(max(kept.values()) if one_layer else sum(kept.values())) * jnp.dtype(recipe.dtype).itemsize


def weights(base: Base, recipe: ResolvedRecipe) -> int:
    """Computes the bytes of all parameters, and of the gradients and moments of the trained ones, in float32."""
    total = trained = 0
    for path, leaf in nnx.to_flat_state(base.params):
        size, name = math.prod(leaf.shape), ".".join(map(str, path))
        total += size
        if not lora.is_frozen(path, recipe.freeze):
            trained += size if not recipe.lora else recipe.lora * sum(leaf.shape) * bool(lora.TARGETS.search(name))
    return np.dtype(np.float32).itemsize * (total + (_COPIES + bool(recipe.lora)) * trained)


def _memory(mesh: Mesh) -> int:
    """Returns the bytes of memory of one device."""
    device = mesh.devices.flat[0]
    if device.platform == "cpu":
        return malloc.memory() // jax.local_device_count()
    return int((device.memory_stats() or {}).get("bytes_limit", 2**34))
