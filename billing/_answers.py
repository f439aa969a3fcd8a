"""Reads Stripe's answers into records.

An answer is the plain dict of a Stripe object: a missing field and one that was not asked for look
the same, ids may have been expanded into objects, and nothing is promised to be there. Whatever an
answer must have and lacks raises StripeAnswerError, which names the field and shows no value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from billing._arguments import SECONDS_MAX, is_stripe_id
from billing.errors import StripeAnswerError
from billing.records import (
    ATTRIBUTION_ID,
    CREATOR_USER_ID,
    DESCRIPTION,
    MARKER,
    PREFERRED_CURRENCY,
    CreditNoteLine,
    Customer,
    EventNotice,
    Hold,
    Invoice,
    InvoiceLine,
    Meter,
    PaymentMethod,
    Price,
    StripeCreditNote,
    Subscription,
    SubscriptionItem,
)
from billing.settings import Secret

Fields = Mapping[str, Any]

LINE_CHARS_MAX = 255  # of a type of event; Stripe's have some fifty


def text(fields: Fields, name: str) -> str:
    """Read a text that must be there."""
    value = optional_text(fields, name)
    if value is None:
        raise _lacks(fields, name)
    return value


def optional_text(fields: Fields, name: str) -> str | None:
    """Read a text; null, empty and not there are all None."""
    value = fields.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise _lacks(fields, name)
    return value


def line(fields: Fields, name: str) -> str:
    """Read a text that is kept as it is and shown: 1 to 255 signs that can be printed."""
    value = text(fields, name)
    if len(value) > LINE_CHARS_MAX or not value.isprintable():
        raise _lacks(fields, name)
    return value


def stripe_id(fields: Fields, name: str) -> str:
    """Read an id that must be there."""
    value = text(fields, name)
    if not is_stripe_id(value):
        raise _lacks(fields, name)
    return value


def object_id(fields: Fields, name: str) -> str | None:
    """Read what an event is about. An id that no request could name is none."""
    found = optional_text(inner(fields, name), "id")
    return found if found is not None and is_stripe_id(found) else None


def moment(fields: Fields, name: str) -> int:
    """Read a time in seconds since 1970."""
    value = whole(fields, name)
    if not 0 <= value < SECONDS_MAX:
        raise _lacks(fields, name)
    return value


def whole(fields: Fields, name: str) -> int:
    """Read a whole number that must be there."""
    value = optional_whole(fields, name)
    if value is None:
        raise _lacks(fields, name)
    return value


def optional_whole(fields: Fields, name: str) -> int | None:
    """Read a whole number, if it is there."""
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise _lacks(fields, name)
    return value


def optional_decimal(fields: Fields, name: str) -> Decimal | None:
    """Read an exact number: the library's Decimal, or a whole number."""
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, Decimal | int) or isinstance(value, bool):
        raise _lacks(fields, name)
    return Decimal(value)


def flag(fields: Fields, name: str) -> bool:
    """Read a flag; not there is False."""
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise _lacks(fields, name)
    return bool(value)


def inner(fields: Fields, name: str) -> Fields:
    """Read an object; null and not there are an empty one."""
    value = fields.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise _lacks(fields, name)
    return value


def optional_id(fields: Fields, name: str) -> str | None:
    """Read a reference, which is an id, or the object itself where it was expanded."""
    value = fields.get(name)
    return text(value, "id") if isinstance(value, Mapping) else optional_text(fields, name)


def listed(fields: Fields, name: str) -> Sequence[Fields]:
    """Read the objects on the page of a list that lies inside an object."""
    objects = inner(fields, name).get("data")
    if not isinstance(objects, Sequence) or not all(isinstance(one, Mapping) for one in objects):
        raise _lacks(fields, name)
    return objects


def has_more(fields: Fields, name: str) -> bool:
    """Whether the list inside goes on after this page."""
    return flag(inner(fields, name), "has_more")


