"""Accounts as they are recorded: looked up by payer, or by an id of Stripe."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from aggregates import BillingAccount
from events import StripeIdClaimed, decode
from events.readable import attribution_id
from ledger.commands import billing_accounts as commands
from ledger.group import billing_stream
from ledger.queries import Queries

if TYPE_CHECKING:
    from ledger.application import Ledger


async def account_of(ledger: Ledger, payer: bytes) -> BillingAccount:
    """Give the state of a payer's account; version 0 when there is none."""
    return await ledger.read(payer, partial(_account, payer=payer))


def _account(queries: Queries, payer: bytes) -> BillingAccount:
    account = BillingAccount()
    for stored in queries.reader.stream(billing_stream(payer)):
        account.apply(decode(stored.topic, stored.state))
    return account


async def claim(ledger: Ledger, payer: bytes, stripe_id: str, author: str) -> None:
    """Note whose a customer or subscription is, before it is bound; again is no matter.

    FailedPreconditionError when it is another payer's.
    """
    if await payer_of_stripe_id(ledger, stripe_id) != payer:
        await ledger.shards[0].command(
            partial(commands.claim_stripe_id, payer=payer, stripe_id=stripe_id), author
        )


async def payer_of_stripe_id(ledger: Ledger, stripe_id: str) -> bytes | None:
    """Give whose a customer or subscription is; None when it is none of ours."""
    return await ledger.shards[0].read(partial(_owner, stripe_id=stripe_id))


def _owner(queries: Queries, stripe_id: str) -> bytes | None:
    for stored in queries.reader.stream(commands.stripe_stream(stripe_id)):
        event = decode(stored.topic, stored.state)
        assert isinstance(event, StripeIdClaimed)
        return event.payer
    return None


def prices_of(ledger: Ledger, account: BillingAccount) -> frozenset[str]:
    """Name the prices whose lines carry a payer's credits, for settling and for comparing.

    Those of the settings, and those of its own subscriptions, whatever became of the settings.
    """
    return ledger.settings.stripe.metered_prices | account.prices


def marker(purpose: str, payer: bytes, number: int) -> str:
    """Name an intent of ours at Stripe."""
    return f"{purpose}:{attribution_id(payer)}:{number}"
