"""Knockout: byes, ties, invalid matches, and the double elimination beside it."""

import numpy as np
import pytest
from schedules import perfect, play

from strategies import Knockout, by_name


@pytest.mark.parametrize(("n", "rounds"), [(2, [2]), (5, [2, 4, 2]), (6, [4, 4, 2]), (8, [8, 4, 2])])
def test_knockout_has_byes_in_the_first_round_only(n: int, rounds: list[int]) -> None:
    schedule = Knockout().schedule(n, np.random.default_rng(0))
    asked = next(schedule)
    assert asked.min() == (1 << (n - 1).bit_length()) - n  # the first seeds sit out
    sizes = []
    with pytest.raises(StopIteration):
        while True:
            sizes.append(len(asked))
            asked = schedule.send(np.ones(len(asked)) * np.where(asked[:, 0] < asked[:, 1], 1, -1))
    assert sizes == rounds


def test_elimination_is_led_by_the_better_half_of_the_evidence() -> None:
    # The judge errs once, on the pair of the two best: a knockout is lost by it, and two losses are not had.
    table = perfect(np.array([6.0, 5, 2, 1, 0, -1, -2, -3]))
    table[0, 1], table[1, 0] = -0.5, 0.5
    assert play(Knockout(), table)[0].order[0] == 1
    assert play(by_name("double-elimination"), table)[0].order[0] == 0


def test_knockout_tie_goes_to_the_evidence_then_to_position() -> None:
    # 0 beats 1 by 1 nat, 3 beats 2 by 5 nats, and 0 against 3 is even: 3 has the better evidence.
    quality = perfect(np.array([0.0, -1, -5, 0]))
    result, _ = play(Knockout(), quality)
    assert result.order[0] == 3 and result.tied == [0, 3]
    even, _ = play(Knockout(), np.zeros((4, 4)))
    assert even.order.tolist() == [0, 1, 2, 3] and even.tied == [0, 1, 2, 3]


def test_knockout_with_an_invalid_match_is_undecided_and_led_by_the_champion() -> None:
    table = perfect(np.array([0.0, -9, -5, -6]))  # 0 beats 1 by 9, 2 beats 3 by 1
    table[0, 2] = table[2, 0] = np.nan  # the final: 0 has more evidence
    result, _ = play(Knockout(), table)
    assert not result.decided and result.order[0] == 0
    swapped, _ = play(Knockout(), table[np.ix_([2, 3, 0, 1], [2, 3, 0, 1])])
    assert not swapped.decided and swapped.order[0] == 2
