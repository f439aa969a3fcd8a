"""What Stripe took back of a settled invoice is booked as it is there now, each cause for itself.

A cause that holds no more is undone, but only where Stripe says so for good: a look may be older
than what was booked meanwhile. Whoever has booked something looks again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

from events import InvoiceCorrected, InvoiceSettled, LedgerEvent
from events.causes import NOTE, UNCOLLECTIBLE, UNDONE, VOIDED, base_of, named
from ledger.commands.settlements import invoice_stream
from ledger.group import Group


class NoteSeen(NamedTuple):
    """A credit note of Stripe's."""

    note_id: str
    is_void: bool
    credits: Fraction  # what it takes back


class Seen(NamedTuple):
    """An invoice at Stripe: its status, and its credit notes, the oldest first."""

    status: str
    notes: Sequence[NoteSeen]


def correct_invoice(group: Group, payer: bytes, invoice_id: str, seen: Seen) -> bool:
    """Book in what an invoice differs from what was booked of it; say whether it did.

    Never more than was settled is taken back.
    """
    stream = invoice_stream(invoice_id)
    recorded = group.stream(stream)
    if not recorded:
        return False
    differences = list(_Booked(one.event for one in recorded).differences(seen))
    for cause, cents in differences:
        event = InvoiceCorrected(
            group.recorded_at, group.author, payer, invoice_id, cause, cents, group.now
        )
        group.append_next(stream, event)
    return bool(differences)


class _Booked:
    """What an invoice's stream says, in cents."""

    def __init__(self, events: Iterable[LedgerEvent]) -> None:
        self._left = 0  # settled, and not taken back
        self._taken: dict[str, int] = {}  # by cause
        self._times: dict[str, int] = {}  # by cause: how often it has come
        for event in events:
            if isinstance(event, InvoiceSettled):
                self._left -= event.credit_cents
            else:
                assert isinstance(event, InvoiceCorrected)
                self._take(event.cause, event.credit_cents)

    def _take(self, cause: str, cents: int) -> tuple[str, int]:
        base = base_of(cause)
        self._left -= cents
        self._taken[base] = self._taken.get(base, 0) + cents
        if not cause.startswith(UNDONE):
            self._times[base] = self._times.get(base, 0) + 1
        return cause, cents

    def differences(self, seen: Seen) -> Iterator[tuple[str, int]]:
        """Give causes and cents that are still to be booked."""
        for base in _over(seen):
            if self._taken.get(base, 0) > 0:
                name = UNDONE + named(base, self._times[base])
                yield self._take(name, -self._taken[base])
        credits, before = Fraction(0), 0
        for note in seen.notes:
            if note.is_void:
                continue
            # Of all together, so that the parts of a cent are rounded once.
            credits += note.credits
            base = NOTE + note.note_id
            wanted = _cents(credits) - before - self._taken.get(base, 0)
            yield from self._more(base, min(wanted, self._left))
            before += self._taken.get(base, 0)
        match seen.status:
            case "void":
                yield from self._more(VOIDED, self._left)
            case "uncollectible":
                yield from self._more(UNCOLLECTIBLE, self._left)

    def _more(self, base: str, cents: int) -> Iterator[tuple[str, int]]:
        if cents > 0:
            yield self._take(named(base, self._times.get(base, 0) + 1), cents)


def _over(seen: Seen) -> list[str]:
    """Name causes that Stripe says for good to hold no more.

    An invoice that is paid stays paid, a note that is void stays void. That an invoice is open, or
    that a note is not listed, may only be an old look.
    """
    notes = [NOTE + note.note_id for note in seen.notes if note.is_void]
    return [UNCOLLECTIBLE, *notes] if seen.status == "paid" else notes


def _cents(credits: Fraction) -> int:
    """Round half up, which of what is never negative is half away from zero."""
    return int(100 * credits + Fraction(1, 2))
