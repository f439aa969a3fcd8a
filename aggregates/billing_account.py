"""A payer's account with Stripe: its customer, the holds on its cards, its one subscription.

Whatever is asked of Stripe is recorded before it is asked, under a number that never names anything
else, so that it can be asked again after a crash. At most one customer is being made, and at most
one subscription is bound.
"""

from __future__ import annotations

import msgspec

from aggregates.periods import Periods, second_behind
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
    SubscriptionPeriodTold,
    SubscriptionRefused,
    SubscriptionRequested,
    UnsettledUsageKept,
)

UNRECOGNIZED = "unrecognized_location"  # a tax state: the address cannot be used
# Steps at which a subscription may be refused.
HOLD_STEP, CARD_STEP, SUBSCRIPTION_STEP = "hold", "card", "subscription"
# A reason: Stripe answers the attempt's key with a failure that it has stored. What the attempt
# made before it failed, if anything, may come to light later.
STORED_FAILURE = "stored failure"


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
    """The subscription to which usage is reported."""

    subscription_id: str
    customer_id: str
    price_id: str
    periods: Periods
    attempt: int

    def with_told(self, start: int, end: int) -> BoundSubscription:
        """Take in what Stripe tells of a period."""
        return msgspec.structs.replace(self, periods=self.periods.with_told(start, end))


class EndedSubscription(msgspec.Struct, frozen=True, gc=False):
    """A subscription that was bound, and when it ended at Stripe, in ms."""

    subscription_id: str
    customer_id: str
    price_id: str
    periods: Periods
    ended_at: int

    def with_told(self, start: int, end: int) -> EndedSubscription:
        """Take in what Stripe tells of a period."""
        return msgspec.structs.replace(self, periods=self.periods.with_told(start, end))


class BillingAccount(msgspec.Struct, gc=False):
    """The state that decisions need; version 0: nothing was ever asked of Stripe."""

    version: int = 0
    generation: int = 0  # of customers
    making: StripeCustomerRequested | None = None  # asked for, outcome not known
    making_version: int = 0
    customer: BoundCustomer | None = None
    hold_number: int = 0
    holds: dict[str, int] = {}  # payment intent -> when it was placed; those not released
    placing: dict[int, HoldRequested] = {}  # by number: asked for, outcome not known
    attempt: int = 0  # of subscriptions
    uncertain: list[int] = []  # attempts that were given up for a stored failure
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
                self.placing[event.number] = event
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
                self._verified(event)
            case SubscriptionRefused():
                self.wanted = self.verified = None
                if (event.step, event.reason) == (SUBSCRIPTION_STEP, STORED_FAILURE):
                    self.uncertain.append(event.attempt)
            case SubscriptionCreated():
                assert self.wanted is not None
                self.subscription = BoundSubscription(
                    event.subscription_id,
                    self.wanted.customer_id,
                    event.price_id,
                    Periods.beginning_at(event.period_start),
                    event.attempt,
                )
                self.is_active = self.is_cancelling = False
            case SubscriptionActivated():
                self.wanted = self.verified = None
                self.is_active = True
            case SubscriptionCancelRequested():
                self.is_cancelling = True
            case SubscriptionPeriodTold():
                self._told(event)
            case SubscriptionEnded():
                assert self.subscription is not None
                self.ended.append(
                    EndedSubscription(
                        event.subscription_id,
                        self.subscription.customer_id,
                        self.subscription.price_id,
                        self.subscription.periods,
                        event.ended_at,
                    )
                )
                self.subscription = self.wanted = self.verified = None
                self.is_active = self.is_cancelling = False
            case _:
                raise TypeError(f"{event.TOPIC} is no event of a billing account")

    def _verified(self, event: HoldVerified) -> None:
        self.verified = event
        assert self.wanted is not None
        # The customer may have been deleted since, and even be another one by now.
        if self.customer is not None and self.customer.customer_id == self.wanted.customer_id:
            self.customer = msgspec.structs.replace(self.customer, tax_state=event.tax_state)

    def _told(self, event: SubscriptionPeriodTold) -> None:
        told = event.period_start, event.period_end
        bound = self.subscription
        if bound is not None and bound.subscription_id == event.subscription_id:
            self.subscription = bound.with_told(*told)
            return
        self.ended = [
            one.with_told(*told) if one.subscription_id == event.subscription_id else one
            for one in self.ended
        ]

    @property
    def ever_bound(self) -> list[str]:
        """Name the subscriptions that are or were the payer's, in order."""
        return [one.subscription_id for one in self._ever_bound()]

    def bound_to(self, customer_id: str) -> list[str]:
        """Name the subscriptions that are or were the payer's by one of its customers."""
        return [one.subscription_id for one in self._ever_bound() if one.customer_id == customer_id]

    @property
    def customers(self) -> list[str]:
        """Name the payer's customers: that of each subscription, then the one that it has now."""
        names = dict.fromkeys(one.customer_id for one in self._ever_bound())
        if self.customer is not None:
            names[self.customer.customer_id] = None
        return list(names)

    def _ever_bound(self) -> list[EndedSubscription | BoundSubscription]:
        return [*self.ended, *([] if self.subscription is None else [self.subscription])]

    @property
    def prices(self) -> frozenset[str]:
        """Name the prices of all its subscriptions: lines of these are credits of ours."""
        return frozenset(one.price_id for one in self._ever_bound())

    def known(self, subscription_id: str) -> EndedSubscription | BoundSubscription | None:
        """Give a subscription that is or was the payer's."""
        named = [one for one in self._ever_bound() if one.subscription_id == subscription_id]
        return named[0] if named else None

    def has_cycle(self, subscription_id: str, *, start: int, end: int) -> bool:
        """Say whether [start, end) is a cycle of a subscription, or the last one, cut off."""
        match self.known(subscription_id):
            case None:
                return False
            case EndedSubscription(periods=periods, ended_at=ended_at):
                return periods.has(start, end) or (start, end) in periods.ending_at(ended_at)
            case bound:
                return bound.periods.has(start, end)

    def billed_until(self, subscription_id: str, *, start: int, end: int) -> int:
        """Give the first ms whose reports a cycle of [start, end) does not bill any more.

        A subscription that is ended within a cycle bills its last second, too.
        """
        known = self.known(subscription_id)
        is_whole = known is None or known.periods.has(start, end)
        return end if is_whole else second_behind(end)

    def unfinished_subscription(self) -> str:
        """Name the subscription or attempt in whose way another one would be; empty: none."""
        if self.subscription is not None:
            return self.subscription.subscription_id
        return f"attempt {self.wanted.attempt}" if self.wanted is not None else ""
