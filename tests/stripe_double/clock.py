"""The double's time: it stands until it is moved, and what is due happens on the way."""

from __future__ import annotations

import calendar
import datetime as dt
import heapq
from collections.abc import Callable
from typing import NamedTuple

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class _Timer(NamedTuple):
    due_ms: int
    number: int
    act: Callable[[], None]


class DoubleClock:
    """Milliseconds since 1970, and timers in the order in which they fall due."""

    def __init__(self, start: str | int) -> None:
        """Stand at an RFC 3339 time, or at milliseconds since 1970."""
        self.now_ms = start if isinstance(start, int) else milliseconds(start)
        self._timers: list[_Timer] = []
        self._number = 0

    @property
    def now(self) -> int:
        """Whole seconds since 1970, which is all that Stripe tells."""
        return self.now_ms // 1000

    def at(self, second: int, act: Callable[[], None]) -> None:
        """Let something happen when the clock comes to a second, or moves next if that is past."""
        self._number += 1
        timer = _Timer(max(second * 1000, self.now_ms), self._number, act)
        heapq.heappush(self._timers, timer)

    def step(self, target_ms: int) -> bool:
        """Go to the next timer until a time and let it act; False: none is left, and it is then."""
        if self._timers and self._timers[0].due_ms <= target_ms:
            timer = heapq.heappop(self._timers)
            self.now_ms = max(self.now_ms, timer.due_ms)
            timer.act()
            return True
        # Never back: what acted meanwhile may have moved it further.
        self.now_ms = max(self.now_ms, target_ms)
        return False


def milliseconds(rfc3339: str) -> int:
    """Read an RFC 3339 time as milliseconds since 1970."""
    moment = dt.datetime.fromisoformat(rfc3339)
    if moment.tzinfo is None:
        raise ValueError(f"{rfc3339!r} names no time zone; end it with Z or an offset")
    return (moment - _EPOCH) // dt.timedelta(milliseconds=1)


def rfc3339(second: int) -> str:
    """Write seconds since 1970 as v2 of the API does."""
    return dt.datetime.fromtimestamp(second, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def months_after(anchor: int, months: int) -> int:
    """Give the second a number of months after an anchor; a day that is missing is the last one.

    Counted from the anchor and not from the last cycle: the 31st comes back after February.
    """
    start = dt.datetime.fromtimestamp(anchor, dt.UTC)
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    day = min(start.day, calendar.monthrange(year, month + 1)[1])
    return int(start.replace(year=year, month=month + 1, day=day).timestamp())
