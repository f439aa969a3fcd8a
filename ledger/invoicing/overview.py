"""How billing stands: what is billable, reported and waiting, and why it does not go on."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ledger.commands.usage_reports import Standing, standing_of_rows
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
    is_on_stripe: bool
    waits_for: str

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
    invoices: list[Invoice]


async def payer_standing(ledger: Ledger, payer: bytes, trouble: str = "") -> PayerStanding:
    """Give one payer's billing; `trouble` is what its last run came to."""
    return await ledger.read(payer, partial(_standing, payer=payer, trouble=trouble))


def _standing(queries: Queries, payer: bytes, trouble: str) -> PayerStanding:
    reader = queries.reader
    account = reader.billing_account(payer) or BillingAccount(payer)
    center = reader.cost_center(payer)
    reports = reader.open_reports(account.subscription_id) if account.subscription_id else []
    refused = next((row for row in reports if row.state == REFUSED), None)
    waits_for = trouble
    if refused is not None:
        waits_for = f"report {refused.identifier} was refused by Stripe: {refused.outcome}"
    return PayerStanding(
        payer,
        account,
        standing_of_rows(queries.balance(payer), reader.reporting(payer)),
        sum(row.delta for row in reports),
        center is not None and center.strategy == "stripe",
        waits_for,
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
        invoices,
    )
