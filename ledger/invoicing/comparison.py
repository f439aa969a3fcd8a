"""Three-way reconciliation: ledger, projection and Stripe, by customer and closed cycle.

The ledger's side is folded from its events here, not read from rows. Nothing is changed: each
difference is named, with amounts and with what to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from aggregates import BillingAccount
from billing import (
    GatewayError,
    Invoice,
    InvoiceQuantityError,
    StripeMissingError,
    Subscription,
    billed_credits,
)
from events import (
    InvoiceCorrected,
    InvoiceSettled,
    LedgerEvent,
    UsageReportRejected,
    UsageReportRequested,
    UsageReportStamped,
    decode,
)
from ledger.commands.settlements import invoice_stream
from ledger.commands.usage_reports import reports_stream
from ledger.invoicing.accounts import account_of, prices_of
from ledger.invoicing.excess import excesses
from ledger.invoicing.repair import GRACE_MS
from ledger.invoicing.reports import minutes_of
from ledger.invoicing.settlements import FINAL
from ledger.invoicing.told import told
from projections.billing import LOST, ClosedBooks
from projections.billing import Invoice as SettledInvoice

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


class _Stamped(NamedTuple):
    """What rows of a cycle add up to, and until when it bills them, in ms."""

    end: int
    credits: int


class _Facts(NamedTuple):
    """What the ledger's events and rows say of a payer."""

    events: dict[str, list[LedgerEvent]]  # by subscription
    customers: dict[str, str]  # by subscription
    invoices: list[SettledInvoice]  # those that Stripe lists, as they were settled
    books: list[ClosedBooks]
    rows: dict[tuple[str, int], _Stamped]  # (subscription, period start) -> rows stamped in it


