"""The clock, as a port: the service uses the machine's, tests hand in their own."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now_ns(self) -> int:
        """Give nanoseconds since 1970 (UTC)."""


class SystemClock:
    """The machine's clock."""

    def now_ns(self) -> int:
        """Give nanoseconds since 1970 (UTC)."""
        return time.time_ns()


def now_ms(clock: Clock) -> int:
    """Give the time in milliseconds, cut."""
    return clock.now_ns() // 1_000_000
