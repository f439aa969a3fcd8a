"""A payer's account with Stripe: its customer, the holds on its cards, its one subscription.

Whatever is asked of Stripe is recorded before it is asked, under a number that never names anything
else, so that it can be asked again after a crash. At most one customer is being made, and at most
one subscription is bound.
"""

from __future__ import annotations

import msgspec

from events import (
    HoldPlaced,
    HoldReleased,
    HoldRequested,
    HoldVerified,
    LedgerEvent,
    StripeCustomerBound,
    StripeCustomerGone,
    StripeCustomerRefused,
    StripeCustomerRequested,
    StripeTaxStateTold,
    SubscriptionActivated,
    SubscriptionCancelRequested,
    SubscriptionCreated,
    SubscriptionEnded,
    SubscriptionRefused,
    SubscriptionRequested,
    UnsettledUsageKept,
)

UNRECOGNIZED = "unrecognized_location"  # a tax state: the address cannot be used


class BoundCustomer(msgspec.Struct, frozen=True, gc=False):
    """The payer's customer."""

    customer_id: str
    currency: str
    tax_state: str

    @property
    def invalid_billing_address(self) -> bool:
        """Say whether Stripe cannot tell where the customer is."""
        return self.tax_state == UNRECOGNIZED


class BoundSubscription(msgspec.Struct, frozen=True, gc=False):
    """The subscription to which usage is reported. Times in ms."""

    subscription_id: str
    customer_id: str
    price_id: str
    period_start: int  # of its first period: periods are whole months from here
    period_end: int
    attempt: int


class EndedSubscription(msgspec.Struct, frozen=True, gc=False):
    """A subscription that was bound, and when it ended at Stripe. Times in ms."""

    subscription_id: str
    period_start: int  # of its first period
    ended_at: int


class BillingAccount(msgspec.Struct, gc=False):
    """The state that decisions need; version 0: nothing was ever asked of Stripe."""

    version: int = 0
    generation: int = 0  # of customers
    making: StripeCustomerRequested | None = None  # asked for, outcome not known
    making_version: int = 0
    customer: BoundCustomer | None = None
    hold_number: int = 0
    holds: dict[str, int] = {}  # payment intent -> when it was placed; those not released
    placing: dict[int, int] = {}  # numbers asked for -> when, outcome not known
    attempt: int = 0  # of subscriptions
    wanted: SubscriptionRequested | None = None  # the attempt that goes on
    verified: HoldVerified | None = None
    subscription: BoundSubscription | None = None
    is_active: bool = False
    is_cancelling: bool = False
    ended: list[EndedSubscription] = []

    def apply(self, event: LedgerEvent) -> None:
        """Take a recorded event into the state."""
        self.version += 1
        match event:
            case StripeCustomerRequested():
                self.generation, self.making = event.generation, event
                self.making_version = self.version
            case StripeCustomerRefused():
                self.making = None
            case StripeCustomerBound():
                self.making = None
                self.customer = BoundCustomer(event.customer_id, event.currency, event.tax_state)
            case StripeTaxStateTold():
                assert self.customer is not None
                self.customer = msgspec.structs.replace(self.customer, tax_state=event.tax_state)
            case StripeCustomerGone():
                self.customer = None
            case HoldRequested() | HoldPlaced() | HoldReleased():
                self._apply_hold(event)
            case UnsettledUsageKept():
                pass  # it is of the reports
            case _:
                self._apply_subscription(event)

    def _apply_hold(self, event: HoldRequested | HoldPlaced | HoldReleased) -> None:
        match event:
            case HoldRequested():
                self.hold_number = event.number
                self.placing[event.number] = event.recorded_at
            case HoldPlaced():
                self.placing.pop(event.number, None)
                self.holds[event.payment_intent_id] = event.recorded_at
            case HoldReleased():
                self.holds.pop(event.payment_intent_id, None)

    def _apply_subscription(self, event: LedgerEvent) -> None:
        match event:
            case SubscriptionRequested():
                self.attempt, self.wanted, self.verified = event.attempt, event, None
            case HoldVerified():
                self.verified = event
                assert self.customer is not None
                self.customer = msgspec.structs.replace(self.customer, tax_state=event.tax_state)
            case SubscriptionRefused():
                self.wanted = self.verified = None
            case SubscriptionCreated():
                assert self.wanted is not None
                self.subscription = BoundSubscription(
                    event.subscription_id,
                    self.wanted.customer_id,
                    event.price_id,
                    event.period_start,
                    event.period_end,
                    event.attempt,
                )
                self.is_active = self.is_cancelling = False
            case SubscriptionActivated():
                self.wanted = self.verified = None
                self.is_active = True
            case SubscriptionCancelRequested():
                self.is_cancelling = True
            case SubscriptionEnded():
                assert self.subscription is not None
                self.ended.append(
                    EndedSubscription(
                        event.subscription_id, self.subscription.period_start, event.ended_at
                    )
                )
                self.subscription = self.wanted = self.verified = None
                self.is_active = self.is_cancelling = False
            case _:
                raise TypeError(f"{event.TOPIC} is no event of a billing account")

    @property
    def ever_bound(self) -> list[str]:
        """Name the subscriptions that are or were the payer's."""
        names = [one.subscription_id for one in self.ended]
        if self.subscription is not None:
            names.append(self.subscription.subscription_id)
        return names

    def unfinished_subscription(self) -> str:
        """Name the subscription or attempt in whose way another one would be; empty: none."""
        if self.subscription is not None:
            return self.subscription.subscription_id
        return f"attempt {self.wanted.attempt}" if self.wanted is not None else ""
