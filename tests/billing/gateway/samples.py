"""Stripe's objects, in the form of the pinned version of its API, as far as they are read."""

from collections.abc import Sequence
from typing import Any

PAYER = "team:6c1f1e1a-2f30-4c43-9a1b-8a54b2b2f6a3"
JUNE, JULY = 1_780_272_000, 1_782_864_000  # both at 00:00 UTC


def page(*objects: dict[str, Any], url: str, has_more: bool = False) -> dict[str, Any]:
    return {"object": "list", "url": url, "has_more": has_more, "data": list(objects)}


def customer(customer_id: str = "cus_1", **changes: Any) -> dict[str, Any]:
    return {
        "id": customer_id,
        "object": "customer",
        "created": JUNE,
        "email": "ada@example.org",
        "name": "Ada",
        "metadata": {
            "attributionId": PAYER,
            "preferredCurrency": "eur",
            "billingCreatorUserId": "user-1",
        },
        "tax": {"automatic_tax": "supported", "ip_address": None},
        "subscriptions": page(url=f"/v1/customers/{customer_id}/subscriptions"),
        **changes,
    }


def subscription_item(item_id: str = "si_1", **changes: Any) -> dict[str, Any]:
    return {
        "id": item_id,
        "object": "subscription_item",
        "price": {"id": "price_1", "object": "price"},
        "current_period_start": JUNE,
        "current_period_end": JULY,
        **changes,
    }


def subscription(
    subscription_id: str = "sub_1",
    *,
    items: Sequence[dict[str, Any]] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    listed = [subscription_item()] if items is None else items
    return {
        "id": subscription_id,
        "object": "subscription",
        "customer": "cus_1",
        "status": "active",
        "items": page(*listed, url="/v1/subscription_items"),
        "automatic_tax": {"enabled": True},
        "created": JUNE,
        "cancel_at_period_end": False,
        "cancel_at": None,
        "canceled_at": None,
        "ended_at": None,
        "metadata": {"attributionId": PAYER, "usageLedgerIntent": "attempt-1"},
        **changes,
    }


def intent(**changes: Any) -> dict[str, Any]:
    return {
        "id": "pi_1",
        "object": "payment_intent",
        "customer": "cus_1",
        "status": "requires_capture",
        "amount": 100,
        "currency": "eur",
        "created": JUNE,
        "payment_method": "pm_1",
        "metadata": {"usageLedgerIntent": "hold-1"},
        "client_secret": "pi_1_secret_Abc123",
        **changes,
    }


def payment_method(**changes: Any) -> dict[str, Any]:
    return {
        "id": "pm_1",
        "object": "payment_method",
        "customer": "cus_1",
        "billing_details": {
            "address": {
                "city": "Kiel",
                "country": "DE",
                "line1": "Sophienblatt 1",
                "line2": None,
                "postal_code": "24103",
                "state": "",
            }
        },
        **changes,
    }


def invoice_line(line_id: str = "il_1", **changes: Any) -> dict[str, Any]:
    return {
        "id": line_id,
        "object": "line_item",
        "amount": 900,
        "quantity": 1000,
        "quantity_decimal": "1000",
        "pricing": {"type": "price_details", "price_details": {"price": "price_1"}},
        "parent": {
            "type": "subscription_item_details",
            "subscription_item_details": {"subscription_item": "si_1", "proration": False},
        },
        "period": {"start": JUNE, "end": JULY},
        **changes,
    }


def invoice(
    invoice_id: str = "in_1",
    *,
    lines: Sequence[dict[str, Any]] | None = None,
    has_more: bool = False,
    **changes: Any,
) -> dict[str, Any]:
    listed = [invoice_line()] if lines is None else lines
    return {
        "id": invoice_id,
        "object": "invoice",
        "customer": "cus_1",
        "parent": {
            "type": "subscription_details",
            "subscription_details": {"subscription": "sub_1"},
        },
        "status": "open",
        "currency": "eur",
        "total": 900,
        "created": JULY,
        "status_transitions": {
            "finalized_at": JULY + 3600,
            "paid_at": None,
            "voided_at": None,
            "marked_uncollectible_at": None,
        },
        "period_start": JUNE,
        "period_end": JULY,
        "lines": page(*listed, url=f"/v1/invoices/{invoice_id}/lines", has_more=has_more),
        **changes,
    }


def credit_note(credit_note_id: str = "cn_1", **changes: Any) -> dict[str, Any]:
    line = {
        "id": "cnli_1",
        "object": "credit_note_line_item",
        "type": "invoice_line_item",
        "invoice_line_item": "il_1",
        "quantity": 31,
        "amount": 112,
    }
    return {
        "id": credit_note_id,
        "object": "credit_note",
        "invoice": "in_1",
        "customer": "cus_1",
        "status": "issued",
        "currency": "eur",
        "amount": 112,
        "created": JULY,
        "voided_at": None,
        "lines": page(line, url=f"/v1/credit_notes/{credit_note_id}/lines"),
        **changes,
    }


def dispute(**changes: Any) -> dict[str, Any]:
    return {
        "id": "dp_1",
        "object": "dispute",
        "status": "needs_response",
        "created": JULY,
        "charge": "ch_1",
        "payment_intent": intent(customer=customer()),
        **changes,
    }


def event(event_id: str = "evt_1", **changes: Any) -> dict[str, Any]:
    return {
        "id": event_id,
        "object": "event",
        "type": "invoice.finalized",
        "created": JULY,
        "data": {"object": {"id": "in_1", "object": "invoice"}},
        **changes,
    }


METER = {
    "id": "mtr_1",
    "object": "billing.meter",
    "event_name": "credits",
    "status": "active",
    "default_aggregation": {"formula": "sum"},
    "customer_mapping": {"event_payload_key": "stripe_customer_id", "type": "by_id"},
    "value_settings": {"event_payload_key": "value"},
}
METER_EVENT = {"object": "billing.meter_event", "event_name": "credits", "identifier": "m:s:1"}
PRICE = {
    "id": "price_1",
    "object": "price",
    "currency": "eur",
    "active": True,
    "metadata": {"human_readable_description": "9 € a month"},
    "recurring": {"interval": "month", "meter": "mtr_1"},
}
