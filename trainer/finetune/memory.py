"""How much of a batch a training computes at once: a stated rule, checked against XLA's own count in its test.

For the gradient a matrix keeps what goes in and what comes out of it, half as much again is kept between matrices, and
attention keeps its scores three times over. What is trained has, beside itself, a part's gradient, the sum of them and
two moments. A quarter of the memory that is left beside those is for a batch.
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
    """Tokens, padding included, that a training computes at once on all devices.

    Args:
      longest: tokens of the longest row that may come.

    Raises:
      UserError: not even a row of that length fits.
    """
    memory, own, each = _memory(mesh), weights(base, recipe) // mesh.size, token(base, recipe, longest)
    free = memory - own
    if longest * each > free:
        raise UserError(
            f"the parameters and their moments take {own / 2**30:.1f} GiB, a row of {longest} tokens "
            f"{longest * each / 2**30:.1f} GiB more, and there are {memory / 2**30:.1f} GiB; --lora, --freeze or a "
            "smaller --max-input needs less"
        )
    return max(longest, int(free / _SHARE / each)) * sharding.data_parallel_size(mesh)


def token(base: Base, recipe: ResolvedRecipe, longest: int) -> int:
    """Bytes that a token of a row of `longest` tokens keeps for the gradient."""
    kept: dict[Any, float] = defaultdict(float)  # numbers, by layer
    for path, leaf in nnx.to_flat_state(base.params):
        name = ".".join(map(str, path))
        if lora.TARGETS.search(name) and not lora.stays(path, recipe.freeze):
            layer = path[: [isinstance(part, int) for part in path].index(True) + 1]
            kept[layer] += _BETWEEN * sum(leaf.shape)
            if _QUERIES.search(name):
                kept[layer] += _SCORES * leaf.shape[0] // base.architecture.head_dim * longest
    # XLA computes nothing twice on a CPU, whatever it is told.
    some = recipe.recompute and jax.default_backend() != "cpu"
    return int(max(kept.values()) if some else sum(kept.values())) * jnp.dtype(recipe.dtype).itemsize


def weights(base: Base, recipe: ResolvedRecipe) -> int:
    """Bytes of the parameters and of what belongs to those that are trained, float32."""
    total = trained = 0
    for path, leaf in nnx.to_flat_state(base.params):
        size, name = math.prod(leaf.shape), ".".join(map(str, path))
        total += size
        if not lora.stays(path, recipe.freeze):
            trained += size if not recipe.lora else recipe.lora * sum(leaf.shape) * bool(lora.TARGETS.search(name))
    return np.dtype(np.float32).itemsize * (total + (_COPIES + bool(recipe.lora)) * trained)


def _memory(mesh: Mesh) -> int:
    """Bytes of one device."""
    device = mesh.devices.flat[0]
    if device.platform == "cpu":
        return malloc.memory() // jax.local_device_count()
    return int((device.memory_stats() or {}).get("bytes_limit", 2**34))
