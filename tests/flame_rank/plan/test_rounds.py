"""How rounds are grouped into calls of the judge."""

from flame_rank.plan.rounds import calls


def test_a_call_waits_until_it_is_full() -> None:
    sizes = [[3], [], [2], [3], [1]]
    assert calls(sizes, 5, last=False) == ([[0, 1]], 3)
    assert calls(sizes, 5, last=True) == ([[0, 1], [2, 3]], 5)
    assert calls(sizes[:3], 5, last=False) == ([[0, 1]], 3)
    assert calls([[3, 1], [3, 2, 1], [1]], 5, last=True) == ([[0, 2], [1, 3, 5], [4]], 3)
    assert calls([[]] * 4, 3, last=False) == ([], 3)
    assert calls([], 5, last=True) == ([], 0)
