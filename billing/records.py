"""What Stripe says, as frozen values of ours.

Times are whole seconds since 1970-01-01T00:00:00Z, money is whole cents of `currency`, ids are
Stripe's. A field that may be None says when it is. Secrets and personal data are not shown by
`repr`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from billing.settings import Secret

# Subscriptions in these states never bill again; `incomplete` and `unpaid` may.
DEAD_STATES: Final = frozenset({"canceled", "incomplete_expired"})
REQUIRES_CAPTURE: Final = "requires_capture"
CANCELED: Final = "canceled"
TAX_SUPPORTED: Final = "supported"
TAX_UNRECOGNIZED_LOCATION: Final = "unrecognized_location"
# Metadata of ours at Stripe; the first three are the original's and stay as they are.
ATTRIBUTION_ID: Final = "attributionId"
PREFERRED_CURRENCY: Final = "preferredCurrency"
CREATOR_USER_ID: Final = "billingCreatorUserId"
DESCRIPTION: Final = "human_readable_description"
MARKER: Final = "usageLedgerIntent"


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionItem:
    """One priced part of a subscription, with the period that it bills now."""

    item_id: str
    price_id: str
    current_period_start: int
    current_period_end: int  # exclusive


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A subscription; `items` are those of the answer's first page, which holds ten or more."""

    subscription_id: str
    customer_id: str
    status: str
    items: tuple[SubscriptionItem, ...]
    automatic_tax_enabled: bool
    created: int
    cancel_at_period_end: bool
    cancel_at: int | None  # None: no end is set
    canceled_at: int | None  # when its end was asked for; None: it was not
    ended_at: int | None  # None: it has not ended
    attribution_id: str | None  # None: not one of ours
    marker: str | None  # names the attempt of ours that made it

    @property
    def is_dead(self) -> bool:
        """Whether it has ended for good."""
        return self.status in DEAD_STATES

    @property
    def item(self) -> SubscriptionItem | None:
        """The item, if there is exactly one, as in all subscriptions that we make."""
        return self.items[0] if len(self.items) == 1 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """A customer. Of a deleted one only the id is left."""

    customer_id: str
    is_deleted: bool = False
    created: int | None = None  # None: deleted
    attribution_id: str | None = None
    preferred_currency: str | None = None
    creator_user_id: str | None = None
    tax_state: str | None = None  # of automatic tax; None: Stripe did not say
    # All that are not dead. None: Stripe did not say, which is not the same as none at all.
    subscriptions: tuple[Subscription, ...] | None = None

    @property
    def is_tax_supported(self) -> bool:
        """Whether automatic tax can be switched on."""
        return self.tax_state == TAX_SUPPORTED

    @property
    def has_unrecognized_address(self) -> bool | None:
        """Whether Stripe finds no place of taxation; None: Stripe did not say."""
        return None if self.tax_state is None else self.tax_state == TAX_UNRECOGNIZED_LOCATION


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A payment intent that blocks an amount on a card and is never captured."""

    hold_id: str
    customer_id: str | None  # None: it belongs to nobody, so it is none of ours
    status: str
    amount: int
    currency: str
    created: int
    payment_method_id: str | None  # None: no card was given yet
    marker: str | None  # names the intent of ours that made it; None: it is none of ours
    client_secret: Secret | None  # for the browser that confirms it

    @property
    def is_held(self) -> bool:
        """Whether the card was accepted and the amount is blocked."""
        return self.status == REQUIRES_CAPTURE

    @property
    def is_canceled(self) -> bool:
        """Whether it was released."""
        return self.status == CANCELED


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentMethod:
    """A card; its address is handed on to the customer as it is."""

    payment_method_id: str
    customer_id: str | None  # None: attached to nobody
    address: Mapping[str, str] = field(repr=False)  # only the parts that were filled in


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """A price."""

    price_id: str
    currency: str
    is_active: bool
    description: str | None  # for people
    meter_id: str | None  # None: it bills no usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """A billing meter, with the keys under which events name customer and value."""

    meter_id: str
    event_name: str
    formula: str  # `sum`, `count` or `last`
    is_active: bool
    customer_key: str
    value_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterSummary:
    """What a meter has added up for a customer from `start` to `end`, which is exclusive."""

    meter_id: str
    customer_id: str
    start: int
    end: int
    credits: Decimal


class Delivery(enum.Enum):
    """How Stripe took a usage event. In both cases it has the event, once."""

    DELIVERED = "delivered"
    REPEATED = "repeated"  # it had it before


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceLine:
    """A line of an invoice."""

    line_id: str
    price_id: str | None  # None: it has no price, as a one-off amount
    quantity: Decimal | None  # None: the line counts nothing
    amount: int
    is_proration: bool
    subscription_item_id: str | None  # None: it comes from no subscription
    period_start: int
    period_end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """An invoice with all its lines."""

    invoice_id: str
    customer_id: str | None
    subscription_id: str | None  # of its parent; None: it comes from no subscription
    status: str  # draft, open, paid, uncollectible, void
    currency: str
    total: int
    created: int
    finalized_at: int | None  # None: still a draft
    voided_at: int | None
    marked_uncollectible_at: int | None
    period_start: int
    period_end: int
    lines: tuple[InvoiceLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditNoteLine:
    """What a credit note takes back of one line."""

    line_id: str
    invoice_line_id: str | None  # None: an amount of its own
    quantity: Decimal | None  # None: credited by amount, not by quantity
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeCreditNote:
    """A credit note of Stripe's, which takes back part of an invoice. Not one of the ledger's."""

    credit_note_id: str
    invoice_id: str
    customer_id: str | None
    status: str  # issued, void
    currency: str
    amount: int
    created: int
    voided_at: int | None
    lines: tuple[CreditNoteLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispute:
    """A charge that its payer disputes, and whose it was."""

    dispute_id: str
    status: str
    created: int
    charge_id: str | None
    payment_intent_id: str | None  # None: charged without one
    customer_id: str | None  # None: neither intent nor charge has a customer
    attribution_id: str | None  # of that customer's metadata; None: deleted, or not one of ours


@dataclass(frozen=True, slots=True, kw_only=True)
class EventNotice:
    """That something happened at Stripe, and to what; what it is now, must be fetched."""

    event_id: str
    type: str
    object_id: str | None  # None: it happened to nothing that has an id
    created: int
    account: str | None = None  # of connected accounts; None: our own
    # Of `customer.updated`: whether the address is among what changed.
    changes_address: bool = False
