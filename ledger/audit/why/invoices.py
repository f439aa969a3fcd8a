"""Settled invoices of Stripe: what was sent in their cycle, and what its books compared."""

from __future__ import annotations

from typing import NamedTuple

from aggregates import BillingAccount
from events import (
    InvoiceCorrected,
    Recorded,
    ReportedCycleClosed,
    UsageReportRequested,
    UsageReportStamped,
)
from events.readable import time_text
from ledger.audit.why.basis import Basis
from ledger.audit.why.cursors import Place, integer
from ledger.audit.why.cycles import CycleFolder
from ledger.audit.why.folders import Folder, Page
from ledger.audit.why.numbers import (
    BEARS_ON,
    BILLED,
    CONFIRMS,
    EXCESS,
    NOT_DERIVED,
    OTHER_INVOICES,
    SENT,
    SHORTFALL,
    STATES,
    STRIPE_INVOICE,
    TAKEN_BACK,
    USAGE_RECORD,
    Number,
    Record,
    Stated,
    Step,
)
from ledger.audit.why.steps import step
from ledger.commands.settlements import books_stream, invoice_stream
from ledger.commands.usage_reports import reports_stream
from ledger.group import billing_stream
from persistence import CycleRow
from projections import ClosedBooks, Invoice, Report, other_entry_of

_FOREVER = 2**62

NOT_OF_ENTRIES = (
    "A usage record is what was billable in all, rounded up to whole credits, less what had been"
    " reported: no entry belongs to one record alone. The entries are in the cycles beside it."
)
LINES_NOT_KEPT = (
    "Of Stripe's lines only the credits of our metered prices were counted, and only their sum is"
    " kept."
)
OPEN_BOOKS = (
    "The books of its cycle are not closed: what was sent cannot be compared with what is invoiced"
    " yet. What was sent so far stands beside it."
)
CAME_LATE = "It came after the books of its cycle were closed: nobody sent what it bills."
NEVER_SENT = "Invoiced beyond what was sent: somebody decides on a credit note at Stripe."
PUT_BACK = "Sent and not invoiced: put back, to be reported in the open cycle."
INVOICED_ANYWAY = "Records that take back came too late: taken back from later usage."


class StripeInvoiceFolder(Folder):
    """A settled invoice: what it bills, less what was taken back."""

    kind, holds_folders = STRIPE_INVOICE, True

    def __init__(self, basis: Basis, invoice: Invoice) -> None:
        """Explain an invoice of the payer."""
        self._basis, self._invoice = basis, invoice
        self.key = (invoice.invoice_id,)
        self._events = basis.stream(invoice_stream(invoice.invoice_id))

    def whole(self) -> Number:
        """Give what of it holds."""
        one = self._invoice
        return Number(
            STRIPE_INVOICE,
            f"Stripe invoice {one.invoice_id}",
            -one.credit_cents - one.corrected_cents,
            one.payer,
            part_count=len(self._events),
            effective=one.finalized_at,
            invoice_id=one.invoice_id,
            subscription_id=one.subscription_id,
            period=(one.period_start, one.period_end),
            remarks=[LINES_NOT_KEPT],
        )

    def page(self, after: Place, limit: int) -> Page:  # noqa: ARG002  # it is taken back in few parts
        """Give all of them."""
        settled, *corrected = self._events
        parts: list[Number | Folder] = [BilledFolder(self._basis, self._invoice, settled)]
        parts += [self._taken_back(recorded) for recorded in corrected]
        return Page(parts, None)

    def _taken_back(self, recorded: Recorded) -> Number:
        event = recorded.event
        assert isinstance(event, InvoiceCorrected)
        entry = other_entry_of(recorded)
        return Number(
            TAKEN_BACK,
            f"taken back: {event.cause}",
            -event.credit_cents,
            event.payer,
            taken_away=True,
            steps=[step(recorded, STATES, 0, event.credit_cents)],
            arithmetic=Stated(recorded.position, event.credit_cents),
            entry_id=b"" if entry is None else entry.entry_id,
            effective=event.effective_time,
            invoice_id=event.invoice_id,
        )

    def beside(self) -> list[Folder]:
        """Give the cycles here that overlap the period that it bills.

        And what was sent in it, while its books are open.
        """
        one, cycles = self._invoice, self._basis.cycles
        found: list[Folder] = []
        if _books_of(self._basis, one) is None:
            span = one.period_start, one.period_end
            found.append(SentFolder(self._basis, one.subscription_id, *span))
        ends = [one.start for one in cycles[1:]] + [None]
        found += [
            CycleFolder(self._basis, cycle)
            for cycle, end in zip(cycles, ends, strict=True)
            if self._overlaps(cycle, end)
        ]
        return found

    def _overlaps(self, cycle: CycleRow, end: int | None) -> bool:
        begin = cycle.start if cycle.start is not None else -_FOREVER
        return begin < self._invoice.period_end and self._invoice.period_start < (end or _FOREVER)


