"""The protocol of kernels that score texts with a model, and how a checkpoint's kernel is loaded onto the devices."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import jax
import jax.numpy as jnp
from flax import nnx

from flame_rank.model import sharding, weights
from flame_rank.model.checkpoint_files import open_weights
from flame_rank.model.choices import Attend, Dtype
from flame_rank.model.families import Architecture, read_architecture
from flame_rank.model.nodes import Ids
from strategies.base import FloatArray

MAX_LENGTH = 2048  # tokens, the paper's input length (section 3.5)


class Scorer(Protocol):
    """Scores the continuations of texts in pieces: model/kernel.py for decoders, model/t5_kernel.py for T5."""

    max_length: int
    dtype: str
    vocab_size: int
    parameters: int

    def log_probs(self, paths: Sequence[Sequence[Ids]], targets: Sequence[int]) -> FloatArray: ...
    def log_likelihoods(self, paths: Sequence[Sequence[Ids]], labels: Sequence[Ids]) -> FloatArray: ...
    def token_log_probs(self, paths: Sequence[Sequence[Ids]], labels: Sequence[Ids]) -> list[FloatArray]: ...
    def generate(self, paths: Sequence[Sequence[Ids]], *, limit: int, eos: Iterable[int]) -> list[list[int]]: ...


@dataclass(frozen=True, kw_only=True)
class ComputeOptions:
    """How a model is computed; `flame_rank.load_judge` explains each option and the default that replaces None."""

    max_length: int | None = None
    dtype: Dtype | None = None
    max_batch_tokens: int | None = None
    model_parallel: int | None = None
    attention: Attend | None = None


_DEFAULTS = ComputeOptions()


def load_scorer(
    checkpoint: Path, options: ComputeOptions = _DEFAULTS, architecture: Architecture | None = None
) -> Scorer:
    """Reads the model of a checkpoint, without its tokenizer.

    Args:
      architecture: the checkpoint's architecture, if it is known already.

    Raises:
      OSError: a file is unreadable.
      ValueError: a file is missing or incomplete, or needs a computation that is not supported.
    """
    if architecture is None:
        architecture = read_architecture(checkpoint)
    files = open_weights(checkpoint)
    on_cpu = jax.default_backend() == "cpu"
    dtype = jnp.dtype(options.dtype or ("float32" if on_cpu else "bfloat16"))
    if options.attention == "cudnn" and (jax.default_backend() != "gpu" or dtype != jnp.bfloat16):
        raise ValueError("attention 'cudnn' needs bfloat16 on an NVIDIA GPU")
    mesh = sharding.mesh(model=options.model_parallel or _devices_needed(files, dtype.itemsize))
    positions = architecture.positions
    if positions is not None and (options.max_length or 0) > positions:
        raise ValueError(
            f"max_length {options.max_length} is more than the {positions} positions that {files.described_by} gives "
            "the model"
        )
    kernel = architecture.kernel(
        nnx.merge(*architecture.load(files, mesh, dtype)),
        mesh=mesh,
        max_length=options.max_length or min(MAX_LENGTH, positions or MAX_LENGTH),
        max_batch_tokens=options.max_batch_tokens,
        how=options.attention,
    )
    return cast(Scorer, kernel)


def _devices_needed(files: weights.Weights, itemsize: int) -> int:
    """Computes over how many devices the weights are split: the least power of two that leaves half of each device's
    memory free."""
    devices = jax.devices()
    if devices[0].platform == "cpu":
        return 1
    size = sum(math.prod(files[name].shape) for name in weights.text_tensors(files)) * itemsize
    room = (devices[0].memory_stats() or {}).get("bytes_limit", 2**34) // 2
    ways = 1
    while size > room * ways and len(devices) % (2 * ways) == 0:
        ways *= 2
    return ways
