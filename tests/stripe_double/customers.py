"""Customers: metadata, address and tax state, default card, search, deletion."""

from __future__ import annotations

from tests.stripe_double.cycles import end_subscription
from tests.stripe_double.errors import malformed
from tests.stripe_double.fields import (
    ADDRESS,
    filled,
    metadata,
    one_of,
    record,
    span,
    text,
    unset_or,
    whole,
)
from tests.stripe_double.paging import PAGING, page_limit, page_of, within
from tests.stripe_double.records import Customer
from tests.stripe_double.world import Call, Json, Route, World, changed_metadata, rfc_address

_WRITABLE = {
    "address": unset_or(ADDRESS),
    "description": text,
    "email": text,
    "invoice_settings": record(default_payment_method=text),
    "metadata": metadata,
    "name": text,
    "phone": text,
    "tax_exempt": one_of("none", "exempt", "reverse"),
}


def tell_customer(customer: Customer) -> Json:
    """Give what the API tells of a customer, without what must be asked for."""
    if customer.deleted:
        return {"id": customer.id, "object": "customer", "deleted": True}
    return {
        "id": customer.id,
        "object": "customer",
        "address": customer.address,
        "balance": 0,
        "created": customer.created,
        "currency": customer.currency,
        "default_source": None,
        "delinquent": False,
        "description": customer.description,
        "email": customer.email,
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": customer.default_payment_method,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": dict(customer.metadata),
        "name": customer.name,
        "phone": customer.phone,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }


def _write(world: World, customer: Customer, given: Json) -> None:
    settings = given.get("invoice_settings", {})
    method = settings.get("default_payment_method")
    if method:
        card = world.payment_method(method, param="invoice_settings[default_payment_method]")
        if card.customer != customer.id:
            raise malformed(
                f"The customer does not have a payment method with the ID {method}.",
                "invoice_settings[default_payment_method]",
                "resource_missing",
            )
    if method is not None:
        customer.default_payment_method = method or None
    if "address" in given:
        customer.address = rfc_address(given["address"])
    if "metadata" in given:
        customer.metadata = changed_metadata(customer.metadata, given["metadata"])
    for name in ("description", "email", "name", "phone"):
        if name in given:
            setattr(customer, name, given[name] or None)
    world.search.write(customer, world.now + world.settings.search_lag_seconds)


def create(world: World, call: Call) -> Json:
    """POST /v1/customers."""
    given = call.parameters
    if given.get("invoice_settings", {}).get("default_payment_method"):
        raise malformed("A new customer has no payment method yet.", "invoice_settings")
    customer = Customer(world.new_id("cus"), world.now)
    _write(world, customer, given)
    world.customers[customer.id] = customer
    told = tell_customer(customer)
    world.emit("customer.created", told)
    return told


def retrieve(world: World, call: Call) -> Json:
    """GET /v1/customers/{}: a deleted one is told as deleted."""
    known = world.customers.get(call.names[0])
    return tell_customer(known or world.customer(call.names[0]))


def update(world: World, call: Call) -> Json:
    """POST /v1/customers/{}."""
    return change(world, world.customer(call.names[0]), call.parameters)


def change(world: World, customer: Customer, given: Json) -> Json:
    """Write fields, and say in an event what they were before."""
    before = tell_customer(customer)
    _write(world, customer, given)
    told = tell_customer(customer)
    previous = {name: one for name, one in before.items() if told[name] != one}
    if previous:
        world.emit("customer.updated", told, previous)
    return told


def delete(world: World, call: Call) -> Json:
    """DELETE /v1/customers/{}: its subscriptions end at once, and open usage is lost."""
    return remove(world, world.customer(call.names[0]))


def remove(world: World, customer: Customer) -> Json:
    """Delete a customer."""
    for subscription in world.subscriptions_of(customer.id):
        if subscription.ended_at is None:
            end_subscription(world, subscription, invoices=False)
    last = tell_customer(customer)
    customer.deleted = True
    customer.metadata = {}
    world.search.write(customer, world.now + world.settings.search_lag_seconds)
    world.emit("customer.deleted", last)
    return tell_customer(customer)


def list_all(world: World, call: Call) -> Json:
    """GET /v1/customers, without the deleted ones."""
    given = call.parameters
    found = [
        one
        for one in reversed(world.customers.values())
        if not one.deleted
        and within(one.created, given.get("created"))
        and given.get("email") in {None, one.email}
    ]
    return page_of(
        found, given, page_size=world.settings.page_size, url=call.path, tell=tell_customer
    )


def search(world: World, call: Call) -> Json:
    """GET /v1/customers/search: found by what the index knows, told as they are now."""
    given = call.parameters
    found = world.search.find(given["query"], world.now)
    limit = page_limit(given, world.settings.page_size)
    page = given.get("page", "0")
    if not page.isdigit():
        raise malformed("Invalid page", "page")
    start = int(page)
    end = start + limit
    more = end < len(found)
    return {
        "object": "search_result",
        "data": [tell_customer(world.customers[name]) for name in found[start:end]],
        "has_more": more,
        "next_page": str(end) if more else None,
        "url": call.path,
    }


ROUTES = (
    Route("POST", "/v1/customers", create, record(**_WRITABLE)),
    Route("GET", "/v1/customers", list_all, record(created=span, email=filled, **PAGING)),
    Route(
        "GET",
        "/v1/customers/search",
        search,
        record(["query"], query=filled, limit=whole, page=filled),
    ),
    Route("GET", "/v1/customers/{}", retrieve, record()),
    Route("POST", "/v1/customers/{}", update, record(**_WRITABLE)),
    Route("DELETE", "/v1/customers/{}", delete, record()),
)
