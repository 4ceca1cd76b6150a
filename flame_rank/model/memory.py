"""Decides how much is computed at once, by a rule instead of trial and error.

Of the memory that the weights leave on a device, a quarter is for the cache and a quarter for a batch; the rest is for
the compiler. On a CPU 256 MiB are for the cache and 32 MiB for a batch: larger batches are slower there, since they do
not fit into the processor's cache and hold more padding, because rows of more different lengths are in them.
"""

from jax.sharding import Mesh

_CPU_CACHE, _CPU_BATCH = 2**28, 2**25  # bytes
_LEAST_BATCH = 256  # tokens: with fewer, a CPU reads the weights longer than it computes
_MOST_CACHED = 2**16  # tokens: more would only serve problems that are already done


def token_bytes(hidden: int, mlp: int, *, itemsize: int, scores: int = 0) -> int:
    """Computes the bytes that a token of a batch needs: 6 D + 3 F numbers, and `scores` float32 numbers if attention
    keeps them."""
    return (6 * hidden + 3 * mlp) * itemsize + 4 * scores


def batch_tokens(each: int, *, mesh: Mesh) -> int:
    """Computes how many tokens a batch may have, padding included, at `each` bytes per token. A row that has more is a
    batch by itself."""
    return max(_LEAST_BATCH, _quarter(mesh, _CPU_BATCH) * mesh.size // each)


def cache_tokens(each: int, *, mesh: Mesh, copies: int, longest: int) -> int:
    """Computes how many tokens the cache holds, at `each` bytes per token and with `copies` copies of it in memory:
    at least four texts of `longest` tokens."""
    return max(4 * longest, min(_quarter(mesh, _CPU_CACHE) * mesh.size // copies // each, _MOST_CACHED))


def _quarter(mesh: Mesh, on_cpu: int) -> int:
    """Returns a quarter of one device's free memory in bytes."""
    device = mesh.devices.flat[0]
    if device.platform == "cpu":
        return on_cpu
    stats = device.memory_stats() or {}
    return int(stats.get("bytes_limit", 2**34) - stats.get("bytes_in_use", 0)) // 4
