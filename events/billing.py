"""A payer's account with Stripe, usage reported there, and invoices that came back.

Streams: `billing-account:team:<uuid>` (customer, holds, subscription), `stripe:<id>` (whose it is,
a customer or a subscription), `usage-report:<subscription>` (what was reported),
`reported-cycle:<subscription>:<start>` (one event: the books of a cycle are closed),
`invoice:<invoice>` (what it settled, and what was taken back), `dispute:<dispute>`.

Names, e-mail addresses and bodies of requests lie in the personal table; credentials and client
secrets lie nowhere.
"""

from __future__ import annotations

from typing import ClassVar

from events.base import LedgerEvent

# Customers and holds ----------------------------------------------------------------------------


class StripeCustomerRequested(LedgerEvent, frozen=True, array_like=True, gc=False):
    """A customer is to be made at Stripe. `generation` names the attempt and its idempotency key.

    Name and e-mail address are personal.
    """

    TOPIC: ClassVar[str] = "stripe-customer-requested"

    payer: bytes
    generation: int
    currency: str  # `eur` or `usd`
    creator: str  # a user id, or empty
    commitment: bytes  # to name and e-mail address


class StripeCustomerRefused(LedgerEvent, frozen=True, array_like=True, gc=False):
    """Stripe refused for good to make the customer; the next request is another generation."""

    TOPIC: ClassVar[str] = "stripe-customer-refused"

    payer: bytes
    generation: int
    reason: str  # Stripe's code


class StripeCustomerBound(LedgerEvent, frozen=True, array_like=True, gc=False):
    """The payer's customer at Stripe is known: made for it, or found there."""

    TOPIC: ClassVar[str] = "stripe-customer-bound"

    payer: bytes
    generation: int  # 0: it was found
    customer_id: str
    currency: str
    creation_time: int  # at Stripe
    tax_state: str  # Stripe's `automatic_tax`; empty while nobody has asked


class StripeIdClaimed(LedgerEvent, frozen=True, array_like=True, gc=False):
    """A customer or subscription at Stripe is this payer's, for ever."""

    TOPIC: ClassVar[str] = "stripe-id-claimed"

    payer: bytes


class StripeTaxStateTold(LedgerEvent, frozen=True, array_like=True, gc=False):
    """Stripe told where it can tax the customer; `unrecognized_location`: the address is bad."""

    TOPIC: ClassVar[str] = "stripe-tax-state-told"

    payer: bytes
    customer_id: str
    tax_state: str


class StripeCustomerGone(LedgerEvent, frozen=True, array_like=True, gc=False):
    """The customer was deleted at Stripe; another one may be made."""

    TOPIC: ClassVar[str] = "stripe-customer-gone"

    payer: bytes
    customer_id: str


class HoldRequested(LedgerEvent, frozen=True, array_like=True, gc=False):
    """A hold on a card is to be placed, to see that the card is good."""

    TOPIC: ClassVar[str] = "hold-requested"

    payer: bytes
    number: int
    customer_id: str
    currency: str


class HoldPlaced(LedgerEvent, frozen=True, array_like=True, gc=False):
    """Stripe made the payment intent of a hold; the browser confirms it."""

    TOPIC: ClassVar[str] = "hold-placed"

    payer: bytes
    number: int
    payment_intent_id: str


class HoldReleased(LedgerEvent, frozen=True, array_like=True, gc=False):
    """The hold is cancelled at Stripe: it was used, or nobody used it in time."""

    TOPIC: ClassVar[str] = "hold-released"

    payer: bytes
    payment_intent_id: str
    cause: str  # `used`, `refused` or `expired`


# The subscription -------------------------------------------------------------------------------


class SubscriptionRequested(LedgerEvent, frozen=True, array_like=True, gc=False):
    """A subscription is to be made. `attempt` names it, and its idempotency key."""

    TOPIC: ClassVar[str] = "subscription-requested"

    payer: bytes
    attempt: int
    customer_id: str
    payment_intent_id: str
    usage_limit: int  # credits
    price_id: str


class HoldVerified(LedgerEvent, frozen=True, array_like=True, gc=False):
    """The hold is good and the customer's; its card pays from now on."""

    TOPIC: ClassVar[str] = "hold-verified"

    payer: bytes
    attempt: int
    payment_method_id: str
    tax_state: str  # once the card's address is the customer's


class SubscriptionCreated(LedgerEvent, frozen=True, array_like=True, gc=False):
    """Stripe made the subscription; usage is reported to no other one of the payer."""

    TOPIC: ClassVar[str] = "subscription-created"

    payer: bytes
    attempt: int
    subscription_id: str
    price_id: str
    period_start: int
    period_end: int


class SubscriptionActivated(LedgerEvent, frozen=True, array_like=True, gc=False):
    """The cost center is on STRIPE with the limit that was asked for."""

    TOPIC: ClassVar[str] = "subscription-activated"

    payer: bytes
    attempt: int
    subscription_id: str


class SubscriptionPeriodTold(LedgerEvent, frozen=True, array_like=True, gc=False):
    """Stripe told of a period that months counted from the subscription's start do not give.

    Its billing anchor was moved, say. Later periods are counted from this one.
    """

    TOPIC: ClassVar[str] = "subscription-period-told"

    payer: bytes
    subscription_id: str
    period_start: int
    period_end: int


