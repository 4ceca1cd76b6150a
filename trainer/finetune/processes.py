"""The processes of a training run on many hosts: all of them compute, and the first one writes the files."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax

from flame_rank.errors import UserError

# Seconds that processes wait for the first one, and at the end, when all arrive together unless one has failed.
_LONGEST, _SHORT = 24 * 3600, 30


def initialize(coordinator: str | None, processes: int | None, process: int | None) -> None:
    """Joins the other processes; call it before anything touches a device.

    Args:
      coordinator: HOST:PORT, an address on the host of process 0; all three arguments are None if jax finds the hosts
        itself.
      processes: the number of processes.
      process: the number of this process, from 0.

    Raises:
      UserError: the other processes are not found.
    """
    try:
        jax.distributed.initialize(coordinator, processes, process, shutdown_timeout_seconds=_SHORT)
    except (RuntimeError, ValueError) as error:
        raise UserError(f"the processes do not find each other: {error}") from error


def is_primary() -> bool:
    """Tells whether this is the first process, which writes the files and prints."""
    return jax.process_index() == 0


def barrier(name: str) -> None:
    """Waits until every process has called this with the same name."""
    if jax.process_count() > 1:
        from orbax.checkpoint import multihost  # takes a second

        # Not jax's own barrier of devices: on CPUs it gives up after 30 s, and a mixture's rows may take an hour.
        multihost.sync_global_processes(name, timeout=_LONGEST, processes=set(range(jax.process_count())))


@contextmanager
def primary_first(name: str) -> Iterator[None]:
    """Lets the first process run the block before the others, which then find its files.

    Args:
      name: the name of the barrier between them.
    """
    if not is_primary():
        barrier(name)
    yield
    if is_primary():
        barrier(name)
