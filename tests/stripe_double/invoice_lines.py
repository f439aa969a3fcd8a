"""Lines of invoices: one for each tier of a metered price, in advance for a licensed one."""

from __future__ import annotations

from collections.abc import Iterable

from tests.stripe_double.prices import portions
from tests.stripe_double.records import Invoice, InvoiceItem, Item, Line, Subscription, UsageSpan
from tests.stripe_double.world import Json, World


def usage_quantity(world: World, customer: str, span: UsageSpan) -> int:
    """Give what of a cycle's usage counts now; a negative rest is nothing."""
    meter = world.prices[span.price].meter
    assert meter is not None
    window = (span.usage_start, span.usage_end)
    return max(0, world.usage.total(world.meters[meter], customer, window, world.now))


def lines_of(world: World, invoice: Invoice) -> list[Line]:
    """Give the lines: as they were finalized, else as they would be now."""
    if invoice.lines is not None:
        return invoice.lines
    metered = [line for span in invoice.usage for line in _metered_lines(world, invoice, span)]
    return metered + invoice.fixed


def _metered_lines(world: World, invoice: Invoice, span: UsageSpan) -> Iterable[Line]:
    price = world.prices[span.price]
    quantity = usage_quantity(world, invoice.customer, span)
    if quantity == 0:
        return
    name = world.products[price.product].name
    for portion in portions(price, invoice.currency, quantity):
        what = "flat fee" if portion.is_flat else f"{portion.quantity} units"
        mark = "flat" if portion.is_flat else "units"
        yield Line(
            f"il_{invoice.id[3:]}_{span.item[3:]}_{portion.tier}{mark}",
            "metered",
            portion.amount,
            portion.quantity,
            f"{name}, tier {portion.tier + 1}: {what}",
            span.start,
            span.end,
            price=price.id,
            subscription=span.subscription,
            item=span.item,
        )


def licensed_line(world: World, subscription: Subscription, item: Item) -> Line:
    """Give the line of a licensed item for the cycle it is in."""
    price = world.prices[item.price]
    quantity = item.quantity or 0
    amount = sum(one.amount for one in portions(price, subscription.currency, quantity))
    return Line(
        world.new_id("il"),
        "licensed",
        amount,
        quantity,
        f"{quantity} of {world.products[price.product].name}",
        item.period_start,
        item.period_end,
        price=price.id,
        subscription=subscription.id,
        item=item.id,
    )


def one_off_line(world: World, pending: InvoiceItem) -> Line:
    """Give the line of something that is billed once."""
    return Line(
        world.new_id("il"),
        "one_off",
        pending.amount,
        pending.quantity,
        pending.description or "",
        pending.created,
        pending.created,
        subscription=pending.subscription,
        invoice_item=pending.id,
    )


def tell_line(world: World, invoice: Invoice, line: Line) -> Json:
    """Give what the API tells of a line."""
    pricing = None
    if line.price is not None:
        product = world.prices[line.price].product
        pricing = {
            "price_details": {"price": line.price, "product": product},
            "type": "price_details",
            "unit_amount_decimal": None,
        }
    return {
        "id": line.id,
        "object": "line_item",
        "amount": line.amount,
        "currency": invoice.currency,
        "description": line.description,
        "discount_amounts": [],
        "discountable": line.kind != "metered",
        "discounts": [],
        "invoice": invoice.id,
        "livemode": False,
        "metadata": {},
        "parent": _tell_parent(line),
        "period": {"end": line.end, "start": line.start},
        "pretax_credit_amounts": [],
        "pricing": pricing,
        "quantity": int(line.quantity),  # a test may have made a fraction of it
        "quantity_decimal": str(line.quantity),
        "subscription": line.subscription,
        "subtotal": line.amount,
        "taxes": [],
    }


def _tell_parent(line: Line) -> Json:
    if line.kind == "one_off":
        return {
            "invoice_item_details": {
                "invoice_item": line.invoice_item,
                "proration": False,
                "proration_details": None,
                "subscription": line.subscription,
            },
            "subscription_item_details": None,
            "type": "invoice_item_details",
        }
    return {
        "invoice_item_details": None,
        "subscription_item_details": {
            "invoice_item": None,
            "proration": False,
            "proration_details": None,
            "subscription": line.subscription,
            "subscription_item": line.item,
        },
        "type": "subscription_item_details",
    }
