"""What the double remembers. Money in cents, times in whole seconds since 1970.

Records change in place; what is told of them is made anew for each answer, so an event keeps the
state of its time without a copy of the world.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, TypeAlias

Address: TypeAlias = dict[str, str | None]
TaxState = Literal["supported", "not_collecting", "unrecognized_location", "failed"]
LineKind = Literal["metered", "licensed", "one_off"]

DEAD: frozenset[str] = frozenset({"canceled", "incomplete_expired"})


@dataclass(slots=True)
class Customer:
    id: str
    created: int
    email: str | None = None
    name: str | None = None
    description: str | None = None
    phone: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    address: Address | None = None
    default_payment_method: str | None = None
    currency: str | None = None
    deleted: bool = False


@dataclass(slots=True)
class PaymentMethod:
    """A card. `declines`: it is refused; `declines_later`: only the first hold works."""

    id: str
    created: int
    address: Address | None = None
    customer: str | None = None
    declines: bool = False
    declines_later: bool = False


@dataclass(slots=True)
class PaymentIntent:
    id: str
    created: int
    amount: int
    currency: str
    capture_method: str
    customer: str | None = None
    description: str | None = None
    setup_future_usage: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    payment_method: str | None = None
    status: str = "requires_payment_method"
    amount_received: int = 0
    canceled_at: int | None = None
    cancellation_reason: str | None = None
    latest_charge: str | None = None
    declined: bool = False


@dataclass(slots=True)
class Charge:
    id: str
    created: int
    amount: int
    currency: str
    customer: str | None
    payment_intent: str | None
    payment_method: str | None
    captured: bool
    paid: bool
    disputed: bool = False


@dataclass(frozen=True, slots=True)
class Tier:
    """Up to and including a quantity; amounts in cents, flat ones once the tier is entered."""

    up_to: int | None
    unit_amount: Decimal | None
    flat_amount: Decimal | None


@dataclass(frozen=True, slots=True)
class Amounts:
    """What a price costs in one currency: per unit or by tiers."""

    unit_amount: Decimal | None
    tiers: tuple[Tier, ...] = ()


@dataclass(slots=True)
class Product:
    id: str
    created: int
    name: str
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Price:
    id: str
    created: int
    product: str
    currency: str
    amounts: dict[str, Amounts]
    interval: str | None
    interval_count: int
    usage_type: str
    meter: str | None
    billing_scheme: str
    tiers_mode: str | None
    nickname: str | None = None
    lookup_key: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    active: bool = True


@dataclass(slots=True)
class Item:
    """One price of a subscription, in its current cycle [period_start, period_end)."""

    id: str
    created: int
    price: str
    quantity: int | None
    period_start: int
    period_end: int
    # Usage before it was billed by a subscription that ended in the second this one began.
    usage_start: int


@dataclass(slots=True)
class Subscription:
    id: str
    created: int
    customer: str
    currency: str
    items: list[Item]
    status: str
    cycle: int = 1
    metadata: dict[str, str] = field(default_factory=dict)
    description: str | None = None
    automatic_tax: bool = False
    cancel_at_period_end: bool = False
    canceled_at: int | None = None
    cancellation_comment: str | None = None
    ended_at: int | None = None
    default_payment_method: str | None = None
    latest_invoice: str | None = None
    # Where cycles are counted from, if not from `created`, and how many were over by then.
    moved_anchor: int | None = None
    cycles_before: int = 0

    @property
    def anchor(self) -> int:
        """Second from which whole months are counted."""
        return self.created if self.moved_anchor is None else self.moved_anchor


@dataclass(slots=True)
class Meter:
    id: str
    created: int
    updated: int
    display_name: str
    event_name: str
    formula: str
    customer_key: str
    value_key: str
    event_time_window: str | None
    deactivated_at: int | None = None


@dataclass(slots=True)
class MeterEvent:
    """One report of usage. It counts from `counts_from` on, unless it was cancelled or refused."""

    identifier: str
    meter: str
    customer: str
    value: int
    timestamp: int
    received: int
    counts_from: int
    number: int
    cancelled_from: int | None = None
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class UsageSpan:
    """A cycle of a metered item that an invoice bills; usage of [usage_start, usage_end) counts.

    The last cycle of a subscription counts its last second, too, so `usage_end` may be one more.
    """

    subscription: str
    item: str
    price: str
    start: int
    end: int
    usage_start: int
    usage_end: int


@dataclass(frozen=True, slots=True)
class ClosedCycle:
    """A cycle of a subscription that is over; without an invoice if it was empty or discarded."""

    subscription: str
    customer: str
    cycle: int
    usage: tuple[UsageSpan, ...]
    invoice: str | None
    discarded: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    id: str
    kind: LineKind
    amount: int
    quantity: int
    description: str
    start: int
    end: int
    price: str | None = None
    subscription: str | None = None
    item: str | None = None
    invoice_item: str | None = None


@dataclass(slots=True)
class InvoiceItem:
    """Something that is billed once, with the next invoice."""

    id: str
    created: int
    customer: str
    subscription: str | None
    amount: int
    currency: str
    quantity: int
    description: str | None
    metadata: dict[str, str] = field(default_factory=dict)
    invoice: str | None = None


@dataclass(slots=True)
class Invoice:
    """`lines` are fixed when it is finalized; a draft's metered ones follow from `usage`."""

    id: str
    created: int
    customer: str
    subscription: str | None
    currency: str
    billing_reason: str
    period_start: int
    period_end: int
    usage: tuple[UsageSpan, ...]
    fixed: list[Line]
    cycle: int = 0
    status: str = "draft"
    number: str | None = None
    lines: list[Line] | None = None
    automatic_tax: bool = False
    finalizes_at: int | None = None
    finalized_at: int | None = None
    paid_at: int | None = None
    voided_at: int | None = None
    marked_uncollectible_at: int | None = None
    attempts: int = 0
    amount_paid: int = 0
    credited_before_payment: int = 0
    credited_after_payment: int = 0
    payments: list[str] = field(default_factory=list)


@dataclass(slots=True)
class InvoicePayment:
    id: str
    created: int
    invoice: str
    payment_intent: str
    amount: int
    currency: str
    status: str
    paid_at: int | None


@dataclass(frozen=True, slots=True)
class CreditNoteLine:
    id: str
    amount: int
    quantity: int
    description: str
    invoice_line: str | None


@dataclass(slots=True)
class CreditNote:
    id: str
    created: int
    number: str
    invoice: str
    customer: str
    currency: str
    amount: int
    kind: str
    lines: list[CreditNoteLine]
    pre_payment_amount: int
    post_payment_amount: int
    out_of_band_amount: int | None
    memo: str | None
    reason: str | None
    metadata: dict[str, str]
    voided_at: int | None = None


@dataclass(slots=True)
class Dispute:
    id: str
    created: int
    charge: str
    payment_intent: str | None
    amount: int
    currency: str
    reason: str
    status: str = "needs_response"
