"""Holds on cards: what is recorded before and after Stripe."""

from __future__ import annotations

from typing import NamedTuple

from events import HoldPlaced, HoldReleased, HoldRequested
from ledger.commands.billing_accounts import bound
from ledger.group import Group


class HoldWanted(NamedTuple):
    """A hold that is to be placed; the same for everybody who asks before it is known."""

    number: int
    customer_id: str
    currency: str
    asked_at: int  # ms; when it was first asked for


def request_hold(
    group: Group, payer: bytes, *, known_seconds: int, given_up: int | None = None
) -> HoldWanted:
    """Note that a hold is to be placed; NotFoundError without a customer.

    One that was asked for, and of which nothing is known, is gone on with under its number for as
    long as Stripe surely knows the key, unless it is `given_up`.
    """
    account = group.billing_account(payer)
    customer = bound(account, payer)
    asked = account.placing.get(account.hold_number)
    if (
        asked is not None
        and asked.number != given_up
        and (asked.customer_id, asked.currency) == (customer.customer_id, customer.currency)
        and group.now - asked.recorded_at <= 1_000 * known_seconds
    ):
        return _wanted(asked)
    event = HoldRequested(
        group.recorded_at,
        group.author,
        payer,
        account.hold_number + 1,
        customer.customer_id,
        customer.currency,
    )
    group.append_billing(account, event)
    return _wanted(event)


def _wanted(event: HoldRequested) -> HoldWanted:
    return HoldWanted(event.number, event.customer_id, event.currency, event.recorded_at)


def hold_placed(group: Group, payer: bytes, number: int, payment_intent_id: str) -> None:
    """Note the payment intent of a hold."""
    account = group.billing_account(payer)
    if number in account.placing:
        event = HoldPlaced(group.recorded_at, group.author, payer, number, payment_intent_id)
        group.append_billing(account, event)


def hold_released(group: Group, payer: bytes, payment_intent_id: str, cause: str) -> None:
    """Note that a hold is cancelled at Stripe."""
    account = group.billing_account(payer)
    if payment_intent_id in account.holds:
        event = HoldReleased(group.recorded_at, group.author, payer, payment_intent_id, cause)
        group.append_billing(account, event)
