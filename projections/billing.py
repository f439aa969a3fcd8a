"""Billing: accounts at Stripe, what was reported of usage, and what came back of it.

Billable cents C of a payer's time on STRIPE = balance - invoiced - unsettled, both of `Reporting`.
An invoice entry that was imported is part of the opening balance and not of `invoiced`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from events import (
    BillingCycleClosed,
    HoldPlaced,
    HoldReleased,
    HoldVerified,
    InvoiceCorrected,
    InvoiceSettled,
    LedgerEvent,
    Recorded,
    ReportedCycleClosed,
    StripeCustomerBound,
    StripeCustomerGone,
    StripeCustomerRefused,
    StripeCustomerRequested,
    SubscriptionActivated,
    SubscriptionCancelRequested,
    SubscriptionCreated,
    SubscriptionEnded,
    SubscriptionRefused,
    SubscriptionRequested,
    UnsettledUsageKept,
    UsageReported,
    UsageReportRejected,
    UsageReportRequested,
    UsageReportResumed,
    UsageReportStamped,
)
from projections._kept import Kept

UPGRADE = "upgrade"  # why a cycle was closed: the payer moved to STRIPE

# States of an account.
NONE, MAKING, CUSTOMER = "", "customer-requested", "customer"
REQUESTED, VERIFIED, CREATED = "subscription-requested", "hold-verified", "subscription-created"
ACTIVE, CANCELLING = "active", "cancelling"

# States of a report.
WAITING, SENT, DELIVERED, REFUSED = "waiting", "stamped", "delivered", "refused"
LOST = "lost"  # its credits were put back
CLOSED = "closed"  # nobody knows: the invoice of its cycle tells, and its shortfall has it
_OPEN = frozenset({WAITING, SENT, REFUSED})


class BillingAccount(msgspec.Struct, gc=False):
    """A payer's account as it is now."""

    payer: bytes
    state: str = NONE
    customer_id: str = ""
    subscription_id: str = ""  # the bound one, from its creation to its end
    changed_at: int = 0  # when the state was recorded
    holds: int = 0  # placed, and not released


class Reporting(msgspec.Struct, gc=False):
    """What was reported in the payer's present, or last, time on STRIPE; no row means zeros."""

    payer: bytes
    unsettled_cents: int = 0  # of an earlier subscription, when the time began
    invoiced_cents: int = 0  # of invoice entries since then, mostly negative
    requested_credits: int = 0  # put in the outbox, less what was put back


class Reported(msgspec.Struct, gc=False):
    """One subscription's sums."""

    subscription_id: str
    payer: bytes
    seq: int = 0  # of the newest row
    requested_credits: int = 0  # of all rows, less what was put back
    settled_cents: int = 0  # by its invoices; corrections do not count
    waiting: int = 0  # rows that are not delivered, lost or closed; refused ones wait, too


class Report(msgspec.Struct, gc=False):
    """A row of the outbox."""

    subscription_id: str
    seq: int
    payer: bytes
    delta: int
    cumulative: int
    customer_id: str
    event_name: str
    identifier: str
    state: str
    stamped: int | None  # ms; the time under which it counts at Stripe
    requested_at: int
    outcome: str  # how it was delivered or given up


class Invoice(msgspec.Struct, gc=False):
    """An invoice that was settled."""

    invoice_id: str
    payer: bytes
    subscription_id: str
    credit_cents: int
    corrected_cents: int
    finalized_at: int
    period_start: int
    period_end: int


class ClosedBooks(msgspec.Struct, gc=False):
    """A cycle of a subscription whose invoice is final."""

    subscription_id: str
    period_start: int
    period_end: int
    payer: bytes
    invoice_id: str
    sent_credits: int
    invoiced_credits: int
    shortfall_credits: int


class BillingRows(Protocol):
    """What the fold needs of a store."""

    def billing_accounts(self, payers: Sequence[bytes]) -> dict[bytes, BillingAccount]:
        """Load accounts."""

    def reportings(self, payers: Sequence[bytes]) -> dict[bytes, Reporting]:
        """Load what was reported of payers."""

    def reporteds(self, subscriptions: Sequence[str]) -> dict[str, Reported]:
        """Load the sums of subscriptions."""

    def reports(self, keys: Sequence[tuple[str, int]]) -> dict[tuple[str, int], Report]:
        """Load rows of the outbox by (subscription, seq)."""

    def invoices(self, ids: Sequence[str]) -> dict[str, Invoice]:
        """Load invoices."""

    def put_billing(
        self,
        *,
        accounts: Sequence[BillingAccount],
        reportings: Sequence[Reporting],
        reporteds: Sequence[Reported],
        reports: Sequence[Report],
        invoices: Sequence[Invoice],
        books: Sequence[ClosedBooks],
    ) -> None:
        """Write rows."""