class BilledFolder(Folder):
    """The credits that an invoice carries."""

    kind, holds_folders = BILLED, True

    def __init__(self, basis: Basis, invoice: Invoice, settled: Recorded) -> None:
        """Explain them by the books of its cycle."""
        self._basis, self._invoice, self._settled = basis, invoice, settled
        self.key = (invoice.invoice_id,)
        self._books = _books_of(basis, invoice)

    def _cents(self) -> int:
        return -self._invoice.credit_cents

    def whole(self) -> Number:
        """Give them."""
        settled, cents = self._settled, self._cents()
        entry = other_entry_of(settled)
        return Number(
            BILLED,
            f"{cents // 100:,} credits billed",
            cents,
            self._basis.payer,
            whole_credits=True,
            taken_away=True,
            part_count=len(self._parts()),
            steps=[step(settled, STATES, 0, -cents)],
            arithmetic=Stated(settled.position, -cents),
            entry_id=b"" if entry is None else entry.entry_id,
            effective=self._invoice.finalized_at,
            invoice_id=self._invoice.invoice_id,
        )

    def page(self, after: Place, limit: int) -> Page:  # noqa: ARG002  # there are four at most
        """Give all of them."""
        return Page(self._parts(), None)

    def _parts(self) -> list[Number | Folder]:
        if self._books is None:
            return [self._part(NOT_DERIVED, "not derived", self._cents() // 100, OPEN_BOOKS)]
        row, recorded = self._books
        if recorded.position < self._settled.position:
            return [self._part(EXCESS, "never sent", self._cents() // 100, CAME_LATE)]
        sent = sent_of(self._basis, self._books)
        parts: list[Number | Folder] = [sent]
        shortfall = row.shortfall_credits
        if shortfall:
            words = PUT_BACK if shortfall > 0 else INVOICED_ANYWAY
            part = self._part(SHORTFALL, "not invoiced", -shortfall, words)
            part.taken_away = True
            part.steps = [step(recorded, STATES, 0, 100 * shortfall)]
            parts.append(part)
        excess = row.invoiced_credits - (row.sent_credits - shortfall)
        if excess:
            parts.append(self._part(EXCESS, "never sent", excess, NEVER_SENT))
        others = row.invoiced_credits - self._cents() // 100
        if others:
            words = "Other invoices of the same cycle carry the rest of what was sent in it."
            parts.append(self._part(OTHER_INVOICES, "on other invoices", -others, words))
        counted = row.sent_credits - sent.whole().cents // 100
        if counted:
            words = "Records that were counted when the books were closed, and are lost since."
            parts.append(self._part(NOT_DERIVED, "not derived", counted, words))
        return parts

    def _part(self, kind: str, title: str, credits: int, words: str) -> Number:
        return Number(
            kind,
            title,
            100 * credits,
            self._basis.payer,
            whole_credits=True,
            invoice_id=self._invoice.invoice_id,
            subscription_id=self._invoice.subscription_id,
            remarks=[words],
        )


class SentFolder(Folder):
    """Usage records stamped in a cycle."""

    kind, holds_folders = SENT, False

    def __init__(self, basis: Basis, subscription_id: str, start: int, end: int) -> None:
        """Explain those of a subscription, of [start, end) in ms."""
        self._basis, self._subscription = basis, subscription_id
        self._start, self._end = start, end
        self.key = (subscription_id, start, end)
        self._count, self._credits = basis.why.records_count(subscription_id, start=start, end=end)

    def whole(self) -> Number:
        """Give their sum."""
        return Number(
            SENT,
            f"usage records counted from {time_text(self._start)} on",
            100 * self._credits,
            self._basis.payer,
            whole_credits=True,
            part_count=self._count,
            subscription_id=self._subscription,
            period=(self._start, self._end),
            remarks=[NOT_OF_ENTRIES],
        )

    def page(self, after: Place, limit: int) -> Page:
        """Give records in order."""
        rows = self._basis.why.records(
            self._subscription,
            start=self._start,
            end=self._end,
            after=integer(after, 0) if after else 0,
            limit=limit + 1,
        )
        steps = self._steps({row.seq for row in rows[:limit]})
        parts = [self._record(row, steps.get(row.seq, [])) for row in rows[:limit]]
        return Page(parts, (rows[limit - 1].seq,) if len(rows) > limit else None)

    def _steps(self, wanted: set[int]) -> dict[int, list[Step]]:
        found: dict[int, list[Step]] = {}
        for recorded in self._basis.stream(reports_stream(self._subscription)):
            event = recorded.event
            seq: int = event.seq  # type: ignore[attr-defined]  # every event of the outbox has one
            if seq not in wanted:
                continue
            match event:
                case UsageReportRequested():
                    one = step(recorded, STATES, 0, 100 * event.delta)
                case UsageReportStamped():
                    one = step(recorded, BEARS_ON, *_same(found[seq]))
                case _:
                    one = step(recorded, CONFIRMS, *_same(found[seq]))
            found.setdefault(seq, []).append(one)
        return found

    def _record(self, row: Report, steps: list[Step]) -> Number:
        return Number(
            USAGE_RECORD,
            f"usage record {row.seq}",
            100 * row.delta,
            self._basis.payer,
            whole_credits=True,
            steps=steps,
            arithmetic=Record(
                row.seq, row.cumulative, row.delta, row.state, row.stamped, row.identifier
            ),
            effective=row.stamped,
            subscription_id=row.subscription_id,
        )


def _same(steps: list[Step]) -> tuple[int, int]:
    return steps[-1].after_cents, steps[-1].after_cents


class _Books(NamedTuple):
    row: ClosedBooks
    recorded: Recorded


def _books_of(basis: Basis, invoice: Invoice) -> _Books | None:
    """Find the closed books of the cycle that an invoice bills."""
    for row in basis.reader.books_of(basis.payer):
        if row.subscription_id != invoice.subscription_id:
            continue
        if row.period_start <= invoice.period_start < max(row.period_end, row.period_start + 1):
            recorded = basis.stream(books_stream(row.subscription_id, row.period_start))[0]
            assert isinstance(recorded.event, ReportedCycleClosed)
            return _Books(row, recorded)
    return None


def sent_of(basis: Basis, books: _Books) -> SentFolder:
    """Give the records that count in a cycle: up to where its invoice bills."""
    row, account = books.row, BillingAccount()
    for recorded in basis.stream(billing_stream(basis.payer)):
        if recorded.position < books.recorded.position:
            account.apply(recorded.event)
    start = row.period_start
    end = account.billed_until(row.subscription_id, start=start, end=row.period_end)
    return SentFolder(basis, row.subscription_id, start, end)
