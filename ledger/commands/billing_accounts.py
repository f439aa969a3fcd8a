"""The customer and the subscription of a payer: what is recorded before and after Stripe."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import msgspec

from aggregates import (
    CARD_STEP,
    HOLD_STEP,
    STORED_FAILURE,
    SUBSCRIPTION_STEP,
    BillingAccount,
    BoundCustomer,
)
from events import (
    STRIPE,
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
    follow_period,
    move_to_other,
    move_to_stripe,
    open_cost_center,
    set_limit,
)
from ledger.commands.periods import note_last_period
from ledger.commands.usage_reports import give_up_reports, standing_of
from ledger.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError
from ledger.group import Group, billing_stream

CUSTOMER_DELETED = "customer deleted"  # a reason

_decode_personal = msgspec.msgpack.Decoder(tuple[str, str]).decode


class CustomerWanted(NamedTuple):
    """A customer that is to be made; the same for everybody who asks meanwhile."""

    generation: int
    name: str
    email: str
    currency: str
    creator: str
    asked_at: int  # ms; when it was first asked for

    @property
    def is_erased(self) -> bool:
        """Say whether name and address, which a request must have, were erased since."""
        return not self.name


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
        return CustomerWanted(
            making.generation, "", "", making.currency, making.creator, making.recorded_at
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
    """Note whose an id of Stripe is; FailedPreconditionError when it is another payer's.

    Claims lie in the first shard, whoever the payer is, so that there is one of each id.
    """
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
    """Note that the customer was deleted at Stripe; an attempt at its subscription ends with it.

    What the attempt may have made is dead: Stripe ends the subscriptions of who is deleted.
    """
    account = group.billing_account(payer)
    if account.customer is None or account.customer.customer_id != customer_id:
        return
    event = StripeCustomerGone(group.recorded_at, group.author, payer, customer_id)
    group.append_billing(account, event)
    wanted = account.wanted
    if wanted is not None and wanted.customer_id == customer_id:
        step = CARD_STEP if account.verified is None else SUBSCRIPTION_STEP
        refuse_subscription(group, payer, wanted.attempt, step=step, reason=CUSTOMER_DELETED)


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


def renew_attempt(group: Group, payer: bytes, attempt: int) -> None:
    """Put another attempt in the place of one whose key Stripe answers with a stored failure.

    With the same hold, limit and price, and the card that was seen to be good: only the number is
    another one, and with it the key. What the first one may have made is still looked for.
    """
    account = group.billing_account(payer)
    wanted, verified = account.wanted, account.verified
    if wanted is None or verified is None:
        return
    if not refuse_subscription(
        group, payer, attempt, step=SUBSCRIPTION_STEP, reason=STORED_FAILURE
    ):
        return
    again = SubscriptionRequested(
        group.recorded_at,
        group.author,
        payer,
        account.attempt + 1,
        wanted.customer_id,
        wanted.payment_intent_id,
        wanted.usage_limit,
        wanted.price_id,
    )
    group.append_billing(account, again)
    event = HoldVerified(
        group.recorded_at,
        group.author,
        payer,
        again.attempt,
        verified.payment_method_id,
        verified.tax_state,
    )
    group.append_billing(account, event)


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
    if group.cost_center(payer).strategy == STRIPE:
        follow_period(group, payer)
        set_limit(group, payer, wanted.usage_limit)
    else:
        move_to_stripe(group, payer, spending_limit=wanted.usage_limit)
    event = SubscriptionActivated(
        group.recorded_at,
        group.author,
        payer,
        subscription.attempt,
        subscription.subscription_id,
    )
    group.append_billing(account, event)


def end_subscription(
    group: Group,
    payer: bytes,
    subscription_id: str,
    *,
    ended_at: int,
    last_period: tuple[int, int] | None,
    default_limit: int,
) -> bool:
    """Note that the bound subscription has ended at Stripe; the cost center moves to OTHER.

    Rows that were not delivered are given up, and what was never reported is written down. False
    when it is not the bound one. `last_period`: start and end, if Stripe tells them.
    """
    account = group.billing_account(payer)
    subscription = account.subscription
    if subscription is None or subscription.subscription_id != subscription_id:
        return False
    if last_period is not None:
        note_last_period(group, payer, subscription_id, period=last_period, ended_at=ended_at)
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
