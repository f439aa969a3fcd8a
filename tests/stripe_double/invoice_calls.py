"""The calls about invoices, their lines, their payments and what is billed once."""

from __future__ import annotations

from tests.stripe_double import invoices
from tests.stripe_double.cycles import open_spans
from tests.stripe_double.errors import malformed, missing
from tests.stripe_double.fields import (
    Check,
    filled,
    flag,
    metadata,
    one_of,
    record,
    span,
    text,
    whole,
)
from tests.stripe_double.invoice_lines import one_off_line
from tests.stripe_double.invoices import tell_invoice, tell_lines, tell_payment
from tests.stripe_double.paging import PAGING, page_of, within
from tests.stripe_double.records import Invoice, InvoiceItem, Subscription
from tests.stripe_double.world import Call, Json, Route, World


def retrieve(world: World, call: Call) -> Json:
    """GET /v1/invoices/{}."""
    return tell_invoice(world, world.invoice(call.names[0]))


def list_all(world: World, call: Call) -> Json:
    """GET /v1/invoices."""
    given = call.parameters
    found = [
        one
        for one in reversed(world.invoices.values())
        if given.get("customer") in {None, one.customer}
        and given.get("subscription") in {None, one.subscription}
        and given.get("status") in {None, one.status}
        and within(one.created, given.get("created"))
    ]
    return page_of(
        found,
        given,
        page_size=world.settings.page_size,
        url=call.path,
        tell=lambda one: tell_invoice(world, one),
    )


def list_lines(world: World, call: Call) -> Json:
    """GET /v1/invoices/{}/lines."""
    return tell_lines(world, world.invoice(call.names[0]), call.parameters)


def finalize(world: World, call: Call) -> Json:
    """POST /v1/invoices/{}/finalize."""
    invoice = world.invoice(call.names[0])
    invoices.finalize(world, invoice)
    return tell_invoice(world, invoice)


def void(world: World, call: Call) -> Json:
    """POST /v1/invoices/{}/void."""
    invoice = world.invoice(call.names[0])
    invoices.void(world, invoice)
    return tell_invoice(world, invoice)


def mark_uncollectible(world: World, call: Call) -> Json:
    """POST /v1/invoices/{}/mark_uncollectible."""
    invoice = world.invoice(call.names[0])
    invoices.mark_uncollectible(world, invoice)
    return tell_invoice(world, invoice)


def pay(world: World, call: Call) -> Json:
    """POST /v1/invoices/{}/pay."""
    invoice = world.invoice(call.names[0])
    elsewhere = call.parameters.get("paid_out_of_band", False)
    invoices.pay(world, invoice, out_of_band=elsewhere)
    return tell_invoice(world, invoice)


def preview(world: World, call: Call) -> Json:
    """POST /v1/invoices/create_preview: the open cycle by what counts now; nothing is kept."""
    given = call.parameters
    subscription = _previewed(world, given)
    spans = open_spans(world, subscription)
    first = subscription.items[0]
    invoice = Invoice(
        f"upcoming_in_{subscription.id[4:]}",
        world.now,
        subscription.customer,
        subscription.id,
        subscription.currency,
        "upcoming",
        first.period_start,
        first.period_end,
        spans,
        [
            one_off_line(world, one)
            for one in world.invoice_items.values()
            if one.invoice is None and one.customer == subscription.customer
        ],
        automatic_tax=subscription.automatic_tax,
    )
    return tell_invoice(world, invoice)


def _previewed(world: World, given: Json) -> Subscription:
    if "subscription" in given:
        found = world.subscription(given["subscription"], param="subscription")
        if found.ended_at is not None or given.get("customer", found.customer) != found.customer:
            raise missing("upcoming invoice", found.id, param="subscription")
        return found
    if "customer" not in given:
        raise malformed("Give a customer or a subscription.", "customer", "parameter_missing")
    customer = world.customer(given["customer"], param="customer")
    living = [one for one in world.subscriptions_of(customer.id) if one.ended_at is None]
    if len(living) != 1:
        raise malformed("No upcoming invoices for customer", "customer", "invoice_upcoming_none")
    return living[0]


def retrieve_payment(world: World, call: Call) -> Json:
    """GET /v1/invoice_payments/{}."""
    found = world.invoice_payments.get(call.names[0])
    if found is None:
        raise missing("invoice_payment", call.names[0])
    return tell_payment(found)


def list_payments(world: World, call: Call) -> Json:
    """GET /v1/invoice_payments."""
    given = call.parameters
    found = [
        one
        for one in reversed(world.invoice_payments.values())
        if given.get("invoice") in {None, one.invoice} and given.get("status") in {None, one.status}
    ]
    size = world.settings.page_size
    return page_of(found, given, page_size=size, url=call.path, tell=tell_payment)


def create_item(world: World, call: Call) -> Json:
    """POST /v1/invoiceitems: an amount that the next invoice of the customer bills."""
    given = call.parameters
    customer = world.customer(given["customer"], param="customer")
    if given.get("subscription"):
        world.subscription(given["subscription"], param="subscription")
    item = InvoiceItem(
        world.new_id("ii"),
        world.now,
        customer.id,
        given.get("subscription"),
        given["amount"],
        given.get("currency", customer.currency or "usd").lower(),
        1,
        given.get("description"),
        given.get("metadata", {}),
    )
    world.invoice_items[item.id] = item
    told = _tell_item(item)
    world.emit("invoiceitem.created", told)
    return told


def _tell_item(item: InvoiceItem) -> Json:
    return {
        "id": item.id,
        "object": "invoiceitem",
        "amount": item.amount,
        "currency": item.currency,
        "customer": item.customer,
        "date": item.created,
        "description": item.description,
        "discountable": True,
        "discounts": [],
        "invoice": item.invoice,
        "livemode": False,
        "metadata": dict(item.metadata),
        "parent": None,
        "period": {"end": item.created, "start": item.created},
        "pricing": None,
        "proration": False,
        "quantity": item.quantity,
        "quantity_decimal": str(item.quantity),
        "tax_rates": [],
        "test_clock": None,
    }


_LIST: dict[str, Check] = {
    "created": span,
    "customer": filled,
    "status": one_of("draft", "open", "paid", "uncollectible", "void"),
    "subscription": filled,
    **PAGING,
}
_ITEM = record(
    ["customer", "amount"],
    amount=whole,
    currency=filled,
    customer=filled,
    description=text,
    metadata=metadata,
    subscription=filled,
)
_PAYMENTS = record(invoice=filled, status=one_of("canceled", "open", "paid"), **PAGING)
_PREVIEW = record(customer=filled, subscription=filled)
ROUTES = (
    Route("GET", "/v1/invoices", list_all, record(**_LIST)),
    Route("POST", "/v1/invoices/create_preview", preview, _PREVIEW),
    Route("GET", "/v1/invoices/{}", retrieve, record()),
    Route("GET", "/v1/invoices/{}/lines", list_lines, record(**PAGING)),
    Route("POST", "/v1/invoices/{}/finalize", finalize, record(auto_advance=flag)),
    Route("POST", "/v1/invoices/{}/void", void, record()),
    Route("POST", "/v1/invoices/{}/mark_uncollectible", mark_uncollectible, record()),
    Route("POST", "/v1/invoices/{}/pay", pay, record(paid_out_of_band=flag)),
    Route("GET", "/v1/invoice_payments", list_payments, _PAYMENTS),
    Route("GET", "/v1/invoice_payments/{}", retrieve_payment, record()),
    Route("POST", "/v1/invoiceitems", create_item, _ITEM),
)
