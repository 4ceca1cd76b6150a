"""Keeps compiled programs between runs: loading them is much faster than compiling."""

import hashlib
import os
import platform
import sys
import warnings
from contextlib import suppress
from pathlib import Path


def keep_programs() -> None:
    """Lets JAX keep compiled programs in the user's cache folder, if JAX has not been imported yet.

    JAX's own environment variables take precedence: JAX_COMPILATION_CACHE_DIR names another folder, and with
    JAX_ENABLE_COMPILATION_CACHE=false nothing is kept.
    """
    off = os.environ.get("JAX_ENABLE_COMPILATION_CACHE", "true").lower() in ("false", "0", "off", "no")
    if off or "jax" in sys.modules or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    try:
        folder = _cache() / "flame_rank" / f"programs-{_processor()}"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # the latter: a user without a home directory
        return
    if os.access(folder, os.W_OK):
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
        # A damaged file, or a full disk, costs the time of compiling and no more.
        warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache entry")


def _cache() -> Path:
    given = os.environ.get("XDG_CACHE_HOME")
    return Path(given) if given else Path("~/.cache").expanduser()


def _processor() -> str:
    """Returns a name for the kind of processor: a program for one kind may not run on another that shares the
    folder."""
    features = ""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        features = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return hashlib.sha256(f"{platform.machine()} {features}".encode()).hexdigest()[:12]
