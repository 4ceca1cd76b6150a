"""Models in JAX/Flax: what a judge computes with. Importing any module of this package imports jax."""
