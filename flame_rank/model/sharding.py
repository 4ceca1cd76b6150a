"""Where parameters live: a mesh with the axes "data" (the batch) and "model", and a table from tensor names to it.

Names and the (out, in) layout are Hugging Face's. The only file that names a mesh axis.
"""

import re
from collections.abc import Sequence
from typing import Any

import jax
from flax import nnx
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

Params = Any  # nnx.State, whose type parameters change from release to release
ROWS, COLUMNS = P("model", None), P(None, "model")

# The first that is found in a name counts; whatever none matches is on every device.
RULES: tuple[tuple[str, P], ...] = (
    (r"\.(q|k|v|gate|up)_proj\.weight$", ROWS),
    (r"\.(q|k|v|gate|up)_proj\.bias$", P("model")),
    (r"\.(o|down)_proj\.weight$", COLUMNS),
    (r"Attention\.[qkv]\.weight$", ROWS),  # T5
    (r"Attention\.o\.weight$", COLUMNS),
    (r"\.wi(_0|_1)?\.weight$", ROWS),
    (r"\.wo\.weight$", COLUMNS),
    (r"(^|\.)(embed_tokens|lm_head|shared)\.weight$", ROWS),  # the vocabulary
)
HEADS = re.compile(r"\.[qkvo]_proj\.|Attention\.[qkvo]\.")


def mesh(model: int = 1, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh over all devices.

    Args:
      model: devices over which one copy of the parameters is split; the batch is split over the rest.
      devices: all of jax's if not given.

    Raises:
      ValueError: the number of devices is no multiple of `model`.
    """
    devices = jax.devices() if devices is None else devices
    if model < 1 or len(devices) % model:
        raise ValueError(f"{len(devices)} devices cannot be split into groups of {model}")
    shape = (len(devices) // model, model)
    # Explicit axes, jax's default, would ask for a sharding at every ambiguous operation.
    return jax.make_mesh(shape, ("data", "model"), axis_types=(AxisType.Auto,) * 2, devices=devices)


def spec(name: str, shape: Sequence[int], mesh: Mesh, head_dim: int = 1) -> P:
    """How one tensor is split. An axis that does not divide evenly stays whole.

    Args:
      name: as in a Hugging Face checkpoint.
      shape: of the tensor.
      mesh: with an axis "model".
      head_dim: size of one attention head; queries, keys and values are split between heads, never inside one.
    """
    rule = next((rule for pattern, rule in RULES if re.search(pattern, name)), P())
    unit = head_dim if HEADS.search(name) else 1
    return P(*(axis if axis and n % (unit * mesh.shape[axis]) == 0 else None for axis, n in zip(rule, shape)))


def shardings(params: Params, mesh: Mesh, head_dim: int = 1) -> Params:
    """The sharding of every parameter.

    Args:
      params: as `nnx.split` gave them; shapes are enough.
      mesh: as `mesh` makes it.
      head_dim: size of one attention head (T5: d_kv).

    Returns:
      The same tree with a NamedSharding for each parameter, for `weights.fill` and for `jax.jit(in_shardings=...)`.
    """
    tree = jax.tree.map(lambda leaf: leaf, params)  # a copy, whose leaves may be set
    for path, leaf in nnx.to_flat_state(tree):
        leaf.set_value(NamedSharding(mesh, spec(".".join(map(str, path)), leaf.shape, mesh, head_dim)))
    return tree
