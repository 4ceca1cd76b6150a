"""Matrix products: their values and gradients, in both number formats."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flame_rank.model.layers import product


@pytest.mark.parametrize(("out", "into"), [(7, 5), (5, 7)])
@pytest.mark.parametrize(("dtype", "error"), [("float32", 1e-6), ("bfloat16", 1e-2)])
def test_a_product_and_its_gradients(out: int, into: int, dtype: str, error: float) -> None:
    draw = np.random.default_rng(0).normal
    x, weight, slope = (jnp.asarray(draw(size=shape), dtype) for shape in ((3, into), (out, into), (3, out)))
    y, pullback = jax.vjp(product, x, weight)
    dx, dweight = pullback(slope)
    exact_x, exact_weight, exact_slope = (np.asarray(a, np.float64) for a in (x, weight, slope))
    expected = exact_x @ exact_weight.T, exact_slope @ exact_weight, exact_slope.T @ exact_x
    for got, want in zip((y, dx, dweight), expected, strict=True):
        assert got.dtype == dtype
        np.testing.assert_allclose(np.asarray(got, np.float64), want, rtol=error, atol=error)


def test_products_of_bfloat16_are_summed_in_float32() -> None:
    x = jnp.ones((1, 4096), "bfloat16").at[0, 0].set(4096)
    weight = jnp.ones((1, 4096), "bfloat16").at[0, 0].set(-1)
    assert float(product(x, weight)[0, 0]) == -1.0  # in bfloat16, -4096 + 1 stays -4096
    assert "preferred_element_type=float32" in str(jax.make_jaxpr(jax.grad(lambda x: product(x, weight).sum()))(x))
