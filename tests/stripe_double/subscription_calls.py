"""The calls about subscriptions."""

from __future__ import annotations

from tests.stripe_double.cycles import begin_subscription, end_subscription, move_anchor
from tests.stripe_double.errors import StripeError, malformed, missing
from tests.stripe_double.fields import (
    filled,
    flag,
    many,
    metadata,
    one_of,
    record,
    span,
    text,
    whole,
)
from tests.stripe_double.paging import PAGING, page_of, within
from tests.stripe_double.records import Customer, Item, Subscription
from tests.stripe_double.subscriptions import cycle_end, tell_item, tell_subscription
from tests.stripe_double.tax import require_location
from tests.stripe_double.world import Call, Json, Route, World, changed_metadata

ITEMS_MAX = 20


def create(world: World, call: Call) -> Json:
    """POST /v1/subscriptions."""
    given = call.parameters
    customer = world.customer(given["customer"], param="customer")
    currency = _currency(world, customer, given)
    method = given.get("default_payment_method")
    if method is not None:
        _require_card_of(world, customer, method)
    enabled = given.get("automatic_tax", {}).get("enabled", False)
    if enabled:
        require_location(world, customer)
    _require_money_for_advance(world, customer, given)
    subscription = Subscription(
        world.new_id("sub"),
        world.now,
        customer.id,
        currency,
        [],
        "incomplete",
        metadata=given.get("metadata", {}),
        description=given.get("description"),
        automatic_tax=enabled,
        cancel_at_period_end=given.get("cancel_at_period_end", False),
        default_payment_method=method,
    )
    billed_until = max(
        (one.ended_at + 1 for one in world.subscriptions_of(customer.id) if one.ended_at), default=0
    )
    for row in given["items"]:
        price = world.prices[row["price"]]
        metered = price.usage_type == "metered"
        item = Item(
            world.new_id("si"),
            world.now,
            price.id,
            None if metered else row.get("quantity", 1),
            world.now,
            cycle_end(world.now, price, 1),
            max(world.now, billed_until),
        )
        subscription.items.append(item)
    customer.currency = currency
    begin_subscription(world, subscription)
    return tell_subscription(world, subscription)


def _currency(world: World, customer: Customer, given: Json) -> str:
    """Check the prices, and give the currency in which all of them are billed."""
    rows = given["items"]
    if not 1 <= len(rows) <= ITEMS_MAX:
        raise malformed(f"A subscription has 1 to {ITEMS_MAX} items.", "items")
    prices = [
        world.price(row["price"], param=f"items[{number}][price]")
        for number, row in enumerate(rows)
    ]
    currency = (given.get("currency") or customer.currency or prices[0].currency).lower()
    for number, (row, price) in enumerate(zip(rows, prices, strict=True)):
        name = f"items[{number}]"
        if price.interval is None or not price.active:
            raise malformed(f"Price {price.id} is inactive or not recurring.", f"{name}[price]")
        if currency not in price.amounts:
            raise malformed(f"Price {price.id} has no {currency} amounts.", f"{name}[price]")
        if price.usage_type == "metered" and "quantity" in row:
            raise malformed("A metered item takes no quantity.", f"{name}[quantity]")
    if len({price.id for price in prices}) < len(prices):
        raise malformed("Two items have the same price.", "items")
    if len({(price.interval, price.interval_count) for price in prices}) > 1:
        # Stripe allows it in flexible mode; here one cycle serves all items.
        raise malformed("The double bills all items in one cycle.", "items")
    return currency


def _require_card_of(world: World, customer: Customer, method: str) -> None:
    card = world.payment_methods.get(method)
    if card is None or card.customer != customer.id:
        raise malformed(
            f"The customer does not have a payment method with the ID {method}.",
            "default_payment_method",
            "resource_missing",
        )


def _require_money_for_advance(world: World, customer: Customer, given: Json) -> None:
    advance = any(world.prices[row["price"]].usage_type == "licensed" for row in given["items"])
    has_card = given.get("default_payment_method") or customer.default_payment_method
    if advance and not has_card:
        raise StripeError(
            400,
            "This customer has no attached payment source or default payment method.",
            code="resource_missing",
        )


def retrieve(world: World, call: Call) -> Json:
    """GET /v1/subscriptions/{}: ended ones too."""
    return tell_subscription(world, world.subscription(call.names[0]))


def _living(world: World, name: str) -> Subscription:
    subscription = world.subscription(name)
    if subscription.ended_at is not None:
        raise missing("subscription", name)
    return subscription


