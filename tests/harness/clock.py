"""A clock that stands where the test puts it."""

from __future__ import annotations

import datetime as dt


class ManualClock:
    """Implements `ledger.clock.Clock`; moves only when told to."""

    def __init__(self, now: str = "2026-11-01T08:00:00Z") -> None:
        """Stand at an RFC 3339 time."""
        self._now_ns = 0
        self.set(now)

    def now_ns(self) -> int:
        """Give nanoseconds since 1970."""
        return self._now_ns

    def set(self, now: str) -> None:
        """Stand at an RFC 3339 time."""
        moment = dt.datetime.fromisoformat(now)
        epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
        self._now_ns = (moment - epoch) // dt.timedelta(microseconds=1) * 1000

    def set_ns(self, now_ns: int) -> None:
        """Stand at nanoseconds since 1970."""
        self._now_ns = now_ns

    def advance(self, **duration: float) -> None:
        """Go on by a `datetime.timedelta`'s arguments, for example `hours=1`."""
        self._now_ns += dt.timedelta(**duration) // dt.timedelta(microseconds=1) * 1000
