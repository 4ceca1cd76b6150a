"""The examples of a step: a function of seed and step, by weight, and by length."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainer.finetune.sampler import WINDOW, dealt, drawn


@given(st.integers(0, 99), st.integers(0, 10**6))
def test_a_step_is_a_function_of_seed_and_step(seed: int, step: int) -> None:
    weights, sizes = np.array([1.0, 3, 0.5]), np.array([5, 1, 10**6])
    tasks, places = drawn(weights, sizes, seed=seed, step=step, batch=8, share=1)
    again = drawn(weights, sizes, seed=seed, step=step, batch=8, share=1)
    assert np.array_equal(tasks, again[0]) and np.array_equal(places, again[1])
    assert (places < sizes[tasks]).all() and (places >= 0).all()


def test_tasks_are_drawn_by_their_weights() -> None:
    weights, sizes = np.array([1.0, 3, 4]), np.array([2, 2, 2])
    found = [drawn(weights, sizes, seed=0, step=step, batch=64, share=1) for step in range(500)]
    share = np.bincount(np.concatenate([tasks for tasks, _ in found]), minlength=3) / 32_000
    np.testing.assert_allclose(share, [0.125, 0.375, 0.5], atol=0.015)  # 5 standard deviations


def test_a_batch_is_dealt_by_length() -> None:
    rng = np.random.default_rng(0)
    weights, lengths = np.array([1.0, 3.0]), [rng.integers(20, 500, 50), rng.integers(20, 500, 400)]
    sizes = np.array([50, 400])
    for first in (0, 5 * WINDOW):
        steps = [dealt(weights, lengths, seed=3, step=first + k, batch=8, share=1) for k in range(WINDOW)]
        again = dealt(weights, lengths, seed=3, step=first + 2, batch=8, share=1)
        assert all(np.array_equal(a, b) for a, b in zip(again, steps[2], strict=True))
        plain = [drawn(weights, sizes, seed=3, step=first + k, batch=8, share=1) for k in range(WINDOW)]
        of_these, of_those = (sorted(np.concatenate(found, 1).T.tolist()) for found in (steps, plain))
        assert of_these == of_those  # each example once
        width = [max(lengths[t][p] for t, p in zip(*step, strict=True)) for step in steps]
        long = [max(lengths[t][p] for t, p in zip(*step, strict=True)) for step in plain]
        assert sum(width) < 0.7 * sum(long)
        assert width != sorted(width) and width != sorted(width, reverse=True)


@given(st.integers(0, 99), st.integers(0, 40), st.sampled_from([2, 4]))
def test_a_group_is_of_one_task(seed: int, step: int, share: int) -> None:
    weights, lengths = np.array([1.0, 3.0, 2.0]), [np.arange(20, 20 + 7 * n) for n in (1, 5, 9)]
    sizes = np.array([len(each) for each in lengths])
    plain = drawn(weights, sizes, seed=seed, step=step, batch=8, share=share)
    for tasks, places in (plain, dealt(weights, lengths, seed=seed, step=step, batch=8, share=share)):
        assert (tasks.reshape(-1, share) == tasks[::share, None]).all() and (places < sizes[tasks]).all()