def customer(fields: Fields) -> Customer:
    """Read a customer, with the first page of its subscriptions if it was expanded."""
    customer_id = text(fields, "id")
    if flag(fields, "deleted"):
        return Customer(customer_id=customer_id, is_deleted=True)
    metadata = inner(fields, "metadata")
    subscriptions = None
    if fields.get("subscriptions") is not None:
        every = [subscription(one) for one in listed(fields, "subscriptions")]
        subscriptions = tuple(one for one in every if not one.is_dead)
    return Customer(
        customer_id=customer_id,
        created=whole(fields, "created"),
        attribution_id=optional_text(metadata, ATTRIBUTION_ID),
        preferred_currency=optional_text(metadata, PREFERRED_CURRENCY),
        creator_user_id=optional_text(metadata, CREATOR_USER_ID),
        tax_state=optional_text(inner(fields, "tax"), "automatic_tax"),
        subscriptions=subscriptions,
    )


def subscription(fields: Fields) -> Subscription:
    """Read a subscription; the period is that of its items."""
    metadata = inner(fields, "metadata")
    return Subscription(
        subscription_id=text(fields, "id"),
        customer_id=_id(fields, "customer"),
        status=text(fields, "status"),
        items=tuple(_item(item) for item in listed(fields, "items")),
        automatic_tax_enabled=flag(inner(fields, "automatic_tax"), "enabled"),
        created=whole(fields, "created"),
        cancel_at_period_end=flag(fields, "cancel_at_period_end"),
        cancel_at=optional_whole(fields, "cancel_at"),
        canceled_at=optional_whole(fields, "canceled_at"),
        ended_at=optional_whole(fields, "ended_at"),
        attribution_id=optional_text(metadata, ATTRIBUTION_ID),
        marker=optional_text(metadata, MARKER),
    )


def _item(fields: Fields) -> SubscriptionItem:
    return SubscriptionItem(
        item_id=text(fields, "id"),
        price_id=_id(fields, "price"),
        current_period_start=whole(fields, "current_period_start"),
        current_period_end=whole(fields, "current_period_end"),
    )


def hold(fields: Fields) -> Hold:
    """Read a payment intent."""
    client_secret = optional_text(fields, "client_secret")
    return Hold(
        hold_id=text(fields, "id"),
        customer_id=optional_id(fields, "customer"),
        status=text(fields, "status"),
        amount=whole(fields, "amount"),
        currency=text(fields, "currency"),
        created=whole(fields, "created"),
        payment_method_id=optional_id(fields, "payment_method"),
        marker=optional_text(inner(fields, "metadata"), MARKER),
        client_secret=None if client_secret is None else Secret(client_secret),
    )


def payment_method(fields: Fields) -> PaymentMethod:
    """Read a card and the address that its payer gave with it."""
    address = inner(inner(fields, "billing_details"), "address")
    return PaymentMethod(
        payment_method_id=text(fields, "id"),
        customer_id=optional_id(fields, "customer"),
        address={name: text(address, name) for name, value in address.items() if value},
    )


def price(fields: Fields) -> Price:
    """Read a price."""
    return Price(
        price_id=text(fields, "id"),
        currency=text(fields, "currency"),
        is_active=flag(fields, "active"),
        description=optional_text(inner(fields, "metadata"), DESCRIPTION),
        meter_id=optional_id(inner(fields, "recurring"), "meter"),
    )


def meter(fields: Fields) -> Meter:
    """Read a meter."""
    return Meter(
        meter_id=text(fields, "id"),
        event_name=text(fields, "event_name"),
        formula=text(inner(fields, "default_aggregation"), "formula"),
        is_active=text(fields, "status") == "active",
        customer_key=text(inner(fields, "customer_mapping"), "event_payload_key"),
        value_key=text(inner(fields, "value_settings"), "event_payload_key"),
    )


