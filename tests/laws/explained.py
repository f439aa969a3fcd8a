"""Explanations as whoever reads them sees them: opened to the last part, checked by arithmetic.

Nothing here is computed by the product: only what the messages say is taken, and the log.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import pairwise
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from usage_ledger.v1 import audit_why_pb2 as pb
from usage_ledger.v1 import queries_pb2

More = Callable[[str], pb.Explanation]
Number = pb.ExplainedNumber

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def opened(explanation: pb.Explanation, more: More) -> Number:
    """The number with all its parts, page after page; pages must carry on where the last ended."""
    return _opened(explanation.number, more)


def _opened(number: Number, more: More) -> Number:
    parts = [_opened(part, more) for part in number.parts]
    cursor = number.cursor
    while cursor:
        page = more(cursor).number
        assert (page.kind, page.credit_cents) == (number.kind, number.credit_cents)
        assert page.earlier_part_count == len(parts)
        assert page.earlier_part_cents == sum(part.credit_cents for part in parts)
        parts += [_opened(part, more) for part in page.parts]
        cursor = page.cursor
    whole = Number()
    whole.CopyFrom(number)
    beside = [_opened(one, more) for one in number.beside]
    del whole.parts[:], whole.beside[:]
    whole.parts.extend(parts)
    whole.beside.extend(beside)
    whole.cursor = ""
    return whole


def numbers_in(number: Number) -> Iterator[Number]:
    yield number
    for part in (*number.parts, *number.beside):
        yield from numbers_in(part)


def events_in(number: Number) -> dict[int, pb.ExplainedEvent]:
    """By position."""
    return {
        event.event.position.number: event for one in numbers_in(number) for event in one.events
    }


def wrong(number: Number) -> list[str]:
    """Where a tree does not add up; empty when it does."""
    return [f"{one.title}: {what}" for one in numbers_in(number) for what in _wrong(one)]


def _wrong(one: Number) -> Iterator[str]:
    yield from _wrong_parts(one)
    yield from _wrong_events(one)
    sign = -1 if one.is_taken_away else 1
    computed = recomputed(one)
    if computed is not None and sign * computed != one.credit_cents:
        yield f"the arithmetic gives {computed}"
    leaf = not one.parts and not one.cursor and one.credit_cents
    if leaf and computed is None and one.kind not in _WITHOUT_ARITHMETIC:
        yield "nothing says how it comes about"


def _wrong_parts(one: Number) -> Iterator[str]:
    if one.in_whole_credits and one.credit_cents % 100:
        yield "no whole credits"
    if one.cursor:
        return
    if one.part_count != len(one.parts):
        yield f"{len(one.parts)} parts of {one.part_count}"
    if one.parts and one.credit_cents != sum(part.credit_cents for part in one.parts):
        yield "the parts are not the number"


def _wrong_events(one: Number) -> Iterator[str]:
    sign = -1 if one.is_taken_away else 1
    moved = sum(event.after_cents - event.before_cents for event in one.events)
    if one.events and sign * moved != one.credit_cents:
        yield "the events do not move it to where it is"
    moving = [event for event in one.events if event.role != pb.EVENT_ROLE_BEARS_ON]
    for earlier, event in pairwise(moving):
        if event.before_cents != earlier.after_cents:
            yield f"the event at {event.event.position.number} does not follow"


_WITHOUT_ARITHMETIC = {
    pb.NUMBER_KIND_SHORTFALL,
    pb.NUMBER_KIND_EXCESS,
    pb.NUMBER_KIND_OTHER_INVOICES,
    pb.NUMBER_KIND_NOT_DERIVED,
    pb.NUMBER_KIND_VOIDED_ENTRY,
}


def recomputed(one: Number) -> int | None:
    """What the arithmetic gives, from its inputs alone; None where there is none."""
    match one.WhichOneof("arithmetic"):
        case "runtime":
            return _runtime(one.runtime)
        case "stated":
            named = {event.event.position.number: event for event in one.events}
            event = named[one.stated.position.number]
            assert event.after_cents - event.before_cents == one.stated.credit_cents
            return one.stated.credit_cents
        case "write_off":
            return _write_off(one.write_off)
        case "usage_record":
            return 100 * one.usage_record.delta_credits
    return None


def _runtime(said: pb.RuntimeArithmetic) -> int:
    milliseconds = milliseconds_of(said.ended) - milliseconds_of(said.started)
    assert milliseconds == said.milliseconds
    seconds = 0 if milliseconds < 0 else half_up(Fraction(milliseconds, 1000))
    assert seconds == said.seconds
    per_second = Fraction(said.credits_per_minute) * 100 / 60
    assert per_second == Fraction(said.cents_per_second)
    assert seconds * per_second == Fraction(said.exact_fraction)
    cents = half_up(seconds * per_second)
    assert cents == said.credit_cents
    return cents


def _write_off(said: pb.WriteOffArithmetic) -> int:
    if said.reason == "upgrade":
        return -max(said.balance_cents - said.unsettled_cents, 0)
    limit = said.spending_limit_cents
    return -max(min(said.balance_cents, limit) if limit else said.balance_cents, 0)


def half_up(exact: Fraction) -> int:
    """Half away from zero, of what is never negative."""
    return (2 * exact.numerator + exact.denominator) // (2 * exact.denominator)


def milliseconds_of(time: Timestamp) -> int:
    return time.seconds * 1000 + time.nanos // 1_000_000


def _time(text: str | None) -> int | None:
    if text is None:
        return None
    return (dt.datetime.fromisoformat(text) - _EPOCH) // dt.timedelta(milliseconds=1)


# What the events alone say ------------------------------------------------------------------------


def balance_by(events: list[queries_pb2.LogEvent]) -> int:
    """What a payer owes by the events that are named, and by nothing else."""
    streams: dict[str, list[queries_pb2.LogEvent]] = {}
    for event in sorted(events, key=lambda one: one.position.number):
        streams.setdefault(event.stream, []).append(event)
    accrual = (0, 0)
    for event in streams.get("usage-reconciled", ()):
        accrual = event.position.number, _time(json.loads(event.json)["instant"]) or 0
    return sum(
        _instance(its, *accrual) if stream.startswith("instance:") else _stated(its)
        for stream, its in streams.items()
    )


def _stated(events: list[queries_pb2.LogEvent]) -> int:
    total = 0
    for event in events:
        fields = json.loads(event.json)
        match event.topic:
            case "credit-note-voided":
                total -= fields["credit_cents"]
            case "billing-cycle-closed":
                total += fields["write_off_cents"]
            case "credit-note-issued" | "entry-imported" | "invoice-settled" | "invoice-corrected":
                total += fields["credit_cents"]
    return total


def _instance(events: list[queries_pb2.LogEvent], accrued_at: int, accrued_to: int) -> int:
    """One instance after all its events."""
    told = _Told()
    for event in events:
        told.take(event)
    if told.charged is not None:
        return told.charged
    if not told.started:
        return 0
    end = told.ends.get("stopping")
    end = told.ends.get("stopped") if end is None else end
    if end is None and told.begun >= accrued_at:
        return 0
    end = accrued_to if end is None else end
    start = _time(told.started["started_time"]) or 0
    seconds = half_up(Fraction(max(end - start, 0), 1000))
    return half_up(seconds * Fraction(told.started["rate"]) * 100 / 60)


class _Told:
    """What an instance's events tell."""

    def __init__(self) -> None:
        self.started: dict[str, Any] = {}
        self.begun = 0
        self.ends: dict[str, int | None] = {}
        self.charged: int | None = None

    def take(self, event: queries_pb2.LogEvent) -> None:
        fields = json.loads(event.json)
        match event.topic:
            case "instance-voided":
                self.__init__()  # type: ignore[misc]  # nothing before it counts
            case "instance-started" | "instance-imported":
                self.started, self.begun = fields, event.position.number
                self.charged = fields.get("credit_cents")
                for end in ("stopping", "stopped"):
                    if fields.get(f"{end}_time"):
                        self.ends[end] = _time(fields[f"{end}_time"])
            case "instance-stopping":
                self.ends["stopping"] = _time(fields["stopping_time"])
                self.charged = None if fields["corrects"] else self.charged
            case "instance-stopped":
                self.ends["stopped"] = _time(fields["stopped_time"])
            case "instance-ended":
                self.ends = {end: _time(fields["ended_time"]) for end in (*self.ends, "stopped")}
                self.charged = None
