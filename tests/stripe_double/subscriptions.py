"""Subscriptions as they are told, and the cycles of their items."""

from __future__ import annotations

from tests.stripe_double.clock import months_after
from tests.stripe_double.prices import tell_price
from tests.stripe_double.records import Item, Price, Subscription
from tests.stripe_double.world import Json, World

# A first invoice that is not paid ends the subscription after so long.
INCOMPLETE_SECONDS = 23 * 3600


def tell_item(world: World, subscription: Subscription, item: Item) -> Json:
    """Give what the API tells of an item; a metered one has no quantity."""
    told: Json = {
        "id": item.id,
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": item.created,
        "current_period_end": item.period_end,
        "current_period_start": item.period_start,
        "discounts": [],
        "metadata": {},
        "price": tell_price(world.prices[item.price]),
        "subscription": subscription.id,
        "tax_rates": [],
    }
    if item.quantity is not None:
        told["quantity"] = item.quantity
    return told


def tell_subscription(world: World, subscription: Subscription) -> Json:
    """Give what the API tells of a subscription."""
    canceled = subscription.canceled_at is not None
    reason = "cancellation_requested" if canceled else None
    return {
        "id": subscription.id,
        "object": "subscription",
        "automatic_tax": {
            "disabled_reason": None,
            "enabled": subscription.automatic_tax,
            "liability": {"type": "self"} if subscription.automatic_tax else None,
        },
        "billing_cycle_anchor": subscription.anchor,
        "billing_mode": {
            "flexible": {"proration_discounts": "included"},
            "type": "flexible",
        },
        "billing_schedules": [],
        "cancel_at": _ends_at(subscription) if subscription.cancel_at_period_end else None,
        "cancel_at_period_end": subscription.cancel_at_period_end,
        "canceled_at": subscription.canceled_at,
        "cancellation_details": {
            "comment": subscription.cancellation_comment,
            "feedback": None,
            "reason": reason,
        },
        "collection_method": "charge_automatically",
        "created": subscription.created,
        "currency": subscription.currency,
        "customer": subscription.customer,
        "days_until_due": None,
        "default_payment_method": subscription.default_payment_method,
        "default_source": None,
        "default_tax_rates": [],
        "description": subscription.description,
        "discounts": [],
        "ended_at": subscription.ended_at,
        "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
        "items": {
            "object": "list",
            "data": [tell_item(world, subscription, one) for one in subscription.items],
            "has_more": False,
            "url": f"/v1/subscription_items?subscription={subscription.id}",
        },
        "latest_invoice": subscription.latest_invoice,
        "livemode": False,
        "metadata": dict(subscription.metadata),
        "pause_collection": None,
        "pending_setup_intent": None,
        "pending_update": None,
        "schedule": None,
        "start_date": subscription.created,
        "status": subscription.status,
        "test_clock": None,
        "trial_end": None,
        "trial_start": None,
    }


def _ends_at(subscription: Subscription) -> int:
    return subscription.items[0].period_end


def cycle_end(anchor: int, price: Price, cycle: int) -> int:
    """Give the end of a cycle, counted from 1 at the anchor, by the month of the anchor's day."""
    months = price.interval_count * (12 if price.interval == "year" else 1)
    return months_after(anchor, months * cycle)


def set_status(world: World, subscription: Subscription, status: str) -> None:
    """Change a living subscription's status, and say so."""
    if subscription.status == status:
        return
    before = subscription.status
    subscription.status = status
    told = tell_subscription(world, subscription)
    world.emit("customer.subscription.updated", told, {"status": before})
