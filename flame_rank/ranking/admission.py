"""When another problem is opened: one rule for `rank_many`, for asyncio, and for a plan, which must count the same."""


def has_room(opened: int, pending: int, batch: int) -> bool:
    """Says whether another problem may be opened before the judge is called.

    Problems without a comparison (a single text) count, too: otherwise a whole file of them would be kept in memory.

    Args:
      opened: the number of open problems.
      pending: the number of comparisons in their rounds that have no answer yet.
      batch: the largest number of comparisons in one call of the judge, and of problems that are open at once.
    """
    return pending < batch and opened < batch
