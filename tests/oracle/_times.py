"""Instants as whole numbers.

Nanoseconds since 1970 as sent (`_ns`), milliseconds as kept (`_ms`).
"""

import calendar
import datetime as dt
import re

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
MS_PER_DAY = 86_400_000
NS_PER_DAY = MS_PER_DAY * NS_PER_MS

_EPOCH_DAY = dt.date(1970, 1, 1).toordinal()
_RFC3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})"
    r"(?:\.([0-9]{1,9}))?(?:(Z)|([+-])([0-9]{2}):([0-9]{2}))"
)

YEAR_1_NS = (dt.date(1, 1, 1).toordinal() - _EPOCH_DAY) * NS_PER_DAY
YEAR_10000_NS = (dt.date(9999, 12, 31).toordinal() + 1 - _EPOCH_DAY) * NS_PER_DAY


def in_years_1_to_9999(at_ns: int) -> bool:
    """Whether protobuf's Timestamp can hold this instant."""
    return YEAR_1_NS <= at_ns < YEAR_10000_NS


def instant(text: str) -> int:
    """Nanoseconds of an RFC 3339 text with a zone; ValueError for anything else."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"not an RFC 3339 time with a zone: {text!r}")
    year, month, day, hour, minute, second = (int(match[i]) for i in range(1, 7))
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError(f"no such time of day: {text!r}")
    days = dt.date(year, month, day).toordinal() - _EPOCH_DAY
    at_ns = (days * 86_400 + hour * 3_600 + minute * 60 + second) * NS_PER_S
    at_ns += int((match[7] or "0").ljust(9, "0"))
    if match[8] is None:
        offset_hours, offset_minutes = int(match[10]), int(match[11])
        if offset_hours > 23 or offset_minutes > 59:
            raise ValueError(f"no such zone: {text!r}")
        offset_ns = (offset_hours * 3_600 + offset_minutes * 60) * NS_PER_S
        at_ns -= offset_ns if match[9] == "+" else -offset_ns
    if not in_years_1_to_9999(at_ns):
        raise ValueError(f"outside years 1 to 9999: {text!r}")
    return at_ns


def cut_to_ms(at_ns: int) -> int:
    """Whole milliseconds, cut.

    Before 1970 too this is the earlier one, as protobuf counts nanos forward.
    """
    return at_ns // NS_PER_MS


def _date_and_ms_of_day(at_ms: int) -> tuple[dt.date, int]:
    days, ms_of_day = divmod(at_ms, MS_PER_DAY)
    return dt.date.fromordinal(_EPOCH_DAY + days), ms_of_day


def text_of(at_ns: int) -> str:
    """RFC 3339 in UTC with as many of nine decimals as needed."""
    days, ns_of_day = divmod(at_ns, NS_PER_DAY)
    seconds, nanos = divmod(ns_of_day, NS_PER_S)
    date = dt.date.fromordinal(_EPOCH_DAY + days)
    fraction = f".{nanos:09d}".rstrip("0") if nanos else ""
    return (
        f"{date.year:04d}-{date.month:02d}-{date.day:02d}"
        f"T{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{fraction}Z"
    )


def metadata_time(at_ms: int | None) -> str:
    """`YYYY-MM-DDTHH:MM:SS.mmmZ`, or nothing where the time is unknown."""
    if at_ms is None:
        return ""
    return f"{text_of(at_ms // 1000 * NS_PER_S)[:-1]}.{at_ms % 1000:03d}Z"


def add_months(anchor_ms: int, months: int) -> int:
    """The same day and time of day, so many months later in UTC, or that month's last day."""
    date, ms_of_day = _date_and_ms_of_day(anchor_ms)
    year, month0 = divmod(date.year * 12 + date.month - 1 + months, 12)
    day = min(date.day, calendar.monthrange(year, month0 + 1)[1])
    days = dt.date(year, month0 + 1, day).toordinal() - _EPOCH_DAY
    return days * MS_PER_DAY + ms_of_day
