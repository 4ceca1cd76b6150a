"""Where parameters are placed: a mesh with the axes "data" (the batch) and "model", and a table from tensor names to
these axes.

Names and the (out, in) layout are Hugging Face's. No other file names a mesh axis.
"""

import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from flax import nnx
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

Params = Any  # nnx.State, whose type parameters change from release to release
Axes = tuple[str | None, ...]  # the mesh axis over which each axis of a tensor is split
ROWS, COLUMNS = ("model", None), (None, "model")
BATCH, BY_HEAD, WHOLE = P("data"), P(None, None, "model"), P()
PARTS = P(None, "data")

# The first pattern that a name contains counts; a tensor that none matches is whole on every device.
RULES: tuple[tuple[str, Axes], ...] = (
    (r"\.(q|k|v|gate|up)_proj\.weight$", ROWS),
    (r"\.(q|k|v|gate|up)_proj\.bias$", ("model",)),
    (r"\.(o|down)_proj\.weight$", COLUMNS),
    (r"Attention\.[qkv]\.weight$", ROWS),  # T5
    (r"Attention\.o\.weight$", COLUMNS),
    (r"\.wi(_0|_1)?\.weight$", ROWS),
    (r"\.wo\.weight$", COLUMNS),
    (r"(^|\.)(embed_tokens|lm_head|shared)\.weight$", ROWS),  # the vocabulary
)
HEADS = re.compile(r"\.[qkvo]_proj\.|Attention\.[qkvo]\.")


def mesh(model: int = 1, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Makes a mesh over all devices.

    Args:
      model: the number of devices over which one copy of the parameters is split; the batch is split over the rest.
      devices: the devices; None uses all.

    Raises:
      ValueError: the number of devices is not a multiple of `model`.
    """
    devices = jax.devices() if devices is None else devices
    if model < 1 or len(devices) % model:
        raise ValueError(f"{len(devices)} devices cannot be split into groups of {model}")
    shape = (len(devices) // model, model)
    # Explicit axes, jax's default, would ask for a sharding at every ambiguous operation.
    return jax.make_mesh(shape, ("data", "model"), axis_types=(AxisType.Auto,) * 2, devices=devices)


def spec(name: str, shape: Sequence[int], mesh: Mesh, head_dim: int = 1, *, fully: bool = False) -> P:
    """Returns how one tensor is split. An axis that does not divide evenly is not split.

    Args:
      name: the tensor's name in a Hugging Face checkpoint.
      shape: the tensor's shape.
      mesh: a mesh with an axis "model".
      head_dim: size of an attention head; queries, keys and values are split between heads, never inside a head.
      fully: split matrices over the data axis too (training: each device keeps its part of parameters and moments).
    """
    rule = next((axes for pattern, axes in RULES if re.search(pattern, name)), ())
    unit = head_dim if HEADS.search(name) else 1
    fits = [axis if axis and n % (unit * mesh.shape[axis]) == 0 else None for axis, n in zip(rule, shape, strict=False)]
    if fully and len(shape) == 2:
        fits = fits or [None, None]
        free = next((k for k, n in enumerate(shape) if fits[k] is None and n % mesh.shape["data"] == 0), None)
        if free is not None:
            fits[free] = "data"
    return P(*fits)


def shardings(params: Params, mesh: Mesh, head_dim: int = 1, *, fully: bool = False) -> Params:
    """Returns the sharding of every parameter.

    Args:
      params: the parameters as `nnx.split` returns them; shapes are enough.
      mesh: a mesh that `mesh` made.
      head_dim: size of one attention head (T5: d_kv).
      fully: as in `spec`.

    Returns:
      The same tree with a NamedSharding for each parameter, for `weights.fill` and for `jax.jit(in_shardings=...)`.
    """
    tree = jax.tree.map(lambda leaf: leaf, params)  # a copy, whose leaves may be set
    for path, leaf in nnx.to_flat_state(tree):
        leaf.set_value(NamedSharding(mesh, spec(".".join(map(str, path)), leaf.shape, mesh, head_dim, fully=fully)))
    return tree


def data_parallel_size(mesh: Mesh) -> int:
    """Returns the number of devices over which the rows of a batch are split; the number of rows of a batch is a
    multiple of it.
    """
    return int(mesh.shape["data"])


def rows(mesh: Mesh, *arrays: npt.NDArray[Any]) -> list[jax.Array]:
    """Puts arrays whose first axis is the rows of a batch onto the mesh."""
    return [jax.device_put(array, NamedSharding(mesh, BATCH)) for array in arrays]


def microbatches(mesh: Mesh, rows: int) -> NamedSharding:
    """Returns the sharding of arrays [parts, rows, ...] of a training step: split by rows if these divide evenly."""
    return NamedSharding(mesh, PARTS if rows % data_parallel_size(mesh) == 0 else WHOLE)


def everywhere(mesh: Mesh) -> NamedSharding:
    """Returns the sharding that puts a whole copy on every device."""
    return NamedSharding(mesh, WHOLE)


def put_global(tree: Any, place: NamedSharding) -> Any:
    """Puts arrays onto the devices of all processes; every process has the whole arrays and fills its own devices."""

    def put(array: Any) -> jax.Array:
        host = np.asarray(array)
        # A copy, since jax may use the buffer itself, and a step to which it is donated writes into it.
        return jax.make_array_from_callback(host.shape, place, lambda index: np.array(host[index]))

    return jax.tree.map(put, tree)


def to_host(array: jax.Array) -> npt.NDArray[Any]:
    """Copies a whole array to the host; if other processes have parts of it, every process must call this."""
    if array.is_fully_addressable or array.is_fully_replicated:
        # jax keeps the host's copy for as long as the array lives; that of a temporary copy is freed at once.
        return np.asarray(jnp.copy(array))
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))


def cache(mesh: Mesh, kv_heads: int) -> tuple[NamedSharding, int]:
    """Returns the sharding of a layer's cache [2, C, K, H], which is split between heads if they divide evenly, and the
    number of copies of the cache.
    """
    even = kv_heads % mesh.shape["model"] == 0
    return NamedSharding(mesh, BY_HEAD if even else WHOLE), mesh.size // (mesh.shape["model"] if even else 1)
