"""Three-way reconciliation: ledger, projection and Stripe, by customer and closed cycle.

The ledger's side is folded from its events here, not read from rows. Nothing is changed: each
difference is named, with amounts and with what to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from aggregates import BillingAccount
from aggregates.calendar import add_months, periods_until
from billing import GatewayError, Invoice, InvoiceQuantityError, Subscription, billed_credits
from events import (
    InvoiceSettled,
    LedgerEvent,
    UsageReportRejected,
    UsageReportRequested,
    UsageReportStamped,
    decode,
)
from ledger.commands.settlements import invoice_stream
from ledger.commands.usage_reports import reports_stream
from ledger.invoicing.accounts import account_of
from ledger.invoicing.reports import minutes_of
from ledger.invoicing.settlements import FINAL, GRACE_MS
from ledger.invoicing.told import told
from projections.billing import LOST, ClosedBooks

if TYPE_CHECKING:
    from billing.gateway import Gateway
    from ledger.application import Ledger
    from ledger.queries import Queries

# Kinds of breaks; docs/billing.md says of each what it means.
ROWS_DIFFER = "projection-differs-from-ledger"
SUM_DIFFERS = "stripe-sum-differs-from-sent"
LESS_INVOICED = "invoiced-less-than-sent"
MORE_INVOICED = "invoiced-more-than-sent"
NOT_SETTLED = "invoice-not-settled"
SETTLED_OTHERWISE = "invoice-settled-for-another-amount"
BOOKS_OPEN = "books-of-an-ended-cycle-are-open"
UNBOUND = "subscription-at-stripe-is-not-bound"
BOUND_IS_DEAD = "bound-subscription-has-ended-at-stripe"

_PROPOSALS = {
    ROWS_DIFFER: "run `usage-ledger check --fold-log`; a restart folds the rows anew",
    SUM_DIFFERS: "nothing if its invoice is final: the shortfall is reported again; else look for"
    " meter errors at Stripe",
    LESS_INVOICED: "nothing: the shortfall was put back, and the open cycle carries it",
    MORE_INVOICED: "issue a credit note at Stripe for the difference, if it was not owed",
    NOT_SETTLED: "call FinalizeInvoice, or wait for the next ReconcileInvoices",
    SETTLED_OTHERWISE: "compare the invoice's lines with the ledger's entry; issue a credit note on"
    " the side that is wrong",
    BOOKS_OPEN: "run ReconcileInvoices; if it stays, look at `usage-ledger billing status`",
    UNBOUND: "cancel it at Stripe: nothing is reported to it",
    BOUND_IS_DEAD: "call CancelSubscription: the webhook of its end was lost",
}


class Break(NamedTuple):
    """A difference. Times in ms, amounts in whole credits."""

    payer: bytes
    kind: str
    subscription_id: str = ""
    invoice_id: str = ""
    period_start: int | None = None
    period_end: int | None = None
    ledger: int = 0
    projection: int = 0
    summed: int = 0
    invoiced: int = 0

    @property
    def proposal(self) -> str:
        """What to do about it."""
        return _PROPOSALS[self.kind]


class Compared(NamedTuple):
    """What became of a payer's comparison."""

    cycles: int
    breaks: list[Break]


class _Facts(NamedTuple):
    """What the ledger's events and rows say of a payer."""

    events: dict[str, list[LedgerEvent]]  # by subscription
    settled: dict[str, InvoiceSettled]
    books: list[ClosedBooks]
    rows: dict[tuple[str, int], int]  # (subscription, period start) -> sum of rows stamped in it


