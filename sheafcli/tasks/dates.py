"""Dates as numbers of days, and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

ISO = "iso"
"""The format of dates as 2024-01-31, also with a time behind it."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)


def days(cell: str, format: str) -> float:
    """Return a date as days since 1970-01-01, UTC unless it says otherwise; NaN if it is no such date."""
    try:
        when = datetime.fromisoformat(cell) if format == ISO else datetime.strptime(cell, format)
    except ValueError:
        return np.nan
    return ((when if when.tzinfo else when.replace(tzinfo=UTC)) - _EPOCH) / _DAY


def day(value: float, format: str) -> str:
    """Return days since 1970-01-01 as a date in a format, to the second.

    "iso" shows a time only if there is one.

    Beyond the years 1 to 9999 there are no dates: the first or the last stands for those.
    """
    first, last = (
        datetime(year, month, number, tzinfo=UTC) for year, month, number in ((1, 1, 1), (9999, 12, 31))
    )
    within = min(max(value, (first - _EPOCH) / _DAY), (last - _EPOCH) / _DAY)
    when = _EPOCH + timedelta(seconds=round(within * 86400))
    if format != ISO:
        return when.strftime(format)
    bare = when.replace(tzinfo=None)
    return bare.date().isoformat() if bare.time() == bare.min.time() else bare.isoformat()
