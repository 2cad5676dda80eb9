"""Numbers as text: a column that lines up, a share, a time."""

from __future__ import annotations

import math
from collections.abc import Sequence

MISSING = "-"
WIDEST_FIXED = 12


def aligned(values: Sequence[float | None], digits: int = 6) -> list[str]:
    """Return numbers with so many significant digits as strings of one length, points in line.

    All are written with an exponent as soon as one of them needs it, or where plain digits would make
    a column wider than 12. None and NaN give "-".
    """
    numbers = [math.nan if value is None else float(value) for value in values]
    proper = [number for number in numbers if number != 0 and math.isfinite(number)]
    plain = [f"{number:#.{digits}g}" for number in proper]
    before = max((text.find(".") for text in plain), default=0)
    after = max((len(text) - text.find(".") for text in plain), default=0)
    with_exponent = any("e" in text for text in plain) or before + after > WIDEST_FIXED

    def written(number: float) -> str:
        if not math.isfinite(number):
            return MISSING if math.isnan(number) else str(number)
        if with_exponent:
            return f"{number:.{digits - 1}e}" if number else "0"
        text = f"{number:#.{digits}g}" if number else "0."
        whole, _, decimals = text.partition(".")
        return whole + (f".{decimals}" if decimals else "").ljust(after if after > 1 else 0)

    texts = [written(number) for number in numbers]
    width = max((len(text) for text in texts), default=0)
    return [text.rjust(width) for text in texts]


def percent(share: float | None) -> str:
    """Return a share of 1 in percent; what is above 0 but rounds to it is "<0.1%"."""
    if share is None or math.isnan(share):
        return MISSING
    return "<0.1%" if 0 < share < 0.0005 else f"{share:.1%}"


def duration(seconds: float) -> str:
    """Return a time in the two largest units that it needs: 18.6 s, 3 min 05 s, 2 h 03 min."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def times(factor: float) -> str:
    """Return how many times something another is: with one decimal, or where it is large by its power."""
    return f"{factor:,.1f}" if not factor >= 1e4 else f"{factor:.1e}"
