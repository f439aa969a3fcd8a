"""What an entry is called and what a running one has accrued."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from events import (
    BillingCycleClosed,
    CreditNoteIssued,
    EntryImported,
    InvoiceCorrected,
    InvoiceSettled,
    Recorded,
)
from events.money import cents_per_second, runtime_cents, runtime_seconds
from projections.rows import AccrualKey, Amount, OtherEntry

INVOICE, CREDIT_NOTE = "invoice", "credit_note"  # kinds of other entries
WORKSPACE_INSTANCE = "workspace_instance"

# Namespace of entry ids; fixed for ever, or every entry would change its id.
_ENTRY_NAMESPACE = bytes.fromhex("8f3c1c5ad0e9544a9c0e6f2c4f1f7b31")
# A hash is copied in half the time in which one is made.
_HASHED_NAMESPACE = hashlib.sha1(_ENTRY_NAMESPACE, usedforsecurity=False)


def entry_id_of(name: str) -> bytes:
    """Give the name-based UUID (version 5) of an instance id or a stream, as 16 bytes."""
    hashed = _HASHED_NAMESPACE.copy()
    hashed.update(name.encode())
    digest = bytearray(hashed.digest())
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return bytes(digest[:16])


def other_entry_of(recorded: Recorded) -> OtherEntry | None:
    """Give the invoice or credit note entry that an event is; None when it is none.

    Write-offs, settled invoices and corrections of 0 cents are none.
    """
    stream, version, event, position = recorded
    match event:
        case CreditNoteIssued():
            name, effective, kind, user = stream, event.effective_time, CREDIT_NOTE, event.user
        case BillingCycleClosed() if event.write_off_cents:
            entry_id = entry_id_of(stream)
            return OtherEntry(
                event.payer,
                event.closed_at,
                entry_id,
                INVOICE,
                event.write_off_cents,
                b"",
                position,
            )
        case EntryImported():
            return OtherEntry(
                event.payer,
                event.effective_time,
                event.entry_id,
                event.kind,
                event.credit_cents,
                event.user,
                position,
            )
        case InvoiceSettled() if event.credit_cents:
            name, effective, kind, user = stream, event.effective_time, INVOICE, b""
        case InvoiceCorrected() if event.credit_cents:
            # An invoice may be taken back in parts: its stream alone would name all of them.
            name, effective, kind, user = f"{stream}:{version}", event.effective_time, INVOICE, b""
        case _:
            return None
    return OtherEntry(
        event.payer, effective, entry_id_of(name), kind, event.credit_cents, user, position
    )


def accrued(rate: str, started: int, instant: int) -> Amount:
    """Price a running instance from its start to an instant; a start after it costs 0."""
    seconds = runtime_seconds(started, instant)
    return Amount(1, runtime_cents(rate, seconds), seconds)


def accrue(
    running: Iterable[tuple[bytes, bytes, str, str, int]], instant: int
) -> dict[AccrualKey, Amount]:
    """Sum what running instances have accrued at an instant, by payer, user and class.

    Rounding is per instance, so the sum is not linear in time: every one is priced anew.
    """
    sums: dict[AccrualKey, list[int]] = {}
    rates: dict[str, tuple[int, int]] = {}
    for payer, user, workspace_class, rate, started in running:
        # `accrued` without its calls: they cost more than the arithmetic, a hundred thousand times.
        seconds = (instant - started + 500) // 1000 if instant > started else 0
        known = rates.get(rate)
        if known is None:
            known = rates[rate] = cents_per_second(rate)
        numerator, denominator = known
        cents = (2 * seconds * numerator + denominator) // (2 * denominator)
        key = payer, user, workspace_class
        row = sums.get(key)
        if row is None:
            sums[key] = [1, cents, seconds]
        else:
            row[0] += 1
            row[1] += cents
            row[2] += seconds
    return {key: Amount(*row) for key, row in sums.items()}
