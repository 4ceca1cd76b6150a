"""The shapes for which programs are compiled: every array is padded to one of them."""

from collections.abc import Iterator, Sequence


def length(tokens: int) -> int:
    """Returns the padded length of a row's own tokens: multiples of 32 up to 256, of 64 up to 1024, of 128 beyond."""
    step = 32 if tokens <= 256 else 64 if tokens <= 1024 else 128
    return -(-tokens // step) * step


def window(tokens: int) -> int:
    """Returns the padded length of the prefixes that rows attend to: multiples of 128. They are only looked at, which
    costs little, so that fewer programs are worth more than less padding."""
    return -(-tokens // 128) * 128


def pack(
    lengths: Sequence[int], most_tokens: int, *, multiple: int = 1, beside: int = 0
) -> Iterator[tuple[list[int], int, int]]:
    """Packs rows into batches, the longest first.

    The number of rows in a batch is a power of two (times `multiple`). The last few rows make one padded batch if the
    padding is at most an eighth of it; otherwise they are split into several batches.

    Args:
      lengths: the number of tokens of each row.
      most_tokens: the most tokens of a batch, padding included; a single row may have more.
      multiple: the number of devices that share a batch, which is the least number of its rows.
      beside: the tokens that each row needs in addition to its own.

    Yields:
      The indices of the rows, the padded number of rows and the padded length.
    """
    left = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    while left:
        padded = length(lengths[left[0]])
        wanted = -(-len(left) // multiple)
        most = max(1, most_tokens // (padded + beside) // multiple)
        rows = 1 << min(most.bit_length() - 1, (wanted - 1).bit_length())
        if 8 * wanted < 7 * rows:
            rows //= 2
        rows *= multiple
        yield left[:rows], rows, padded
        left = left[rows:]
