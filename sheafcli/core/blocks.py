"""Samples in blocks, so that work arrays stay small however many samples there are."""

from __future__ import annotations

from collections.abc import Iterator

# A work array of float64 takes 32 MB.
ENTRIES = 1 << 22


def blocks(n: int, entries: int, limit: int = ENTRIES) -> Iterator[slice]:
    """Yield slices that cover range(n) in order, of at most `limit` entries where one item has `entries`.

    An item larger than the limit has a block to itself.
    """
    size = max(1, limit // max(1, entries))
    for first in range(0, n, size):
        yield slice(first, min(n, first + size))
