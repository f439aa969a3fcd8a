"""Customers, holds and the subscription of a payer: what is recorded before and after Stripe."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import msgspec

from aggregates import BillingAccount, BoundCustomer
from events import (
    STRIPE,
    HoldPlaced,
    HoldReleased,
    HoldRequested,
    HoldVerified,
    StripeCustomerBound,
    StripeCustomerGone,
    StripeCustomerRefused,
    StripeCustomerRequested,
    StripeIdClaimed,
    StripeTaxStateTold,
    SubscriptionActivated,
    SubscriptionCancelRequested,
    SubscriptionCreated,
    SubscriptionEnded,
    SubscriptionRefused,
    SubscriptionRequested,
)
from events.readable import attribution_id
from ledger.commands.cost_centers import (
    Opening,
    begin_period,
    move_to_other,
    move_to_stripe,
    open_cost_center,
    set_limit,
)
from ledger.commands.usage_reports import give_up_reports, standing_of
from ledger.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError
from ledger.group import Group, billing_stream

# Steps at which a subscription may be refused.
HOLD_STEP, CARD_STEP, SUBSCRIPTION_STEP = "hold", "card", "subscription"

_decode_personal = msgspec.msgpack.Decoder(tuple[str, str]).decode


class CustomerWanted(NamedTuple):
    """A customer that is to be made; the same for everybody who asks meanwhile."""

    generation: int
    name: str
    email: str
    currency: str
    creator: str
    asked_at: int  # ms; when it was first asked for


class HoldWanted(NamedTuple):
    """A hold that is to be placed."""

    number: int
    customer_id: str
    currency: str


def request_customer(
    group: Group, payer: bytes, *, name: str, email: str, currency: str, creator: str
) -> BoundCustomer | CustomerWanted:
    """Give the payer's customer, or what is to be made; the first request's body is kept.

    Either may be of another currency.
    """
    account = group.billing_account(payer)
    if account.customer is not None:
        return account.customer
    if account.making is not None:
        return _wanted(group, payer, account.making)
    fields = group.pack((name, email))
    salt, commitment = group.commit_to(fields)
    event = StripeCustomerRequested(
        group.recorded_at,
        group.author,
        payer,
        account.generation + 1,
        currency,
        creator,
        commitment,
    )
    group.keep_personal(group.append_billing(account, event), salt, fields)
    return CustomerWanted(event.generation, name, email, currency, creator, event.recorded_at)


def _wanted(group: Group, payer: bytes, making: StripeCustomerRequested) -> CustomerWanted:
    group.flush()  # so that the personal row of a request in this group can be read
    recorded = next(
        one
        for one in reversed(group.stream(billing_stream(payer)))
        if isinstance(one.event, StripeCustomerRequested)
    )
    personal = group.transaction.personal(recorded.position)
    if personal is None:
        raise FailedPreconditionError(
            f"a customer of {attribution_id(payer)} was asked for, and name and address of the"
            " request are erased: `usage-ledger billing forget-request` gives it up"
        )
    assert making.commitment == hashlib.sha256(personal.salt + personal.fields).digest()
    name, email = _decode_personal(personal.fields)
    return CustomerWanted(
        making.generation, name, email, making.currency, making.creator, making.recorded_at
    )


def bind_customer(
    group: Group,
    payer: bytes,
    *,
    generation: int,
    customer_id: str,
    currency: str,
    creation_time: int,
    tax_state: str,
) -> BoundCustomer:
    """Bind the payer's customer; the one that is bound stays."""
    account = group.billing_account(payer)
    if account.customer is None:
        claim_stripe_id(group, payer, customer_id)
        event = StripeCustomerBound(
            group.recorded_at,
            group.author,
            payer,
            generation,
            customer_id,
            currency,
            creation_time,
            tax_state,
        )
        group.append_billing(account, event)
        assert account.customer is not None
    return account.customer


def claim_stripe_id(group: Group, payer: bytes, stripe_id: str) -> None:
    """Note whose an id of Stripe is; FailedPreconditionError when it is another payer's."""
    stream = stripe_stream(stripe_id)
    known = group.stream(stream)
    if not known:
        group.append(stream, 1, StripeIdClaimed(group.recorded_at, group.author, payer))
        return
    owner = known[0].event
    assert isinstance(owner, StripeIdClaimed)
    if owner.payer != payer:
        raise FailedPreconditionError(
            f"{stripe_id[:80]} is bound to {attribution_id(owner.payer)}, not to"
            f" {attribution_id(payer)}"
        )


def refuse_customer(group: Group, payer: bytes, generation: int, reason: str) -> None:
    """Note that Stripe refused for good; the next request is another generation."""
    account = group.billing_account(payer)
    if account.making is not None and account.generation == generation:
        event = StripeCustomerRefused(group.recorded_at, group.author, payer, generation, reason)
        group.append_billing(account, event)


def tell_tax_state(group: Group, payer: bytes, customer_id: str, tax_state: str) -> None:
    """Keep where Stripe says it can tax the customer, if that is news."""
    account = group.billing_account(payer)
    customer = account.customer
    if customer is None or customer.customer_id != customer_id or customer.tax_state == tax_state:
        return
    event = StripeTaxStateTold(group.recorded_at, group.author, payer, customer_id, tax_state)
    group.append_billing(account, event)


def customer_gone(group: Group, payer: bytes, customer_id: str) -> None:
    """Note that the customer was deleted at Stripe."""
    account = group.billing_account(payer)
    if account.customer is not None and account.customer.customer_id == customer_id:
        event = StripeCustomerGone(group.recorded_at, group.author, payer, customer_id)
        group.append_billing(account, event)


# Holds ------------------------------------------------------------------------------------------


