"""The lengths of comparisons."""

import numpy as np

from flame_rank.plan.lengths import Lengths


def test_too_long_is_counted_pair_by_pair() -> None:
    rng = np.random.default_rng(0)
    for n in range(1, 7):
        text = Lengths(prompt=5, candidates=rng.integers(0, 10, n))
        for room in range(5, 26):
            a = text.candidates
            expected = sum(5 + a[i] + a[j] > room for i in range(n) for j in range(n) if i != j)
            assert text.long(room) == expected
            alone = sum(5 + max(a[i], a[j]) > room for i in range(n) for j in range(n) if i != j)
            assert text.long(room, separate=True) == alone