def summed(fields: Fields) -> Decimal:
    """Read what a summary adds up to, exact as far as a float with whole credits is."""
    value = fields.get("aggregated_value")
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _lacks(fields, "aggregated_value")
    return Decimal(str(value))


def invoice(fields: Fields, lines: Sequence[InvoiceLine]) -> Invoice:
    """Read an invoice; its lines come from as many pages as there are."""
    changes = inner(fields, "status_transitions")
    return Invoice(
        invoice_id=text(fields, "id"),
        customer_id=optional_id(fields, "customer"),
        subscription_id=optional_id(
            inner(inner(fields, "parent"), "subscription_details"), "subscription"
        ),
        status=text(fields, "status"),
        currency=text(fields, "currency"),
        total=whole(fields, "total"),
        created=whole(fields, "created"),
        finalized_at=optional_whole(changes, "finalized_at"),
        voided_at=optional_whole(changes, "voided_at"),
        marked_uncollectible_at=optional_whole(changes, "marked_uncollectible_at"),
        period_start=whole(fields, "period_start"),
        period_end=whole(fields, "period_end"),
        lines=tuple(lines),
    )


def invoice_line(fields: Fields) -> InvoiceLine:
    """Read a line. Its quantity is `quantity_decimal`: the other one has lost its fraction."""
    parent = inner(fields, "parent")
    item = inner(parent, "subscription_item_details")
    one_off = inner(parent, "invoice_item_details")
    period = inner(fields, "period")
    return InvoiceLine(
        line_id=text(fields, "id"),
        price_id=optional_id(inner(inner(fields, "pricing"), "price_details"), "price"),
        quantity=optional_decimal(fields, "quantity_decimal"),
        amount=whole(fields, "amount"),
        is_proration=flag(item, "proration") or flag(one_off, "proration"),
        subscription_item_id=optional_id(item, "subscription_item"),
        period_start=whole(period, "start"),
        period_end=whole(period, "end"),
    )


def credit_note(fields: Fields, lines: Sequence[CreditNoteLine]) -> StripeCreditNote:
    """Read a credit note; its lines come from as many pages as there are."""
    return StripeCreditNote(
        credit_note_id=text(fields, "id"),
        invoice_id=_id(fields, "invoice"),
        customer_id=optional_id(fields, "customer"),
        status=text(fields, "status"),
        currency=text(fields, "currency"),
        amount=whole(fields, "amount"),
        created=whole(fields, "created"),
        voided_at=optional_whole(fields, "voided_at"),
        lines=tuple(lines),
    )


def credit_note_line(fields: Fields) -> CreditNoteLine:
    """Read a line of a credit note."""
    exact = optional_decimal(fields, "quantity_decimal")
    return CreditNoteLine(
        line_id=text(fields, "id"),
        invoice_line_id=optional_id(fields, "invoice_line_item"),
        quantity=optional_decimal(fields, "quantity") if exact is None else exact,
        amount=whole(fields, "amount"),
    )


def event(fields: Fields) -> EventNotice:
    """Read an event of the first API, by a webhook or listed. Only what names it is kept."""
    content = inner(fields, "data")
    kind = line(fields, "type")
    return EventNotice(
        event_id=stripe_id(fields, "id"),
        type=kind,
        object_id=object_id(content, "object"),
        created=moment(fields, "created"),
        account=optional_text(fields, "account"),
        changes_address=kind == "customer.updated"
        and "address" in inner(content, "previous_attributes"),
    )


def _id(fields: Fields, name: str) -> str:
    found = optional_id(fields, name)
    if found is None:
        raise _lacks(fields, name)
    return found


def _lacks(fields: Fields, name: str) -> StripeAnswerError:
    # The kind is Stripe's own word for it; a value might be anything, so none is shown.
    kind = fields.get("object")
    what = kind if isinstance(kind, str) else "object"
    return StripeAnswerError(f"Stripe's {what[:60]} has no {name}, or one of another kind")
