"""The standings that judgements give."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schedules import tables

from strategies import Standing
from strategies.base import FloatArray, IntArray
from strategies.chances import p_top
from strategies.observations import observe
from strategies.posterior import _grid, complete_grid, pointwise_standing, posterior, shrunk_standing, standing


def answered(asked: IntArray, heard: FloatArray, n: int) -> Standing:
    observed = observe(asked, heard, n)
    return shrunk_standing(observed, posterior(observed), 2)


@pytest.mark.parametrize("how", [standing, answered, pointwise_standing])
@given(table=tables(2, 7), data=st.data())
@settings(deadline=None, max_examples=60)
def test_standings_are_equivariant(how: Callable[..., Standing], table: FloatArray, data: st.DataObject) -> None:
    # A schedule knows candidates by their numbers only: what it asks depends on them by its seeding, what the answers
    # mean must not.
    n = len(table)
    pairs = np.argwhere(~np.eye(n, dtype=bool))
    asked = pairs[data.draw(st.lists(st.integers(0, len(pairs) - 1), max_size=2 * len(pairs), unique=True))]
    heard = table[asked[:, 0], asked[:, 1]]
    new = np.array(data.draw(st.permutations(range(n))))  # candidate i becomes new[i]
    before, after = how(asked, heard, n), how(new[asked][::-1], heard[::-1], n)
    large = max(1.0, float(np.abs(before.scores).max()))
    np.testing.assert_allclose(after.scores[new], before.scores, rtol=1e-6, atol=1e-9 * large)
    if large < 1e4:  # an infinite answer is a million nats: rounding in the sixth digit decides then
        np.testing.assert_allclose(after.p_best[new], before.p_best, rtol=1e-5, atol=1e-7)
    assert after.decided == before.decided


def test_parts_without_a_judgement_between_them_are_centred_each() -> None:
    result = standing(np.array([[0, 2], [3, 1]]), np.array([2.0, 8.0]), 5)
    np.testing.assert_allclose(result.scores, [1, -4, -1, 4, 0], atol=1e-12)
    assert not result.decided


def test_the_chance_of_the_first_two_does_not_depend_on_the_first_ones_lead() -> None:
    found = [
        p_top(np.array([lead, 1.0, 0.0, -5.0, -5.0]), np.ones(5), np.array([0, 1]), np.array([2, 3, 4]))
        for lead in (10.0, 100.0, 1000.0)
    ]
    assert found == pytest.approx([found[0]] * 3, abs=1e-3) and found[0] == pytest.approx(0.760, abs=2e-3)


def test_complete_observations_need_no_eigenvectors() -> None:
    for n in (3, 4, 16):
        values = np.array([0.0] + [float(n)] * (n - 1))  # of the graph of all pairs
        assert complete_grid(n)[1] == pytest.approx(_grid(values)[1])
