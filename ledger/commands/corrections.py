"""What was taken back of a settled invoice, and holds no more, is settled again."""

from __future__ import annotations

from collections.abc import Container

from events import InvoiceCorrected
from ledger.commands.settlements import invoice_stream
from ledger.group import Group

UNDONE = "undone:"  # begins the cause of a correction that takes another one back


def undo_corrections(group: Group, payer: bytes, invoice_id: str, *, kept: Container[str]) -> None:
    """Settle again what was taken back for a cause that holds no more.

    A credit note that was voided, or an invoice that was given up and is paid after all.
    """
    stream = invoice_stream(invoice_id)
    booked = [
        recorded.event
        for recorded in group.stream(stream)
        if isinstance(recorded.event, InvoiceCorrected)
    ]
    undone = {event.cause for event in booked if event.cause.startswith(UNDONE)}
    for event in booked:
        cause = UNDONE + event.cause
        if event.cause in kept or event.cause in undone or cause in undone:
            continue
        group.append_next(
            stream,
            InvoiceCorrected(
                group.recorded_at,
                group.author,
                payer,
                invoice_id,
                cause,
                -event.credit_cents,
                group.now,
            ),
        )
