"""The rows of a pack's tables, from events and from what is folded from them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from events import LedgerEvent, PriceListPublished
from events.readable import attribution_id, time_text, uuid_text
from ledger.audit.packs.drawing import Drawn
from ledger.audit.packs.layout import Count
from ledger.queries import Draft
from projections import (
    OWN_PERIOD,
    Accrual,
    Entry,
    OpenInstance,
    OtherEntry,
    accrued,
)

WORKSPACE_INSTANCE = "workspace_instance"  # kind of an entry, beside those of other entries

_encode = msgspec.json.Encoder().encode


class EventLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An event as a line, with all that its leaf hashes."""

    leaf: Count
    position: Count
    stream: str
    version: Count
    topic: str
    recorded_ms: int
    state: bytes


def event_line(drawn: Drawn) -> EventLine:
    """Give an event as a line."""
    leaf, (position, stream, version, topic, state), event = drawn
    return EventLine(leaf, position, stream, version, topic, event.recorded_at, state)


def event_row(shard: int, drawn: Drawn) -> tuple[Any, ...]:
    """Give an event as a row of `EVENTS`."""
    leaf, (position, stream, version, topic, state), event = drawn
    payer = getattr(event, "payer", None)
    return (
        shard,
        leaf,
        position,
        stream,
        version,
        topic,
        event.recorded_at,
        event.author,
        None if payer is None else attribution_id(payer),
        state,
        fields_json(event),
    )


def fields_json(event: LedgerEvent) -> str:
    """Write an event's own fields: times in ms, bytes in hexadecimal."""
    names = event.__struct_fields__[2:]  # without when and by whom, which stand beside
    return _encode({name: _plain(getattr(event, name)) for name in names}).decode()


def _plain(value: Any) -> Any:
    # Nested ones lie in the bytes as arrays, and here, too.
    return value.hex() if isinstance(value, bytes) else value


def entry_row(
    shard: int, entry: Entry | OpenInstance | OtherEntry, accrual: Accrual
) -> tuple[Any, ...]:
    """Give an entry as a row of `ENTRIES`; what runs is priced to the accrual."""
    if isinstance(entry, OtherEntry):
        instance: tuple[Any, ...] = (None, False, None, None, None, None, _user(entry.user))
        return (
            shard, attribution_id(entry.payer), uuid_text(entry.entry_id), entry.kind,
            entry.effective, entry.cents, *instance, None, None, None, None, None, entry.position,
        )  # fmt: skip
    if isinstance(entry, OpenInstance):
        assert entry.started is not None, "what runs has started"
        amount = accrued(entry.rate, entry.started, accrual.instant)
        effective, cents, seconds, draft = accrual.instant, amount.cents, amount.seconds, True
    else:
        effective, cents, seconds, draft = entry.effective, entry.cents, entry.seconds, entry.draft
    return (
        shard,
        attribution_id(entry.payer),
        uuid_text(entry.entry_id),
        WORKSPACE_INSTANCE,
        effective,
        cents,
        seconds,
        bool(draft),
        uuid_text(entry.instance),
        entry.workspace_id,
        entry.workspace_class,
        entry.workspace_type,
        _user(entry.user),
        entry.creation,
        entry.started,
        entry.stopping,
        entry.stopped,
        entry.rate,
        entry.start_position,
    )


def _user(user: bytes) -> str | None:
    return uuid_text(user) if user else None


def price_rows(event: PriceListPublished, position: int) -> Iterator[tuple[Any, ...]]:
    """Give a price list as rows of `PRICES`."""
    rates: list[tuple[str | None, str]] = sorted(event.credits_per_minute.items())
    for workspace_class, rate in (*rates, (None, event.fallback)):
        yield (
            event.revision, event.in_force_from, workspace_class, rate, event.recorded_at, position,
        )  # fmt: skip


class Sums(NamedTuple):
    """Entries of a payer by where they are dated, in cents."""

    entries: int = 0  # in the period
    carried: int = 0
    period: int = 0
    later: int = 0


def payer_line(shard: int, payer: bytes, sums: Sums, draft: Draft) -> dict[str, Any]:
    """Give a payer's balance, how it comes about, and the open cycle."""
    rows = draft.rows
    cost_center = rows.cost_center
    return {
        "shard": shard,
        "attribution_id": attribution_id(payer),
        "carried_cents": sums.carried,
        "period_entries": sums.entries,
        "period_cents": sums.period,
        "later_cents": sums.later,
        "balance_cents": rows.balance_cents,
        "cost_center": None
        if cost_center is None
        else {
            "spending_limit": cost_center.spending_limit,
            "billing_strategy": cost_center.strategy,
            "billing_cycle_start": time_text(cost_center.cycle_start),
            "next_billing_time": time_text(cost_center.next_billing),
        },
        "draft": _draft(draft),
    }


def _draft(draft: Draft) -> dict[str, Any]:
    cycle = draft.rows.cycle
    start = None if cycle is None else cycle.start
    return {
        "cycle": 0 if cycle is None else cycle.number,
        "cycle_start": None if start is None else time_text(start),
        "carried_cents": 0 if cycle is None else cycle.carried_cents,
        "lines": [
            {
                "workspace_class": line.workspace_class,
                "late_for": _period(line.late_for),
                "instances": line.amount.count,
                "seconds": line.amount.seconds,
                "credit_cents": line.amount.cents,
            }
            for line in draft.lines
        ],
        "credit_notes": 0 if cycle is None else cycle.note_count,
        "credit_note_cents": 0 if cycle is None else cycle.note_cents,
        "voided_credit_notes": [
            {"late_for": _period(each.late_for), "notes": each.notes, "credit_cents": each.cents}
            for each in draft.voided_notes
        ],
        "invoices": 0 if cycle is None else cycle.invoice_count,
        "invoice_cents": 0 if cycle is None else cycle.invoice_cents,
        "total_cents": draft.total_cents,
        "billable_credits": draft.billable_credits,
    }


def _period(late_for: int) -> int | None:
    return None if late_for == OWN_PERIOD else late_for
