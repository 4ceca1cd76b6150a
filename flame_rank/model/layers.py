"""The layers that all models share. Weights keep Hugging Face's (out, in) layout."""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from flax import nnx

Drop: TypeAlias = Callable[[jax.Array], jax.Array]  # dropout of a sublayer's output, [B, T, D] -> [B, T, D]


def keep(x: jax.Array) -> jax.Array:
    """Returns its argument: no dropout, as in all uses of a model except training."""
    return x


@jax.custom_vjp
def product(x: jax.Array, weight: jax.Array) -> jax.Array:
    """Multiplies x [M, in] by weight [out, in] -> [M, out], in float32 sums that are rounded to the dtype of x.

    It says so because some CPUs that have instructions for bfloat16 then take half the time of float32, and the time of
    float32 if the product is of bfloat16. The gradients are written out because jax's own mix the two types.
    """
    return _dot(x, weight, 1, 1)


def _dot(a: jax.Array, b: jax.Array, along_a: int, along_b: int) -> jax.Array:
    axes = (((along_a,), (along_b,)), ((), ()))
    return jax.lax.dot_general(a, b, axes, preferred_element_type=jnp.float32).astype(a.dtype)


def _product_kept(x: jax.Array, weight: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return product(x, weight), (x, weight)


def _product_gradients(kept: tuple[jax.Array, jax.Array], dy: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, weight = kept
    # The short side first: XLA is six times slower the other way round, which counts for adapters.
    slope = _dot(dy, x, 0, 0) if weight.shape[0] <= weight.shape[1] else _dot(x, dy, 0, 0).T
    return _dot(dy, weight, 1, 0), slope


product.defvjp(_product_kept, _product_gradients)


class Linear(nnx.Module):
    """A matrix, to which training may add an adapter (trainer/finetune/lora.py).

    Attributes:
      adapter: [R, in] and [out, R]; their product is added to the weight.
    """

    adapter: tuple[jax.Array, jax.Array] | None = None

    def __init__(self, out: int, into: int, rngs: nnx.Rngs, *, bias: bool = True):
        self.weight = nnx.Param(jax.random.normal(rngs.params(), (out, into)) * 0.02)
        self.bias = nnx.Param(jnp.zeros(out)) if bias else None

    def __call__(self, x: jax.Array) -> jax.Array:
        flat = x.reshape(-1, x.shape[-1])  # with more axes, XLA transposes a copy of x for the gradients of the weights
        y = product(flat, self.weight[...])
        if self.adapter is not None:
            down, up = self.adapter
            y = y + product(product(flat, down), up)
        y = y if self.bias is None else y + self.bias[...]
        return y.reshape(*x.shape[:-1], -1)


class Embedding(nnx.Module):
    def __init__(self, count: int, size: int, rngs: nnx.Rngs):
        self.weight = nnx.Param(jax.random.normal(rngs.params(), (count, size)) * 0.02)

    def __call__(self, ids: jax.Array) -> jax.Array:
        return self.weight[...][ids]


class RMSNorm(nnx.Module):
    """Scales x to a mean square of 1, in float32 for any dtype of x.

    Attributes:
      from_zero: whether x is multiplied by 1 + weight before it is cast back (Gemma).
    """

    def __init__(self, size: int, eps: float, *, from_zero: bool = False):
        self.weight = nnx.Param(jnp.zeros(size) if from_zero else jnp.ones(size))
        self.eps, self.from_zero = eps, from_zero

    def __call__(self, x: jax.Array) -> jax.Array:
        full = x.astype(jnp.float32)
        full = full * jax.lax.rsqrt(jnp.square(full).mean(-1, keepdims=True) + self.eps)
        if self.from_zero:
            return (full * (1 + self.weight[...].astype(jnp.float32))).astype(x.dtype)
        return full.astype(x.dtype) * self.weight[...]
