"""Bootstrap intervals of means."""

import numpy as np
import pytest

from trainer.measuring.intervals import mean_interval


def test_interval() -> None:
    values = np.random.default_rng(1).normal(2.0, 3.0, 400)
    mean, low, high = mean_interval(values)
    assert mean == values.mean()
    # A mean's 95 % interval is 1.96 standard errors to each side.
    error = values.std() / np.sqrt(400)
    assert mean - low == pytest.approx(1.96 * error, rel=0.15)
    assert high - mean == pytest.approx(1.96 * error, rel=0.15)
    assert mean_interval(values) == (mean, low, high)
    assert mean_interval(values, seed=1) != (mean, low, high)
    assert mean_interval(np.full(7, 0.25)) == (0.25, 0.25, 0.25)


def test_a_single_value_is_its_own_interval() -> None:
    assert mean_interval(np.array([0.5])) == (0.5, 0.5, 0.5)


def test_an_interval_is_that_of_the_resampled_means() -> None:
    values = np.random.default_rng(2).integers(0, 3, 40) / 2
    means = values[np.random.default_rng(0).integers(40, size=(10_000, 40))].mean(1)
    assert mean_interval(values)[1:] == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=1e-12)
