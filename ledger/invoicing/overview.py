"""How billing stands: what is billable, reported and waiting, and why it does not go on."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ledger.commands.usage_reports import Standing, standing_of_rows
from ledger.invoicing.excess import excesses
from projections.billing import REFUSED, BillingAccount, Invoice

if TYPE_CHECKING:
    from ledger.application import Ledger
    from ledger.queries import Queries

INVOICES_SHOWN = 12  # of a payer, beside its draft


class PayerStanding(NamedTuple):
    """One payer's billing."""

    payer: bytes
    account: BillingAccount
    standing: Standing
    waiting_credits: int
    invoiced_credits: int
    is_on_stripe: bool
    waits_for: str
    waits_since: int | None = None  # ms; None while it waits for nothing
    attempts: int = 0  # runs that failed since then

    @property
    def is_unbilled(self) -> bool:
        """Whether it is on STRIPE and nobody bills it."""
        return self.is_on_stripe and not self.account.subscription_id


class BilledDraft(NamedTuple):
    """What of a payer's draft is with Stripe, in whole credits."""

    subscription_id: str
    standing: Standing
    waiting_credits: int
    open_credits: int
    invoiced_credits: int
    invoices: list[Invoice]


async def payer_standing(ledger: Ledger, payer: bytes) -> PayerStanding:
    """Give one payer's billing."""
    return await ledger.read(payer, partial(_standing, payer=payer))


def _standing(queries: Queries, payer: bytes) -> PayerStanding:
    reader = queries.reader
    account = reader.billing_account(payer) or BillingAccount(payer)
    center = reader.cost_center(payer)
    reports = reader.open_reports(account.subscription_id) if account.subscription_id else []
    refused = next((row for row in reports if row.state == REFUSED), None)
    standing = PayerStanding(
        payer,
        account,
        standing_of_rows(queries.balance(payer), reader.reporting(payer)),
        sum(row.delta for row in reports),
        _invoiced(queries, payer, account.subscription_id),
        center is not None and center.strategy == "stripe",
        "",
    )
    if refused is not None:
        return standing._replace(
            waits_for=f"report {refused.identifier} was refused by Stripe: {refused.outcome}",
            waits_since=refused.stamped,
        )
    trouble = reader.trouble(payer)
    if trouble is None:
        return standing._replace(waits_for=_too_much(queries, payer))
    return standing._replace(
        waits_for=trouble.reason, waits_since=trouble.since, attempts=trouble.attempts
    )


def _too_much(queries: Queries, payer: bytes) -> str:
    """Say of which cycles more was invoiced than was sent; empty: of none."""
    reader = queries.reader
    found = excesses(reader.books_of(payer), reader.invoices_of(payer))
    if not found:
        return ""
    invoices = ", ".join(one.books.invoice_id or "none" for one in found)
    return (
        f"{sum(one.credits for one in found)} credits were invoiced that nobody sent ({invoices}):"
        " decide on a credit note at Stripe"
    )


def billed_draft(queries: Queries, payer: bytes) -> BilledDraft | None:
    """Give what of a payer's draft is with Stripe; None when it was never billed there."""
    reader = queries.reader
    account = reader.billing_account(payer)
    reporting = reader.reporting(payer)
    invoices = reader.invoices_of(payer)[:INVOICES_SHOWN]
    if account is None or (not account.subscription_id and not invoices and reporting is None):
        return None
    subscription_id = account.subscription_id
    reported = reader.reported(subscription_id) if subscription_id else None
    waiting = sum(row.delta for row in reader.open_reports(subscription_id))
    unsettled = 0
    if reported is not None:
        unsettled = reported.requested_credits - reported.settled_cents // 100
    return BilledDraft(
        subscription_id,
        standing_of_rows(queries.balance(payer), reporting),
        waiting,
        unsettled,
        _invoiced(queries, payer, subscription_id),
        invoices,
    )


def _invoiced(queries: Queries, payer: bytes, subscription_id: str) -> int:
    """Give what a subscription's final invoices carry, in credits; of the last one without one."""
    reader = queries.reader
    if not subscription_id:
        subscription_id = next((one.subscription_id for one in reader.invoices_of(payer)), "")
    reported = reader.reported(subscription_id) if subscription_id else None
    return 0 if reported is None else reported.settled_cents // 100
