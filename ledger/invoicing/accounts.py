"""Accounts as they are recorded: looked up by payer, or by an id of Stripe."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from aggregates import BillingAccount
from events import StripeIdClaimed, decode
from events.readable import attribution_id
from ledger.commands.billing_accounts import stripe_stream
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


async def payer_of_stripe_id(ledger: Ledger, stripe_id: str) -> bytes | None:
    """Give whose a customer or subscription is; None when it is none of ours."""
    found = await asyncio.gather(
        *[shard.read(partial(_owner, stripe_id=stripe_id)) for shard in ledger.shards]
    )
    return next((payer for payer in found if payer is not None), None)


def _owner(queries: Queries, stripe_id: str) -> bytes | None:
    for stored in queries.reader.stream(stripe_stream(stripe_id)):
        event = decode(stored.topic, stored.state)
        assert isinstance(event, StripeIdClaimed)
        return event.payer
    return None


def marker(purpose: str, payer: bytes, number: int) -> str:
    """Name an intent of ours at Stripe."""
    return f"{purpose}:{attribution_id(payer)}:{number}"
