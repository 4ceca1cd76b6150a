"""The shapes that programs are compiled for: every array is padded to one of these."""

BATCHES = (4, 16)  # rows: a last few need not pay for a whole batch


def length(tokens: int) -> int:
    """The padded length for a row: multiples of 32 up to 256, of 64 up to 1024, of 128 beyond."""
    step = 32 if tokens <= 256 else 64 if tokens <= 1024 else 128
    return -(-tokens // step) * step


def batch(rows: int) -> int:
    """The padded number of rows for at most `BATCHES[-1]` of them."""
    return next(size for size in BATCHES if rows <= size)