class Comparison:
    """Compares payers one by one."""

    def __init__(self, ledger: Ledger, gateway: Gateway) -> None:
        """Compare a ledger with what this gateway leads to."""
        self._ledger = ledger
        self._gateway = gateway

    async def of_payer(self, payer: bytes) -> Compared:
        """Compare a payer's customer, subscriptions and closed cycles."""
        account = await account_of(self._ledger, payer)
        customers = account.customers
        subscriptions: list[Subscription] = []
        invoices: list[Invoice] = []
        for customer_id in customers:
            try:
                subscriptions += await self._gateway.subscriptions_of(customer_id)
                invoices += await self._invoices_of(customer_id)
            except StripeMissingError:
                continue  # it was deleted; what it had has ended
            except GatewayError as error:
                raise told(error, f"customer {customer_id} is compared") from error
        facts = await self._ledger.read(
            payer,
            partial(
                _facts,
                payer=payer,
                account=account,
                invoices=[invoice.invoice_id for invoice in invoices],
            ),
        )
        breaks = [*self._of_subscriptions(payer, account, subscriptions)]
        breaks += self._of_invoices(payer, account, invoices, facts)
        for books in facts.books:
            breaks += await self._of_cycle(books, facts)
        breaks += self._of_open_books(payer, account, facts)
        return Compared(len(facts.books), breaks)

    async def _invoices_of(self, customer_id: str) -> list[Invoice]:
        listed = self._gateway.invoices_of(created_from=0, customer_id=customer_id)
        return [invoice async for invoice in listed]

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
        for period in bound.periods.until(now):
            if period.start not in closed and now - period.end > GRACE_MS:
                yield Break(payer, BOOKS_OPEN, bound.subscription_id, "", period.start, period.end)

    def _of_invoices(
        self,
        payer: bytes,
        account: BillingAccount,
        invoices: Iterable[Invoice],
        facts: _Facts,
    ) -> Iterable[Break]:
        prices = prices_of(self._ledger, account)
        known = {one.invoice_id: one for one in facts.invoices}
        for invoice in invoices:
            if invoice.subscription_id not in account.ever_bound or invoice.status not in FINAL:
                continue
            settled = known.get(invoice.invoice_id)
            try:
                credits = billed_credits(invoice, prices)
            except InvoiceQuantityError:
                if settled is not None:
                    continue  # by hand: nobody can count it
                credits = -1
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

    async def _of_cycle(self, books: ClosedBooks, facts: _Facts) -> list[Break]:
        """Compare what the ledger sent in a cycle with rows, Stripe's sum and the invoices."""
        end, rows = facts.rows[books.subscription_id, books.period_start]
        sent = _sent(facts.events.get(books.subscription_id, ()), books.period_start, end)
        summed, of_window = await self._summed(books, facts)
        found = Break(
            books.payer,
            "",
            books.subscription_id,
            books.invoice_id,
            books.period_start,
            books.period_end,
            ledger=sent,
            projection=books.sent_credits,
            summed=summed or 0,
            invoiced=books.invoiced_credits,
        )
        kinds = []
        if not sent == rows == books.sent_credits:
            kinds.append(ROWS_DIFFER)
        # A shortfall is rows that never arrived, or that Stripe added up too late: both are known.
        # It is negative for rows that were to take something back.
        lacking, beyond = max(books.shortfall_credits, 0), max(-books.shortfall_credits, 0)
        if summed is not None and not of_window - lacking <= summed <= of_window + beyond:
            kinds.append(SUM_DIFFERS)
        if books.invoiced_credits < sent and books.invoiced_credits != sent - (
            books.shortfall_credits
        ):
            kinds.append(LESS_INVOICED)
        return [
            *(found._replace(kind=kind) for kind in kinds),
            *(
                found._replace(kind=MORE_INVOICED, invoiced=excess.billed)
                for excess in excesses([books], facts.invoices)
            ),
        ]

    async def _summed(self, books: ClosedBooks, facts: _Facts) -> tuple[int | None, int]:
        """Give Stripe's sum over the minutes of a cycle, and what we sent in them.

        Stripe adds up by customer and whole minutes, whatever the subscription; None when the
        customer was deleted, of which it adds up nothing.
        """
        start, end = minutes_of(books.period_start, books.period_end)
        customer_id = facts.customers[books.subscription_id]
        sent = sum(
            _sent(events, start * 1_000, end * 1_000)
            for name, events in facts.events.items()
            if facts.customers[name] == customer_id
        )
        try:
            summary = await self._gateway.summary(
                meter_id=self._ledger.settings.stripe.meter_id,
                customer_id=customer_id,
                start=start,
                end=end,
            )
        except StripeMissingError:
            return None, sent
        except GatewayError as error:
            raise told(error, f"customer {customer_id} is compared") from error
        return int(summary.credits), sent


def _facts(
    queries: Queries,
    payer: bytes,
    account: BillingAccount,
    invoices: Iterable[str],
) -> _Facts:
    reader = queries.reader

    def stream(name: str) -> list[LedgerEvent]:
        return [decode(stored.topic, stored.state) for stored in reader.stream(name)]

    settled = [_settled(stream(invoice_stream(invoice_id))) for invoice_id in invoices]
    customers = {name: one for one in account.customers for name in account.bound_to(one)}
    books = reader.books_of(payer)
    rows = {}
    for one in books:
        name, start = one.subscription_id, one.period_start
        end = account.billed_until(name, start=start, end=one.period_end)
        stamped, _ = reader.reports_in_cycle(name, start=start, end=end)
        rows[name, start] = _Stamped(end, stamped)
    events = {name: stream(reports_stream(name)) for name in customers}
    return _Facts(events, customers, [one for one in settled if one is not None], books, rows)


def _settled(events: Iterable[LedgerEvent]) -> SettledInvoice | None:
    """Fold an invoice's stream; None when it is empty."""
    found = None
    for event in events:
        match event:
            case InvoiceSettled():
                found = SettledInvoice(
                    event.invoice_id,
                    event.payer,
                    event.subscription_id,
                    event.credit_cents,
                    0,
                    event.effective_time,
                    event.period_start,
                    event.period_end,
                )
            case InvoiceCorrected() if found is not None:
                found.corrected_cents += event.credit_cents
            case _:
                pass
    return found


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
