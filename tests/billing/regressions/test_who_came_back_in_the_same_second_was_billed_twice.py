"""The second in which a subscription ends is billed by its last invoice.

What was reported in that second for the next subscription was missed on the next one's invoice,
and reported again.
"""

from __future__ import annotations

from tests.billing.scene import BillingScene, Shop
from tests.stripe_double import Settings


def test_what_is_used_then_is_billed_once() -> None:
    # Stripe adds up and ends at once, so that all of it happens in one second.
    shop = Shop(settings=Settings(aggregation_delay_seconds=0))
    with BillingScene(shop) as scene:
        subscription = scene.sign_up()
        customer = scene.known_customer().id
        scene.double.advance(days=10)
        scene.use(9)
        scene.cancel(subscription)
        assert subscription != scene.subscribe(hold=scene.hold())
        scene.use(5)
        scene.reconcile()
        for _ in range(14):
            scene.double.advance(days=5)
            scene.reconcile()
        assert 14 == scene.double.invoiced_credits(customer)
        assert 0 == scene.cents()
