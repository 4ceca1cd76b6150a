"""The order policies."""

import numpy as np

from strategies.base import ordered


def test_order_policies() -> None:
    pairs = np.stack([np.zeros(200, np.int64), np.arange(1, 201)], axis=1)
    rng = np.random.default_rng(3)
    both = ordered(pairs, "both", rng)
    assert both[:4].tolist() == [[0, 1], [1, 0], [0, 2], [2, 0]] and len(both) == 400
    np.testing.assert_array_equal(ordered(pairs, "fixed", rng), pairs)
    np.testing.assert_array_equal(ordered(pairs[:, ::-1], "fixed", rng), pairs)
    coins = ordered(pairs, "random", rng)
    np.testing.assert_array_equal(np.sort(coins, axis=1), pairs)
    assert 60 < (coins[:, 0] == 0).sum() < 140
    again = ordered(pairs, "random", np.random.default_rng(4))
    np.testing.assert_array_equal(again, ordered(pairs, "random", np.random.default_rng(4)))
    assert not np.array_equal(again, coins)
