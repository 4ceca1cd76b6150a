"""How many comparisons a judge of the user's own is asked at once where its answers are to be kept: what is lost when a
run is killed shall not be more than what one call of the judge costs.
"""

QUICK = 1.0  # seconds of judging that may be lost
PAYS = 0.75  # of the seconds for one comparison: in a call of twice as many it takes less, or the call is not worth it


class Pace:
    """Finds how many comparisons a call may have: more than one if they are quick, or cheaper together."""

    def __init__(self, most: int):
        """Args:
        most: comparisons of a call, a power of two.
        """
        self._most = most
        self._each: dict[int, float] = {}  # seconds for one comparison, in the last call of 1, 2, 4, ... of them

    @property
    def size(self) -> int:
        """Comparisons of the next call at most."""
        size = 1
        while size < self._most and (one := self._each.get(size)) is not None:
            twice = self._each.get(2 * size)
            if one * size >= QUICK and twice is not None and twice > PAYS * one:
                break
            size *= 2
        return size

    def took(self, comparisons: int, seconds: float) -> None:
        """Notes what a call took; of the rest of a round, which has fewer than it may, nothing follows."""
        if comparisons.bit_count() == 1:
            self._each[comparisons] = seconds / comparisons