def update(world: World, call: Call) -> Json:
    """POST /v1/subscriptions/{}; prices of items cannot be changed here."""
    given = call.parameters
    subscription = _living(world, call.names[0])
    customer = world.customers[subscription.customer]
    before = tell_subscription(world, subscription)
    enabled = given.get("automatic_tax", {}).get("enabled", subscription.automatic_tax)
    if enabled and not subscription.automatic_tax:
        require_location(world, customer)
    method = given.get("default_payment_method")
    if method:
        _require_card_of(world, customer, method)
    if method is not None:
        subscription.default_payment_method = method or None
    subscription.automatic_tax = enabled
    if "metadata" in given:
        subscription.metadata = changed_metadata(subscription.metadata, given["metadata"])
    if "description" in given:
        subscription.description = given["description"] or None
    at_end = given.get("cancel_at_period_end", subscription.cancel_at_period_end)
    if at_end != subscription.cancel_at_period_end:
        subscription.cancel_at_period_end = at_end
        subscription.canceled_at = world.now if at_end else None
    if given.get("billing_cycle_anchor") == "now":
        if any(one.quantity is not None for one in subscription.items):
            raise malformed("The double makes no prorations.", "billing_cycle_anchor")
        move_anchor(world, subscription)
    told = tell_subscription(world, subscription)
    previous = {name: one for name, one in before.items() if told[name] != one}
    if previous:
        world.emit("customer.subscription.updated", told, previous)
    return told


def cancel(world: World, call: Call) -> Json:
    """DELETE /v1/subscriptions/{}: without `invoice_now` the open cycle's usage is discarded."""
    given = call.parameters
    subscription = _living(world, call.names[0])
    if given.get("prorate") and any(one.quantity is not None for one in subscription.items):
        raise malformed("The double makes no prorations.", "prorate")
    subscription.cancellation_comment = given.get("cancellation_details", {}).get("comment")
    end_subscription(world, subscription, invoices=given.get("invoice_now", False))
    return tell_subscription(world, subscription)


def list_all(world: World, call: Call) -> Json:
    """GET /v1/subscriptions: without a status those that are not canceled."""
    given = call.parameters
    status = given.get("status")
    found = [
        one
        for one in reversed(world.subscriptions.values())
        if given.get("customer") in {None, one.customer}
        and within(one.created, given.get("created"))
        and _has_status(one, status)
        and given.get("price") in {None, *(item.price for item in one.items)}
    ]
    return page_of(
        found,
        given,
        page_size=world.settings.page_size,
        url=call.path,
        tell=lambda one: tell_subscription(world, one),
    )


def _has_status(subscription: Subscription, status: str | None) -> bool:
    if status is None:
        return subscription.status != "canceled"
    if status == "ended":
        return subscription.ended_at is not None
    return status in {"all", subscription.status}


def tell_current(world: World, customer: Customer) -> Json:
    """Give `subscriptions` of a customer, which are there only where they are expanded."""
    found = [one for one in world.subscriptions_of(customer.id) if one.status != "canceled"]
    return page_of(
        found[::-1],
        {},
        page_size=world.settings.page_size,
        url=f"/v1/customers/{customer.id}/subscriptions",
        tell=lambda one: tell_subscription(world, one),
    )


def list_items(world: World, call: Call) -> Json:
    """GET /v1/subscription_items."""
    subscription = world.subscription(call.parameters["subscription"], param="subscription")
    return page_of(
        subscription.items,
        call.parameters,
        page_size=world.settings.page_size,
        url=call.path,
        tell=lambda item: tell_item(world, subscription, item),
    )


_TAX = record(["enabled"], enabled=flag)
_CREATE = record(
    ["customer", "items"],
    automatic_tax=_TAX,
    # `classic` drops zero lines otherwise and is not built here.
    billing_mode=record(["type"], type=one_of("flexible")),
    cancel_at_period_end=flag,
    collection_method=one_of("charge_automatically"),
    currency=filled,
    customer=filled,
    default_payment_method=filled,
    description=text,
    items=many(record(["price"], price=filled, quantity=whole, metadata=metadata)),
    metadata=metadata,
    off_session=flag,
    payment_behavior=one_of("allow_incomplete"),
    proration_behavior=one_of("none", "create_prorations", "always_invoice"),
)
_UPDATE = record(
    automatic_tax=_TAX,
    billing_cycle_anchor=one_of("now", "unchanged"),
    cancel_at_period_end=flag,
    default_payment_method=text,
    description=text,
    metadata=metadata,
    proration_behavior=one_of("none", "create_prorations", "always_invoice"),
)
_CANCEL = record(
    cancellation_details=record(comment=text),
    invoice_now=flag,
    prorate=flag,
)
_LIST = record(
    created=span,
    customer=filled,
    price=filled,
    status=one_of(
        "active", "all", "canceled", "ended", "incomplete", "incomplete_expired", "past_due"
    ),
    **PAGING,
)
_ITEMS = record(["subscription"], subscription=filled, **PAGING)
ROUTES = (
    Route("POST", "/v1/subscriptions", create, _CREATE),
    Route("GET", "/v1/subscriptions", list_all, _LIST),
    Route("GET", "/v1/subscriptions/{}", retrieve, record()),
    Route("POST", "/v1/subscriptions/{}", update, _UPDATE),
    Route("DELETE", "/v1/subscriptions/{}", cancel, _CANCEL),
    Route("GET", "/v1/subscription_items", list_items, _ITEMS),
)
