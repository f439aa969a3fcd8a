"""Entries that an event states: credit notes, invoices, corrections of them, write-offs."""

from __future__ import annotations

from collections.abc import Sequence

from aggregates import CostCenter
from aggregates.cost_center import UPGRADE
from events import (
    BillingCycleClosed,
    CreditNoteIssued,
    EntryImported,
    InvoiceCorrected,
    InvoiceSettled,
    Recorded,
)
from events.readable import uuid_text
from ledger.audit.why.basis import Basis
from ledger.audit.why.numbers import (
    BEARS_ON,
    CREDIT_NOTE,
    IMPORTED_ENTRY,
    INVOICE_CORRECTION,
    SETTLEMENT,
    STATES,
    VOIDED_ENTRY,
    VOIDS,
    WRITE_OFF,
    Number,
    Stated,
    Step,
    WriteOff,
)
from ledger.audit.why.steps import step
from ledger.group import cost_center_stream
from projections import OtherEntry, Void


def other_numbers(basis: Basis, rows: Sequence[OtherEntry]) -> list[Number]:
    """Explain invoice and credit note entries."""
    events = basis.events([row.position for row in rows])
    return [other_number(basis, row, events[row.position]) for row in rows]


def other_number(basis: Basis, row: OtherEntry, recorded: Recorded) -> Number:
    """Explain one of them by its event."""
    event = recorded.event
    number = Number(
        "",
        "",
        row.cents,
        row.payer,
        steps=[step(recorded, STATES, 0, row.cents)],
        arithmetic=Stated(recorded.position, row.cents),
        entry_id=row.entry_id,
        effective=row.effective,
    )
    match event:
        case CreditNoteIssued():
            number.kind, number.title = CREDIT_NOTE, f"credit note {uuid_text(row.entry_id)}"
        case BillingCycleClosed():
            number.kind, number.title = WRITE_OFF, f"write-off of cycle {event.cycle_number}"
            number.cycle = event.cycle_number
            number.arithmetic, terms = _write_off(basis, event, recorded.position)
            number.steps = [*terms, *number.steps]
        case InvoiceSettled():
            number.kind, number.title = SETTLEMENT, f"Stripe invoice {event.invoice_id}, settled"
            number.invoice_id, number.subscription_id = event.invoice_id, event.subscription_id
        case InvoiceCorrected():
            number.kind = INVOICE_CORRECTION
            number.title = f"Stripe invoice {event.invoice_id}, {event.cause}"
            number.invoice_id = event.invoice_id
        case EntryImported():
            number.kind = IMPORTED_ENTRY
            number.title = f"imported {row.kind.replace('_', ' ')} {uuid_text(row.entry_id)}"
        case _:
            raise TypeError(f"{event.TOPIC} is no entry")
    return number


def _write_off(
    basis: Basis, event: BillingCycleClosed, position: int
) -> tuple[WriteOff, list[Step]]:
    """Give what a write-off was computed from, and the event that had set the limit."""
    balance, cents = event.balance_cents, event.write_off_cents
    if event.reason == UPGRADE:
        # What is written off is the balance but for what an earlier subscription's reports hold.
        return WriteOff(event.reason, balance, 0, balance + cents, cents), []
    center, newest = CostCenter(), None
    for recorded in basis.stream(cost_center_stream(basis.payer)):
        if recorded.position >= position:
            break
        before = center.spending_limit
        center.apply(recorded.event)
        if newest is None or center.spending_limit != before:
            newest = recorded
    terms = [] if newest is None else [step(newest, BEARS_ON, 0, 0)]
    return WriteOff(event.reason, balance, 100 * center.spending_limit, 0, cents), terms


def voided_note(void: Void, issued: Recorded, voided: Recorded) -> Number:
    """Explain a credit note that counts no more."""
    return Number(
        VOIDED_ENTRY,
        f"voided credit note {uuid_text(void.entry_id)}",
        0,
        void.payer,
        steps=[step(issued, STATES, 0, void.cents), step(voided, VOIDS, void.cents, 0)],
        entry_id=void.entry_id,
        effective=void.effective,
    )