def request_hold(group: Group, payer: bytes) -> HoldWanted:
    """Note that a hold is to be placed; NotFoundError without a customer."""
    account = group.billing_account(payer)
    customer = bound(account, payer)
    event = HoldRequested(
        group.recorded_at,
        group.author,
        payer,
        account.hold_number + 1,
        customer.customer_id,
        customer.currency,
    )
    group.append_billing(account, event)
    return HoldWanted(event.number, event.customer_id, event.currency)


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


# The subscription -------------------------------------------------------------------------------


def request_subscription(
    group: Group, payer: bytes, *, payment_intent_id: str, usage_limit: int, price_id: str
) -> SubscriptionRequested:
    """Begin an attempt, or go on with one that was asked for with the same hold."""
    account = group.billing_account(payer)
    customer = bound(account, payer)
    wanted = account.wanted
    if wanted is not None and wanted.payment_intent_id == payment_intent_id:
        return wanted
    if in_the_way := account.unfinished_subscription():
        raise AlreadyExistsError(
            f"Customer ({attribution_id(payer)}) already has an active subscription ({in_the_way})"
        )
    event = SubscriptionRequested(
        group.recorded_at,
        group.author,
        payer,
        account.attempt + 1,
        customer.customer_id,
        payment_intent_id,
        usage_limit,
        price_id,
    )
    group.append_billing(account, event)
    return event


def hold_verified(
    group: Group, payer: bytes, attempt: int, *, payment_method_id: str, tax_state: str
) -> None:
    """Note that the hold is good and its card pays."""
    account = group.billing_account(payer)
    if _goes_on(account, attempt) and account.verified is None:
        event = HoldVerified(
            group.recorded_at, group.author, payer, attempt, payment_method_id, tax_state
        )
        group.append_billing(account, event)


def refuse_subscription(
    group: Group, payer: bytes, attempt: int, *, step: str, reason: str
) -> bool:
    """Note that this attempt comes to nothing; False when another call has taken the step already.

    A hold that was verified is released at once. Who looks at it then finds it used, not bad.
    """
    account = group.billing_account(payer)
    if not _goes_on(account, attempt) or account.subscription is not None:
        return False
    if step in {HOLD_STEP, CARD_STEP} and account.verified is not None:
        return False
    event = SubscriptionRefused(group.recorded_at, group.author, payer, attempt, step, reason)
    group.append_billing(account, event)
    return True


def subscription_created(
    group: Group,
    payer: bytes,
    attempt: int,
    *,
    subscription_id: str,
    price_id: str,
    period_start: int,
    period_end: int,
) -> None:
    """Bind the subscription that Stripe made in this attempt."""
    account = group.billing_account(payer)
    if account.subscription is not None or not _goes_on(account, attempt):
        return
    claim_stripe_id(group, payer, subscription_id)
    event = SubscriptionCreated(
        group.recorded_at,
        group.author,
        payer,
        attempt,
        subscription_id,
        price_id,
        period_start,
        period_end,
    )
    group.append_billing(account, event)


def activate_subscription(group: Group, payer: bytes, opening: Opening) -> None:
    """Move the cost center to STRIPE with the limit that was asked for, in Stripe's periods."""
    account = group.billing_account(payer)
    subscription, wanted = account.subscription, account.wanted
    if subscription is None or wanted is None or account.is_active:
        return
    open_cost_center(group, payer, opening)
    anchor = subscription.period_start
    if group.cost_center(payer).strategy == STRIPE:
        begin_period(group, payer, anchor=anchor)
        set_limit(group, payer, wanted.usage_limit)
    else:
        move_to_stripe(group, payer, spending_limit=wanted.usage_limit, anchor=anchor)
    event = SubscriptionActivated(
        group.recorded_at,
        group.author,
        payer,
        subscription.attempt,
        subscription.subscription_id,
    )
    group.append_billing(account, event)


def end_subscription(
    group: Group, payer: bytes, subscription_id: str, *, ended_at: int, default_limit: int
) -> bool:
    """Note that the bound subscription has ended at Stripe; the cost center moves to OTHER.

    Rows that were not delivered are given up, and what was never reported is written down. False
    when it is not the bound one.
    """
    account = group.billing_account(payer)
    subscription = account.subscription
    if subscription is None or subscription.subscription_id != subscription_id:
        return False
    give_up_reports(group, payer, subscription_id, ended_at=ended_at)
    is_billed = account.is_active and group.cost_center(payer).strategy == STRIPE
    unbilled = max(standing_of(group, payer).open_cents, 0) if is_billed else 0
    event = SubscriptionEnded(
        group.recorded_at, group.author, payer, subscription_id, ended_at, unbilled
    )
    group.append_billing(account, event)
    if group.cost_center(payer).strategy == STRIPE:
        move_to_other(group, payer, default_limit=default_limit)
    return True


def request_cancel(group: Group, payer: bytes, subscription_id: str) -> bool:
    """Note that the bound subscription is to end; False when it is not the bound one."""
    account = group.billing_account(payer)
    subscription = account.subscription
    if subscription is None or subscription.subscription_id != subscription_id:
        return False
    if not account.is_cancelling:
        event = SubscriptionCancelRequested(group.recorded_at, group.author, payer, subscription_id)
        group.append_billing(account, event)
    return True


def _goes_on(account: BillingAccount, attempt: int) -> bool:
    return account.wanted is not None and account.wanted.attempt == attempt


def bound(account: BillingAccount, payer: bytes) -> BoundCustomer:
    """Give the payer's customer; NotFoundError without one."""
    if account.customer is None:
        raise NotFoundError(f"no customer found for attribution_id: {attribution_id(payer)}")
    return account.customer


def stripe_stream(stripe_id: str) -> str:
    """Name the stream that says whose a customer or subscription is."""
    return "stripe:" + stripe_id
