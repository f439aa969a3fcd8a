"""Deletes customers at Stripe, and lets their payers come back."""

from __future__ import annotations

from tests.billing.scene import BillingScene
from tests.contract.calls.asking import STRIPE


def delete(scene: BillingScene) -> str:
    """Delete the payer's customer at Stripe; give it."""
    customer = scene.known_customer().id
    scene.double.outside.delete_customer(customer)
    return customer


def alive(scene: BillingScene) -> list[str]:
    """Subscriptions that live at Stripe."""
    return [one.id for one in scene.double.world.subscriptions.values() if one.ended_at is None]


def come_back(scene: BillingScene, gone: str) -> str:
    """Sign up once more, as another customer; give the subscription."""
    assert gone != scene.customer().id
    subscription = scene.subscribe(hold=scene.hold(), limit=5)
    assert [subscription] == alive(scene)
    center = scene.cost_center()
    assert (STRIPE, 5) == (center.billing_strategy, center.spending_limit)
    return subscription
