"""Refuses to compute after a fork: JAX's threads are missing in the child, whose first computation would never end."""

import os

from flame_rank.errors import UserError

_process: int | None = None  # the one that computes


def compute_here() -> None:
    """Allows computation in the first process that calls this function, and refuses it in the forks of that process.

    Raises:
      UserError: this process is a fork of one that has loaded a model.
    """
    global _process
    _process = _process or os.getpid()
    if os.getpid() != _process:
        raise UserError(
            f"this process was forked from process {_process}, which had loaded a language model, so it would wait for "
            'ever; start processes with "spawn" (multiprocessing.get_context), or load the judge only after the fork'
        )