class SubscriptionRefused(LedgerEvent, frozen=True, array_like=True, gc=False):
    """The subscription cannot be made in this attempt."""

    TOPIC: ClassVar[str] = "subscription-refused"

    payer: bytes
    attempt: int
    step: str  # where: `hold`, `card` or `subscription`
    reason: str  # Stripe's code, or what is wrong with the hold


class SubscriptionCancelRequested(LedgerEvent, frozen=True, array_like=True, gc=False):
    """The subscription is to end, once everything is reported."""

    TOPIC: ClassVar[str] = "subscription-cancel-requested"

    payer: bytes
    subscription_id: str


class SubscriptionEnded(LedgerEvent, frozen=True, array_like=True, gc=False):
    """The subscription has ended at Stripe, and nothing more is reported to it."""

    TOPIC: ClassVar[str] = "subscription-ended"

    payer: bytes
    subscription_id: str
    ended_at: int
    unbilled_cents: int  # billable, and never reported: what nobody will pay


class UnsettledUsageKept(LedgerEvent, frozen=True, array_like=True, gc=False):
    """The payer came back to STRIPE while an earlier subscription's reports wait for their invoice.

    Beside the `upgrade` that wrote the rest of the balance off.
    """

    TOPIC: ClassVar[str] = "unsettled-usage-kept"

    payer: bytes
    unsettled_cents: int


# Usage that is reported -------------------------------------------------------------------------


class UsageReportRequested(LedgerEvent, frozen=True, array_like=True, gc=False):
    """Whole credits are to be reported. Its fields never change: a row of the outbox."""

    TOPIC: ClassVar[str] = "usage-report-requested"

    payer: bytes
    subscription_id: str
    seq: int
    delta: int  # credits; negative: they are taken back within the cycle
    cumulative: int  # credits that should have been reported with it, in this time on STRIPE
    customer_id: str
    event_name: str  # of the meter
    identifier: str


class UsageReportStamped(LedgerEvent, frozen=True, array_like=True, gc=False):
    """The time under which it counts at Stripe: that of the first try, written down before it."""

    TOPIC: ClassVar[str] = "usage-report-stamped"

    payer: bytes
    subscription_id: str
    seq: int
    timestamp: int  # ms, whole seconds


class UsageReported(LedgerEvent, frozen=True, array_like=True, gc=False):
    """Stripe has it."""

    TOPIC: ClassVar[str] = "usage-reported"

    payer: bytes
    subscription_id: str
    seq: int
    outcome: str  # `accepted`, `repeated` (it had it already) or `found` (by comparing sums)


class UsageReportRejected(LedgerEvent, frozen=True, array_like=True, gc=False):
    """Stripe refused it for good, and nothing more is sent before somebody looks; or it is over.

    Credits of a row that is `lost` are put back, to be reported by another one. Of one that is
    `closed` nobody knows: what the final invoice of its cycle lacks is put back.
    """

    TOPIC: ClassVar[str] = "usage-report-rejected"

    payer: bytes
    subscription_id: str
    seq: int
    outcome: str  # `refused`, `lost` or `closed`
    reason: str


class UsageReportResumed(LedgerEvent, frozen=True, array_like=True, gc=False):
    """A report that Stripe had refused is sent again, under the same name and the same time."""

    TOPIC: ClassVar[str] = "usage-report-resumed"

    payer: bytes
    subscription_id: str
    seq: int


class ReportedCycleClosed(LedgerEvent, frozen=True, array_like=True, gc=False):
    """The invoice of a cycle is final: what it lacks is reported again in the open cycle."""

    TOPIC: ClassVar[str] = "reported-cycle-closed"

    payer: bytes
    subscription_id: str
    period_start: int
    period_end: int
    invoice_id: str  # empty: none came
    sent_credits: int  # rows stamped in the cycle
    invoiced_credits: int
    # sent - invoiced; negative as far as rows of the cycle were to take something back.
    shortfall_credits: int


# Invoices and disputes --------------------------------------------------------------------------


class InvoiceSettled(LedgerEvent, frozen=True, array_like=True, gc=False):
    """A final invoice of Stripe carries these credits: the payer owes them there, not here.

    It is an entry of kind invoice, but for one of 0 cents, which only is a settled invoice.
    """

    TOPIC: ClassVar[str] = "invoice-settled"

    payer: bytes
    invoice_id: str
    customer_id: str
    subscription_id: str
    credit_cents: int  # 0 or negative
    effective_time: int  # when it was finalized
    period_start: int
    period_end: int


class InvoiceCorrected(LedgerEvent, frozen=True, array_like=True, gc=False):
    """Part of an invoice, or all of it, was taken back at Stripe; what is billable stays.

    It is an entry of kind invoice, too, unless it is of 0 cents.
    """

    TOPIC: ClassVar[str] = "invoice-corrected"

    payer: bytes
    invoice_id: str
    # `voided`, `uncollectible`, `credit-note:<id>`; `#2` and so on behind one that came again;
    # `undone:` before one that holds no more.
    cause: str
    credit_cents: int  # negative where it is undone
    effective_time: int


class DisputeOpened(LedgerEvent, frozen=True, array_like=True, gc=False):
    """A payment was disputed: owners of the payer's organisation are to be blocked."""

    TOPIC: ClassVar[str] = "dispute-opened"

    payer: bytes
    dispute_id: str
    customer_id: str
    user_ids: tuple[str, ...]


class DisputingUserBlocked(LedgerEvent, frozen=True, array_like=True, gc=False):
    """The directory blocked one of them."""

    TOPIC: ClassVar[str] = "disputing-user-blocked"

    payer: bytes
    dispute_id: str
    user_id: str
