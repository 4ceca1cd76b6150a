"""Saves the part of the training state that the model's own files lack: in one file, or in a folder that several
processes write.

The numbers of processes and devices may differ between saving and restoring.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from flame_rank.model import arrays_file, sharding

_FILE, _FOLDER = "training.safetensors", "training"  # written by one process, and by many


def save(state: Any, step: int, folder: Path) -> None:
    """Writes the arrays of a tree into a checkpoint's folder; every process must call it."""
    arrays = {str(i): leaf for i, leaf in enumerate(jax.tree.leaves(state))}
    stated = {"step": np.array(step)}
    if jax.process_count() == 1:
        arrays_file.save({name: np.asarray(leaf) for name, leaf in arrays.items()} | stated, folder / _FILE)
        return
    import orbax.checkpoint as ocp  # takes a second

    with ocp.StandardCheckpointer() as writer:
        writer.save((folder / _FOLDER).absolute(), arrays | stated)


def restore(like: Any, folder: Path) -> tuple[Any, int]:
    """Reads the tree that `save` wrote, and the step.

    Args:
      like: a tree of the same structure; the arrays are read onto the devices of its arrays.
      folder: the checkpoint's folder.
    """
    leaves, structure = jax.tree.flatten(like)
    if (folder / _FILE).exists():
        arrays: Any = arrays_file.load(folder / _FILE)
        # The file holds a number as an array with one element.
        restored = [
            sharding.put_global(arrays[str(i)].astype(leaf.dtype).reshape(leaf.shape), leaf.sharding)
            for i, leaf in enumerate(leaves)
        ]
    else:
        import orbax.checkpoint as ocp

        wanted = {str(i): leaf for i, leaf in enumerate(leaves)}
        with ocp.StandardCheckpointer() as reader:
            arrays = reader.restore((folder / _FOLDER).absolute(), wanted | {"step": np.array(0)})
        restored = [arrays[str(i)] for i in range(len(leaves))]
    return jax.tree.unflatten(structure, restored), int(arrays["step"].item())
