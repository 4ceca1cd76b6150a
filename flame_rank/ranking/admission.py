"""Decides when another problem is opened: one rule for `rank_many`, for asyncio, and for plans, which must count
alike."""

from typing import Final

TOGETHER: Final = 1024  # comparisons that are open at once if the judge is called for each problem separately
QUICK: Final = 0.02  # seconds that such a judge is asked, or problems are read, before rankings are given


def has_room(opened: int, pending: int, batch: int) -> bool:
    """Tells whether another problem may be opened before the judge is called.

    Problems without a comparison (a single text) count, too: otherwise a whole file of them would stay in memory.

    Args:
      opened: the number of open problems.
      pending: the number of comparisons in their rounds that have no answer yet.
      batch: the largest number of comparisons in one call of the judge, and of problems that are open at once.
    """
    return pending < batch and opened < batch
