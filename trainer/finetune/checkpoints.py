"""What a training needs beside the model's own files to go on: in one file, or by many processes a part each.

Whoever wrote it, any number of processes and devices takes it up.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from flame_rank.model import arrays_file, sharding

_ONE, _MANY = "training.safetensors", "training"  # written by one process, by many


def save(state: Any, step: int, folder: Path) -> None:
    """Writes the arrays of a tree into a checkpoint's folder; every process calls it."""
    arrays = {str(i): leaf for i, leaf in enumerate(jax.tree.leaves(state))}
    stated = {"step": np.array(step)}
    if jax.process_count() == 1:
        arrays_file.save({name: np.asarray(leaf) for name, leaf in arrays.items()} | stated, folder / _ONE)
        return
    import orbax.checkpoint as ocp  # takes a second

    with ocp.StandardCheckpointer() as writer:
        writer.save((folder / _MANY).absolute(), arrays | stated)


def restore(like: Any, folder: Path) -> tuple[Any, int]:
    """The tree that was written, and the step.

    Args:
      like: a tree of the same structure, on the devices where the arrays go.
      folder: of a checkpoint.
    """
    leaves, structure = jax.tree.flatten(like)
    if (folder / _ONE).exists():
        kept: Any = arrays_file.load(folder / _ONE)
        # A file keeps a number as an array of one.
        found = [
            sharding.put_global(kept[str(i)].astype(leaf.dtype).reshape(leaf.shape), leaf.sharding)
            for i, leaf in enumerate(leaves)
        ]
    else:
        import orbax.checkpoint as ocp

        wanted = {str(i): leaf for i, leaf in enumerate(leaves)}
        with ocp.StandardCheckpointer() as reader:
            kept = reader.restore((folder / _MANY).absolute(), wanted | {"step": np.array(0)})
        found = [kept[str(i)] for i in range(len(leaves))]
    return jax.tree.unflatten(structure, found), int(kept["step"].item())
