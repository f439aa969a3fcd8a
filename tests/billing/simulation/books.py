"""What the log says of billing, added up once more and by nothing of the product's own folds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from events import (
    BillingCycleClosed,
    BillingCycleStarted,
    CostCenterOpened,
    CreditNoteIssued,
    InvoiceCorrected,
    InvoiceSettled,
    LedgerEvent,
    ReportedCycleClosed,
    SubscriptionCreated,
    SubscriptionEnded,
    UsageReported,
    UsageReportRejected,
    UsageReportRequested,
    UsageReportResumed,
    UsageReportStamped,
)


@dataclass
class Row:
    """A row of the outbox; `time` counts the payer's times on STRIPE."""

    subscription_id: str
    identifier: str
    delta: int
    time: int
    stamped: int | None = None  # ms
    state: str = "waiting"

    @property
    def counts(self) -> bool:
        """Whether its credits were not put back."""
        return self.state != "lost"

    @property
    def is_open(self) -> bool:
        """Whether nobody knows yet what became of it."""
        return self.state in {"waiting", "stamped", "refused"}


@dataclass
class Time:
    """A time on STRIPE: from the event that began it. Cents, and whole credits."""

    unsettled: int = 0  # U
    begins_with: int = 0  # C, when it began
    balance_before: int = 0  # after the write-off
    invoiced_cents: int = 0  # of invoice entries since then
    requested: int = 0  # R


@dataclass
class PayerBooks:
    """One payer's."""

    strategy: str = "other"
    times: list[Time] = field(default_factory=list)
    rows: dict[tuple[str, int], Row] = field(default_factory=dict)
    settled: dict[str, InvoiceSettled] = field(default_factory=dict)
    corrections: dict[str, int] = field(default_factory=dict)  # cents, by invoice
    closed: dict[tuple[str, int], ReportedCycleClosed] = field(default_factory=dict)
    subscriptions: list[SubscriptionCreated] = field(default_factory=list)
    ended: dict[str, SubscriptionEnded] = field(default_factory=dict)
    note_cents: int = 0
    write_off_cents: int = 0
    wrong: list[str] = field(default_factory=list)  # what may not come, or came twice

    @property
    def entries_cents(self) -> int:
        """Everything of the balance but usage."""
        settled = sum(one.credit_cents for one in self.settled.values())
        corrected = sum(self.corrections.values())
        return self.note_cents + settled + corrected + self.write_off_cents

    def requested_of(self, subscription_id: str) -> int:
        """Credits of a subscription's rows that were not put back, but for shortfalls."""
        return sum(
            row.delta
            for row in self.rows.values()
            if row.subscription_id == subscription_id and row.counts
        )

    def shortfalls_of(self, subscription_id: str) -> int:
        """Credits of a subscription that missed their invoice and were put back."""
        return sum(
            one.shortfall_credits
            for (name, _), one in self.closed.items()
            if name == subscription_id
        )

    def stamped_in(self, subscription_id: str, start: int, end: int) -> int:
        """Credits of rows that count in [start, end), ms."""
        return sum(
            row.delta
            for row in self.rows.values()
            if row.subscription_id == subscription_id
            and row.counts
            and row.stamped is not None
            and start <= row.stamped < end
        )

    def unsettled_cents(self) -> int:
        """U: what was reported, the outbox included, and no invoice has settled yet."""
        total = 0
        for created in self.subscriptions:
            name = created.subscription_id
            reported = self.requested_of(name) - self.shortfalls_of(name)
            settled = -sum(
                one.credit_cents for one in self.settled.values() if one.subscription_id == name
            )
            total += max(100 * reported - settled, 0)
        return total


def books_of(events: Iterable[LedgerEvent]) -> dict[bytes, PayerBooks]:
    """Add a log up, by payer."""
    found: dict[bytes, PayerBooks] = {}
    for event in events:
        payer = getattr(event, "payer", None)
        if payer is not None:
            _take(found.setdefault(payer, PayerBooks()), event)
    return found


def _take(books: PayerBooks, event: LedgerEvent) -> None:
    match event:
        case CreditNoteIssued():
            books.note_cents += event.credit_cents
        case CostCenterOpened() | BillingCycleStarted():
            books.strategy = event.strategy
        case SubscriptionCreated():
            books.subscriptions.append(event)
        case SubscriptionEnded():
            books.ended[event.subscription_id] = event
        case UsageReportRequested() | UsageReportStamped() | UsageReported():
            _take_report(books, event)
        case UsageReportRejected() | UsageReportResumed():
            _take_report(books, event)
        case _:
            _take_money(books, event)


def _take_money(books: PayerBooks, event: LedgerEvent) -> None:
    match event:
        case BillingCycleClosed():
            books.write_off_cents += event.write_off_cents
            if event.reason == "upgrade":
                _begin_time(books, event)
        case InvoiceSettled():
            if event.invoice_id in books.settled:
                books.wrong.append(f"{event.invoice_id} was settled")
            books.settled[event.invoice_id] = event
            _invoiced(books, event.credit_cents)
        case InvoiceCorrected():
            before = books.corrections.get(event.invoice_id, 0)
            books.corrections[event.invoice_id] = before + event.credit_cents
            _invoiced(books, event.credit_cents)
        case ReportedCycleClosed():
            key = event.subscription_id, event.period_start
            if key in books.closed:
                books.wrong.append(f"the books of {key} were closed")
            books.closed[key] = event
            _put_back(books, event.shortfall_credits)
        case _:
            pass


def _begin_time(books: PayerBooks, event: BillingCycleClosed) -> None:
    unsettled = books.unsettled_cents()
    begins_with = min(event.balance_cents - unsettled, 0)
    after = event.balance_cents + event.write_off_cents
    if event.write_off_cents != -max(event.balance_cents - unsettled, 0):
        books.wrong.append(
            f"{-event.write_off_cents} of {event.balance_cents} cents were forgiven, with"
            f" {unsettled} not settled yet"
        )
    books.times.append(Time(unsettled, begins_with, after))


def _invoiced(books: PayerBooks, cents: int) -> None:
    if books.times:
        books.times[-1].invoiced_cents += cents


def _put_back(books: PayerBooks, credits_back: int) -> None:
    if books.times:
        books.times[-1].requested -= credits_back


def _take_report(books: PayerBooks, event: LedgerEvent) -> None:
    match event:
        case UsageReportRequested():
            if books.strategy != "stripe":
                books.wrong.append(f"{event.identifier} was asked for on {books.strategy}")
            books.rows[event.subscription_id, event.seq] = Row(
                event.subscription_id, event.identifier, event.delta, len(books.times)
            )
            _put_back(books, -event.delta)
        case UsageReportStamped():
            row = books.rows[event.subscription_id, event.seq]
            if row.stamped is not None:
                books.wrong.append(f"{row.identifier} was stamped")
            row.stamped, row.state = event.timestamp, "stamped"
        case UsageReported():
            books.rows[event.subscription_id, event.seq].state = "delivered"
        case UsageReportResumed():
            books.rows[event.subscription_id, event.seq].state = "stamped"
        case UsageReportRejected():
            row = books.rows[event.subscription_id, event.seq]
            row.state = event.outcome
            if event.outcome == "lost":
                _put_back(books, row.delta)
        case _:
            pass
