"""The usage that was reported, and what of it counts at a moment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.stripe_double.clock import DAY
from tests.stripe_double.records import Meter, MeterEvent

# An identifier is refused this long; afterwards the same one counts again.
IDENTIFIER_SECONDS = DAY
# An event can be cancelled this long after it was received.
ADJUSTABLE_SECONDS = DAY


@dataclass(slots=True)
class UsageLog:
    """Meter events by meter and customer, and the newest of each identifier."""

    by_payer: dict[tuple[str, str], list[MeterEvent]] = field(default_factory=dict)
    by_identifier: dict[str, MeterEvent] = field(default_factory=dict)
    count: int = 0

    def knows(self, identifier: str, now: int) -> bool:
        """Tell whether an identifier was used within its window."""
        known = self.by_identifier.get(identifier)
        return known is not None and now - known.received < IDENTIFIER_SECONDS

    def add(self, event: MeterEvent) -> None:
        """Keep an event."""
        self.count += 1
        self.by_identifier[event.identifier] = event
        self.by_payer.setdefault((event.meter, event.customer), []).append(event)

    def received(self, meter: str, customer: str, start: int, end: int) -> list[MeterEvent]:
        """Give the events of [start, end) that are neither cancelled nor refused."""
        return [
            one
            for one in self.by_payer.get((meter, customer), ())
            if start <= one.timestamp < end and one.cancelled_from is None and one.refused is None
        ]

    def total(self, meter: Meter, customer: str, span: tuple[int, int], now: int) -> int:
        """Aggregate the events of [start, end) that count now; it may be negative."""
        start, end = span
        counting = [
            one
            for one in self.by_payer.get((meter.id, customer), ())
            if start <= one.timestamp < end
            and one.counts_from <= now
            and one.refused is None
            and (one.cancelled_from is None or one.cancelled_from > now)
        ]
        return aggregate(meter, counting)


def aggregate(meter: Meter, events: Iterable[MeterEvent]) -> int:
    """Apply a meter's formula."""
    taken = list(events)
    if meter.event_time_window is not None:
        width = 3600 if meter.event_time_window == "hour" else DAY
        newest: dict[int, MeterEvent] = {}
        for one in sorted(taken, key=_age):
            newest[one.timestamp // width] = one
        taken = list(newest.values())
    if meter.formula == "count":
        return len(taken)
    if meter.formula == "last":
        return max(taken, key=_age).value if taken else 0
    return sum(one.value for one in taken)


def _age(event: MeterEvent) -> tuple[int, int]:
    return event.timestamp, event.number
