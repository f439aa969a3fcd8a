"""Months in UTC, for billing cycles."""

from __future__ import annotations

import calendar
import datetime as dt

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MS = dt.timedelta(milliseconds=1)

MONTH_INDEX_MAX = 9999 * 12 + 11  # December 9999, the last month that has a date


def add_months(anchor: int, months: int) -> int:
    """Give anchor + months (ms): same day and time of day, clamped to the month's last day."""
    moment = _EPOCH + dt.timedelta(milliseconds=anchor)
    index = min(moment.year * 12 + moment.month - 1 + months, MONTH_INDEX_MAX)
    year, month = divmod(index, 12)
    day = min(moment.day, calendar.monthrange(year, month + 1)[1])
    return (moment.replace(year=year, month=month + 1, day=day) - _EPOCH) // _MS


def periods_until(anchor: int, now: int) -> int:
    """Count whole months from the anchor.

    The largest n ≥ 0 with anchor + n months ≤ now, else 0.
    """
    start = _EPOCH + dt.timedelta(milliseconds=anchor)
    current = _EPOCH + dt.timedelta(milliseconds=now)
    months = (current.year - start.year) * 12 + current.month - start.month
    while months > 0 and add_months(anchor, months) > now:
        months -= 1
    return max(months, 0)