class Comparison:
    """Compares payers one by one."""

    def __init__(self, ledger: Ledger, gateway: Gateway) -> None:
        """Compare a ledger with what this gateway leads to."""
        self._ledger = ledger
        self._gateway = gateway

    async def of_payer(self, payer: bytes) -> Compared:
        """Compare a payer's customer, subscriptions and closed cycles."""
        account = await account_of(self._ledger, payer)
        if account.customer is None:
            return Compared(0, [])
        customer_id = account.customer.customer_id
        try:
            subscriptions = await self._gateway.subscriptions_of(customer_id)
            invoices = [
                invoice
                async for invoice in self._gateway.invoices_of(
                    created_from=0, customer_id=customer_id
                )
            ]
        except GatewayError as error:
            raise told(error, f"customer {customer_id} is compared") from error
        ours = account.ever_bound
        facts = await self._ledger.read(
            payer,
            partial(
                _facts, payer=payer, subscriptions=ours, invoices=[i.invoice_id for i in invoices]
            ),
        )
        breaks = [*self._of_subscriptions(payer, account, subscriptions)]
        breaks += self._of_invoices(payer, invoices, facts, set(ours))
        for books in facts.books:
            breaks += await self._of_cycle(books, facts, customer_id)
        breaks += self._of_open_books(payer, account, facts)
        return Compared(len(facts.books), breaks)

    def _of_subscriptions(
        self, payer: bytes, account: BillingAccount, at_stripe: Iterable[Subscription]
    ) -> Iterable[Break]:
        bound = account.subscription
        alive = {one.subscription_id for one in at_stripe if not one.is_dead}
        for subscription_id in sorted(alive):
            if bound is None or bound.subscription_id != subscription_id:
                yield Break(payer, UNBOUND, subscription_id)
        if bound is None:
            return
        if bound.subscription_id not in alive:
            yield Break(payer, BOUND_IS_DEAD, bound.subscription_id)

    def _of_open_books(
        self, payer: bytes, account: BillingAccount, facts: _Facts
    ) -> Iterable[Break]:
        """Name cycles that ended long ago and whose books are open."""
        bound = account.subscription
        if bound is None:
            return
        closed = {one.period_start for one in facts.books}
        now = self._ledger.now()
        for number in range(periods_until(bound.period_start, now)):
            start = add_months(bound.period_start, number)
            end = add_months(bound.period_start, number + 1)
            if start not in closed and now - end > GRACE_MS:
                yield Break(payer, BOOKS_OPEN, bound.subscription_id, "", start, end)

    def _of_invoices(
        self, payer: bytes, invoices: Iterable[Invoice], facts: _Facts, ours: set[str]
    ) -> Iterable[Break]:
        prices = self._ledger.settings.stripe.metered_prices
        for invoice in invoices:
            if invoice.subscription_id not in ours or invoice.status not in FINAL:
                continue
            try:
                credits = billed_credits(invoice, prices)
            except InvoiceQuantityError:
                credits = -1  # it carries what nobody can count
            settled = facts.settled.get(invoice.invoice_id)
            found = Break(
                payer,
                NOT_SETTLED if settled is None else SETTLED_OTHERWISE,
                invoice.subscription_id,
                invoice.invoice_id,
                invoice.period_start * 1_000,
                invoice.period_end * 1_000,
                ledger=0 if settled is None else -settled.credit_cents // 100,
                invoiced=credits,
            )
            if settled is None or found.ledger != credits:
                yield found

    async def _of_cycle(
        self, books: ClosedBooks, facts: _Facts, customer_id: str
    ) -> Iterable[Break]:
        """Compare what the ledger sent in a cycle with rows, Stripe's sum and the invoice."""
        start, end = books.period_start, books.period_end
        sent = _sent(facts.events.get(books.subscription_id, ()), start, end)
        rows = facts.rows[books.subscription_id, start]
        summed, of_window = await self._summed(customer_id, books, facts)
        found = Break(
            books.payer,
            "",
            books.subscription_id,
            books.invoice_id,
            books.period_start,
            books.period_end,
            ledger=sent,
            projection=books.sent_credits,
            summed=summed,
            invoiced=books.invoiced_credits,
        )
        kinds = []
        if not sent == rows == books.sent_credits:
            kinds.append(ROWS_DIFFER)
        # A shortfall is rows that never arrived, or that Stripe added up too late: both are known.
        if not of_window - max(books.shortfall_credits, 0) <= summed <= of_window:
            kinds.append(SUM_DIFFERS)
        if books.invoiced_credits < sent and books.invoiced_credits != sent - (
            books.shortfall_credits
        ):
            kinds.append(LESS_INVOICED)
        if books.invoiced_credits > sent and books.invoiced_credits != sent - (
            books.shortfall_credits
        ):
            kinds.append(MORE_INVOICED)
        return [found._replace(kind=kind) for kind in kinds]

    async def _summed(self, customer_id: str, books: ClosedBooks, facts: _Facts) -> tuple[int, int]:
        """Give Stripe's sum over the minutes of a cycle, and what we sent in them.

        Stripe adds up by customer and whole minutes, whatever the subscription.
        """
        start, end = minutes_of(books.period_start, books.period_end)
        try:
            summary = await self._gateway.summary(
                meter_id=self._ledger.settings.stripe.meter_id,
                customer_id=customer_id,
                start=start,
                end=end,
            )
        except GatewayError as error:
            raise told(error, f"customer {customer_id} is compared") from error
        sent = sum(_sent(events, start * 1_000, end * 1_000) for events in facts.events.values())
        return int(summary.credits), sent


def _facts(
    queries: Queries, payer: bytes, subscriptions: Iterable[str], invoices: Iterable[str]
) -> _Facts:
    reader = queries.reader

    def stream(name: str) -> list[LedgerEvent]:
        return [decode(stored.topic, stored.state) for stored in reader.stream(name)]

    settled = {}
    for invoice_id in invoices:
        for event in stream(invoice_stream(invoice_id)):
            if isinstance(event, InvoiceSettled):
                settled[invoice_id] = event
    books = reader.books_of(payer)
    rows = {
        (one.subscription_id, one.period_start): reader.reports_in_cycle(
            one.subscription_id, start=one.period_start, end=one.period_end
        ).stamped
        for one in books
    }
    events = {name: stream(reports_stream(name)) for name in subscriptions}
    return _Facts(events, settled, books, rows)


def _sent(events: Iterable[LedgerEvent], start: int, end: int) -> int:
    """Sum what was stamped in [start, end), by its events; lost rows do not count."""
    deltas: dict[int, int] = {}
    stamped: dict[int, int] = {}
    lost: set[int] = set()
    for event in events:
        match event:
            case UsageReportRequested():
                deltas[event.seq] = event.delta
            case UsageReportStamped():
                stamped[event.seq] = event.timestamp
            case UsageReportRejected() if event.outcome == LOST:
                lost.add(event.seq)
            case _:
                pass
    return sum(deltas[seq] for seq, at in stamped.items() if start <= at < end and seq not in lost)
