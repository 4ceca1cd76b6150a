"""Chooses how many comparisons one call of a user's judge has if its answers go into a ledger. A killed run should lose
no more than one call costs.
"""

QUICK = 1.0  # seconds of judging that may be lost
PAYS = 0.75  # a call of twice as many comparisons pays if it takes less than this share of the seconds for each


class Pace:
    """Measures how many comparisons a call should have: several if they are quick, or cheaper together."""

    def __init__(self, most: int):
        """Args:
        most: the most comparisons of a call, a power of two.
        """
        self._most = most
        self._each: dict[int, float] = {}  # seconds a comparison, in the last call of 1, 2, 4, ... comparisons

    @property
    def size(self) -> int:
        """The number of comparisons that the next call may have."""
        size = 1
        while size < self._most and (each := self._each.get(size)) is not None:
            each_of_twice = self._each.get(2 * size)
            if each * size >= QUICK and each_of_twice is not None and each_of_twice > PAYS * each:
                break
            size *= 2
        return size

    def took(self, comparisons: int, seconds: float) -> None:
        """Notes how long a call took, unless it had only the rest of a round, with fewer comparisons than allowed."""
        if comparisons.bit_count() == 1:
            self._each[comparisons] = seconds / comparisons
