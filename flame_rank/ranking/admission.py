"""When another problem is opened: one rule for `rank_many`, for asyncio, and for a plan, which must count the same."""


def has_room(opened: int, pending: int, batch: int) -> bool:
    """Says whether another problem may be opened before the judge is called.

    Problems without a comparison (a single text) count too: otherwise a file of them would be held as a whole.

    Args:
      opened: problems that are open.
      pending: comparisons that their rounds wait for.
      batch: comparisons that are collected for one call of the judge, and problems that are open at once.
    """
    return pending < batch and opened < batch
