"""The processes of a training on many hosts: all compute, the first one writes what there is one of."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax

from flame_rank.errors import UserError

# Seconds: for the first process alone, and at the end, where all arrive together unless one has failed.
_LONGEST, _SHORT = 24 * 3600, 30


def initialize(coordinator: str | None, processes: int | None, process: int | None) -> None:
    """Joins the other processes; before anything touches a device. Without arguments, as jax finds out by itself.

    Raises:
      UserError: they are not found.
    """
    try:
        jax.distributed.initialize(coordinator, processes, process, shutdown_timeout_seconds=_SHORT)
    except (RuntimeError, ValueError) as error:
        raise UserError(f"the processes do not find each other: {error}") from error


def is_primary() -> bool:
    """Whether this is the process that writes."""
    return jax.process_index() == 0


def barrier(what: str) -> None:
    """Until every process is here."""
    if jax.process_count() > 1:
        from orbax.checkpoint import multihost  # takes a second

        # Not jax's own barrier of devices: on CPUs it gives up after 30 s, and a mixture's rows may take an hour.
        multihost.sync_global_processes(what, timeout=_LONGEST, processes=set(range(jax.process_count())))


@contextmanager
def primary_first(what: str) -> Iterator[None]:
    """What is inside is done by the first process, then by the others, which find its files."""
    if not is_primary():
        barrier(what)
    yield
    if is_primary():
        barrier(what)
