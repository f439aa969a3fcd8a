"""Every call of the gateway: arguments, the request it makes, an answer that satisfies it."""

import inspect
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from billing.gateway import Gateway
from tests.billing.gateway.samples import (
    JULY,
    JUNE,
    METER,
    METER_EVENT,
    PAYER,
    PRICE,
    credit_note,
    customer,
    dispute,
    event,
    intent,
    invoice,
    page,
    payment_method,
    subscription,
)

CUSTOMER = {"expand[0]": "tax", "expand[1]": "subscriptions"}
CUSTOMERS = {"limit": "100", "expand[0]": "data.tax", "expand[1]": "data.subscriptions"}


@dataclass(frozen=True)
class Call:
    name: str
    arguments: dict[str, Any]
    verb: str
    path: str
    form: dict[str, str]
    answer: dict[str, Any]
    key: str | None = None  # None: the caller gives none
    names: tuple[str, ...] = field(default=())  # the arguments that must not be empty, or dots
    texts: tuple[str, ...] = field(default=())  # those for people, that must not be empty

    @property
    def writes(self) -> bool:
        return self.verb != "get"


def listing(url: str, *objects: dict[str, Any]) -> dict[str, Any]:
    return page(*objects, url=url)


CALLS = [
    Call(
        "create_customer",
        {
            "key": "create-customer:1",
            "attribution_id": PAYER,
            "name": "Ada",
            "email": "ada@example.org",
            "currency": "eur",
            "creator_user_id": "user-1",
        },
        "post",
        "/v1/customers",
        {
            "name": "Ada",
            "email": "ada@example.org",
            "metadata[attributionId]": PAYER,
            "metadata[preferredCurrency]": "eur",
            "metadata[billingCreatorUserId]": "user-1",
            **CUSTOMER,
        },
        customer(),
        "create-customer:1",
        ("key", "attribution_id", "currency"),
        ("name", "email"),
    ),
    Call(
        "customer",
        {"customer_id": "cus_1"},
        "get",
        "/v1/customers/cus_1",
        CUSTOMER,
        customer(),
        names=("customer_id",),
    ),
    Call(
        "search_customers",
        {"attribution_id": PAYER},
        "get",
        "/v1/customers/search",
        {"query": f"metadata['attributionId']:'{PAYER}'", **CUSTOMERS},
        {
            "object": "search_result",
            "url": "/v1/customers/search",
            "has_more": False,
            "next_page": None,
            "data": [customer()],
        },
        names=("attribution_id",),
    ),
    Call(
        "customers_created_between",
        {"start": JUNE, "end": JULY},
        "get",
        "/v1/customers",
        {"created[gte]": str(JUNE), "created[lt]": str(JULY), **CUSTOMERS},
        listing("/v1/customers", customer()),
    ),
    Call(
        "set_default_payment_method",
        {
            "customer_id": "cus_1",
            "payment_method_id": "pm_1",
            "address": {"city": "Kiel", "country": "DE"},
        },
        "post",
        "/v1/customers/cus_1",
        {
            "invoice_settings[default_payment_method]": "pm_1",
            "address[city]": "Kiel",
            "address[country]": "DE",
            **CUSTOMER,
        },
        customer(),
        names=("customer_id", "payment_method_id"),
    ),
    Call(
        "attach_payment_method",
        {"payment_method_id": "pm_1", "customer_id": "cus_1"},
        "post",
        "/v1/payment_methods/pm_1/attach",
        {"customer": "cus_1"},
        payment_method(),
        names=("payment_method_id", "customer_id"),
    ),
    Call(
        "create_hold",
        {"key": "create-hold:1", "customer_id": "cus_1", "currency": "eur", "marker": "hold-1"},
        "post",
        "/v1/payment_intents",
        {
            "amount": "100",
            "currency": "eur",
            "customer": "cus_1",
            "allowed_payment_method_types[0]": "card",
            "capture_method": "manual",
            "setup_future_usage": "off_session",
            "metadata[usageLedgerIntent]": "hold-1",
        },
        intent(status="requires_payment_method"),
        "create-hold:1",
        ("key", "customer_id", "currency", "marker"),
    ),
    Call(
        "hold",
        {"hold_id": "pi_1"},
        "get",
        "/v1/payment_intents/pi_1",
        {},
        intent(),
        names=("hold_id",),
    ),
    Call(
        "holds_of",
        {"customer_id": "cus_1", "created_from": JUNE},
        "get",
        "/v1/payment_intents",
        {"customer": "cus_1", "created[gte]": str(JUNE), "limit": "100"},
        listing("/v1/payment_intents", intent()),
        names=("customer_id",),
    ),
    Call(
        "cancel_hold",
        {"hold_id": "pi_1"},
        "post",
        "/v1/payment_intents/pi_1/cancel",
        {},
        intent(status="canceled"),
        names=("hold_id",),
    ),
    Call(
        "create_subscription",
        {
            "key": "create-subscription:1",
            "customer_id": "cus_1",
            "price_id": "price_1",
            "automatic_tax": True,
            "attribution_id": PAYER,
            "marker": "attempt-1",
        },
        "post",
        "/v1/subscriptions",
        {
            "customer": "cus_1",
            "items[0][price]": "price_1",
            "automatic_tax[enabled]": "true",
            "metadata[attributionId]": PAYER,
            "metadata[usageLedgerIntent]": "attempt-1",
        },
        subscription(),
        "create-subscription:1",
        ("key", "customer_id", "price_id", "attribution_id", "marker"),
    ),
    Call(
        "subscription",
        {"subscription_id": "sub_1"},
        "get",
        "/v1/subscriptions/sub_1",
        {},
        subscription(),
        names=("subscription_id",),
    ),
    Call(
        "subscriptions_of",
        {"customer_id": "cus_1"},
        "get",
        "/v1/subscriptions",
        {"customer": "cus_1", "status": "all", "limit": "100"},
        listing("/v1/subscriptions", subscription()),
        names=("customer_id",),
    ),
    Call(
        "cancel_subscription",
        {"subscription_id": "sub_1"},
        "delete",
        "/v1/subscriptions/sub_1",
        {"invoice_now": "true", "prorate": "false"},
        subscription(status="canceled"),
        names=("subscription_id",),
    ),
    Call(
        "set_automatic_tax",
        {"subscription_id": "sub_1", "enabled": False},
        "post",
        "/v1/subscriptions/sub_1",
        {"automatic_tax[enabled]": "false"},
        subscription(),
        names=("subscription_id",),
    ),
    Call(
        "price",
        {"price_id": "price_1"},
        "get",
        "/v1/prices/price_1",
        {},
        PRICE,
        names=("price_id",),
    ),
    Call(
        "send_usage",
        {
            "event_name": "credits",
            "customer_id": "cus_1",
            "identifier": "mtr_1:sub_1:7",
            "credits": -12,
            "timestamp": JUNE,
            "key": "mtr_1:sub_1:7:1",
        },
        "post",
        "/v1/billing/meter_events",
        {
            "event_name": "credits",
            "identifier": "mtr_1:sub_1:7",
            "payload[stripe_customer_id]": "cus_1",
            "payload[value]": "-12",
            "timestamp": str(JUNE),
        },
        METER_EVENT,
        "mtr_1:sub_1:7:1",
        ("event_name", "customer_id", "identifier", "key"),
    ),
    Call(
        "summary",
        {"meter_id": "mtr_1", "customer_id": "cus_1", "start": JUNE, "end": JULY},
        "get",
        "/v1/billing/meters/mtr_1/event_summaries",
        {
            "customer": "cus_1",
            "start_time": str(JUNE),
            "end_time": str(JULY),
            "limit": "100",
        },
        listing("/v1/billing/meters/mtr_1/event_summaries"),
        names=("meter_id", "customer_id"),
    ),
    Call(
        "meter",
        {"meter_id": "mtr_1"},
        "get",
        "/v1/billing/meters/mtr_1",
        {},
        METER,
        names=("meter_id",),
    ),
    Call(
        "invoice",
        {"invoice_id": "in_1"},
        "get",
        "/v1/invoices/in_1",
        {},
        invoice(),
        names=("invoice_id",),
    ),
    Call(
        "invoices_of",
        {"subscription_id": "sub_1", "created_from": JUNE},
        "get",
        "/v1/invoices",
        {"created[gte]": str(JUNE), "limit": "100", "subscription": "sub_1"},
        listing("/v1/invoices", invoice()),
        names=("subscription_id",),
    ),
    Call(
        "invoices_of",
        {"customer_id": "cus_1", "created_from": JUNE},
        "get",
        "/v1/invoices",
        {"created[gte]": str(JUNE), "limit": "100", "customer": "cus_1"},
        listing("/v1/invoices", invoice()),
        names=("customer_id",),
    ),
    Call(
        "credit_note",
        {"credit_note_id": "cn_1"},
        "get",
        "/v1/credit_notes/cn_1",
        {},
        credit_note(),
        names=("credit_note_id",),
    ),
    Call(
        "credit_notes_of",
        {"invoice_id": "in_1"},
        "get",
        "/v1/credit_notes",
        {"invoice": "in_1", "limit": "100"},
        listing("/v1/credit_notes", credit_note()),
        names=("invoice_id",),
    ),
    Call(
        "dispute",
        {"dispute_id": "dp_1"},
        "get",
        "/v1/disputes/dp_1",
        {"expand[0]": "payment_intent.customer"},
        dispute(),
        names=("dispute_id",),
    ),
    Call(
        "events_since",
        {"types": ["invoice.finalized", "invoice.voided"], "created_from": JUNE},
        "get",
        "/v1/events",
        {
            "types[0]": "invoice.finalized",
            "types[1]": "invoice.voided",
            "created[gte]": str(JUNE),
            "limit": "100",
        },
        listing("/v1/events", event()),
    ),
]
IDS = [f"{call.name}-{'-'.join(call.names)}" for call in CALLS]


async def ask(gateway: Gateway, name: str, /, **arguments: Any) -> Any:
    """Make the call; what lists is read to its end."""
    parameters = inspect.signature(getattr(gateway, name)).parameters
    positional = [
        arguments.pop(parameter.name)
        for parameter in parameters.values()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and parameter.name in arguments
    ]
    result = getattr(gateway, name)(*positional, **arguments)
    if isinstance(result, AsyncIterator):
        return [one async for one in result]
    return await result