_STATES: dict[type[LedgerEvent], str] = {
    StripeCustomerRequested: MAKING,
    StripeCustomerRefused: NONE,
    StripeCustomerBound: CUSTOMER,
    StripeCustomerGone: NONE,
    SubscriptionRequested: REQUESTED,
    HoldVerified: VERIFIED,
    SubscriptionCreated: CREATED,
    SubscriptionRefused: CUSTOMER,
    SubscriptionActivated: ACTIVE,
    SubscriptionCancelRequested: CANCELLING,
    SubscriptionEnded: CUSTOMER,
}
_OF_ACCOUNT = frozenset({*_STATES, HoldPlaced, HoldReleased})
_OF_CUSTOMER = frozenset(
    {StripeCustomerRequested, StripeCustomerRefused, StripeCustomerBound, StripeCustomerGone}
)
_TRIED = frozenset({UsageReportStamped, UsageReported, UsageReportRejected, UsageReportResumed})
_REPORTS = frozenset({UsageReportRequested, *_TRIED})
_OF_SUBSCRIPTION = frozenset({*_REPORTS, InvoiceSettled, ReportedCycleClosed, SubscriptionCreated})
_FOLDED = frozenset(
    {*_OF_ACCOUNT, *_OF_SUBSCRIPTION, BillingCycleClosed, InvoiceCorrected, UnsettledUsageKept}
)


class BillingFold:
    """Folds a run of events in memory; `flush` writes the outcome."""

    def __init__(self, rows: BillingRows) -> None:
        """Start with nothing folded."""
        self._rows = rows
        self._is_empty = True
        self._accounts = Kept(rows.billing_accounts)
        self._reportings = Kept(rows.reportings)
        self._reporteds = Kept(rows.reporteds)
        self._reports = Kept(rows.reports)
        self._invoices = Kept(rows.invoices)
        self._books: list[ClosedBooks] = []

    def fold(self, batch: Sequence[Recorded]) -> None:
        """Fold events in the log's order, once before each `flush`."""
        # Nearly all batches have none: one look at the type is all that an event costs.
        events: list[Any] = [recorded[2] for recorded in batch if type(recorded[2]) in _FOLDED]
        if not events:
            return
        self._is_empty = False
        self._load(events)
        for event in events:
            if type(event) in _OF_ACCOUNT:
                self._account(event)
            else:
                self._money(event)

    def _load(self, events: Sequence[Any]) -> None:
        """Ask for each table once, however many events there are."""
        money = [event for event in events if type(event) not in _OF_ACCOUNT]
        self._accounts.load(event.payer for event in events if type(event) in _OF_ACCOUNT)
        self._reportings.load(event.payer for event in money)
        self._reporteds.load(
            event.subscription_id for event in events if type(event) in _OF_SUBSCRIPTION
        )
        self._reports.load(
            (event.subscription_id, event.seq) for event in money if type(event) in _REPORTS
        )
        self._invoices.load(event.invoice_id for event in money if type(event) is InvoiceCorrected)

    def flush(self) -> None:
        """Write what was folded and forget it."""
        if self._is_empty:
            return
        books, self._books, self._is_empty = self._books, [], True
        self._rows.put_billing(
            accounts=self._accounts.taken(),
            reportings=self._reportings.taken(),
            reporteds=self._reporteds.taken(),
            reports=self._reports.taken(),
            invoices=self._invoices.taken(),
            books=books,
        )

    # Accounts ----------------------------------------------------------------------------------

    def _account(self, event: Any) -> None:
        payer: bytes = event.payer
        if not self._accounts.has(payer):
            self._accounts.put(payer, BillingAccount(payer))
        account = self._accounts.change(payer)
        match event:
            case StripeCustomerBound():
                account.customer_id = event.customer_id
            case StripeCustomerGone():
                account.customer_id = ""
            case SubscriptionCreated():
                account.subscription_id = event.subscription_id
                self._reported(event.subscription_id, payer)
            case SubscriptionEnded():
                account.subscription_id = ""
            case HoldPlaced():
                account.holds += 1
            case HoldReleased():
                account.holds -= 1
            case _:
                pass
        state = _state_after(account, type(event))
        if state != account.state:
            account.state, account.changed_at = state, event.recorded_at

    # Money -------------------------------------------------------------------------------------

    def _reporting(self, payer: bytes) -> Reporting:
        if not self._reportings.has(payer):
            self._reportings.put(payer, Reporting(payer))
        return self._reportings.change(payer)

    def _reported(self, subscription_id: str, payer: bytes) -> Reported:
        if not self._reporteds.has(subscription_id):
            self._reporteds.put(subscription_id, Reported(subscription_id, payer))
        return self._reporteds.change(subscription_id)

    def _money(self, event: Any) -> None:
        match event:
            case BillingCycleClosed():
                # The write-off belongs to the time before. Payers who were never reported keep
                # having no row: logs from before billing have such events, too.
                if event.reason == UPGRADE and self._reportings.has(event.payer):
                    self._reportings.put(event.payer, Reporting(event.payer))
            case UnsettledUsageKept():
                self._reporting(event.payer).unsettled_cents = event.unsettled_cents
            case InvoiceSettled():
                self._settled(event)
            case InvoiceCorrected():
                self._reporting(event.payer).invoiced_cents += event.credit_cents
                self._invoices.change(event.invoice_id).corrected_cents += event.credit_cents
            case ReportedCycleClosed():
                self._closed(event)
            case _:
                self._outbox(event)

    def _settled(self, event: InvoiceSettled) -> None:
        self._reporting(event.payer).invoiced_cents += event.credit_cents
        self._reported(event.subscription_id, event.payer).settled_cents -= event.credit_cents
        row = Invoice(
            event.invoice_id,
            event.payer,
            event.subscription_id,
            event.credit_cents,
            0,
            event.effective_time,
            event.period_start,
            event.period_end,
        )
        self._invoices.put(event.invoice_id, row)

    def _closed(self, event: ReportedCycleClosed) -> None:
        self._put_back(event.subscription_id, event.payer, event.shortfall_credits)
        self._books.append(
            ClosedBooks(
                event.subscription_id,
                event.period_start,
                event.period_end,
                event.payer,
                event.invoice_id,
                event.sent_credits,
                event.invoiced_credits,
                event.shortfall_credits,
            )
        )

    def _put_back(self, subscription_id: str, payer: bytes, credits: int) -> None:
        self._reporting(payer).requested_credits -= credits
        self._reported(subscription_id, payer).requested_credits -= credits

    def _outbox(self, event: Any) -> None:
        match event:
            case UsageReportRequested():
                self._requested(event)
            case UsageReportStamped():
                report = self._reports.change((event.subscription_id, event.seq))
                report.state, report.stamped = SENT, event.timestamp
            case UsageReportResumed():
                report = self._reports.change((event.subscription_id, event.seq))
                report.state, report.outcome = SENT, ""
            case UsageReported():
                self._resolved(event, DELIVERED, event.outcome)
            case UsageReportRejected():
                report = self._reports.change((event.subscription_id, event.seq))
                if event.outcome == REFUSED:  # it still waits, for somebody who looks
                    report.state, report.outcome = REFUSED, event.reason
                    return
                self._resolved(event, event.outcome, event.reason)
                if event.outcome == LOST:
                    self._put_back(event.subscription_id, event.payer, report.delta)
            case _:
                raise TypeError(f"{event.TOPIC} is no event of billing")

    def _requested(self, event: UsageReportRequested) -> None:
        reported = self._reported(event.subscription_id, event.payer)
        reported.seq = event.seq
        reported.waiting += 1
        self._put_back(event.subscription_id, event.payer, -event.delta)
        row = Report(
            event.subscription_id,
            event.seq,
            event.payer,
            event.delta,
            event.cumulative,
            event.customer_id,
            event.event_name,
            event.identifier,
            WAITING,
            None,
            event.recorded_at,
            "",
        )
        self._reports.put((event.subscription_id, event.seq), row)

    def _resolved(
        self, event: UsageReported | UsageReportRejected, state: str, outcome: str
    ) -> None:
        report = self._reports.change((event.subscription_id, event.seq))
        if report.state in _OPEN:
            self._reported(event.subscription_id, event.payer).waiting -= 1
        report.state, report.outcome = state, outcome


def _state_after(account: BillingAccount, kind: type[LedgerEvent]) -> str:
    """Give the state that an event leaves an account in, whose ids it has changed already."""
    state = _STATES.get(kind, account.state)
    if kind in _OF_CUSTOMER and account.state not in {NONE, MAKING, CUSTOMER}:
        # What becomes of the subscription has to be finished, whatever becomes of the customer.
        return account.state
    if kind is SubscriptionActivated and account.state == CANCELLING:
        return CANCELLING
    if state == CUSTOMER and not account.customer_id:  # it is gone meanwhile
        return NONE
    return state
