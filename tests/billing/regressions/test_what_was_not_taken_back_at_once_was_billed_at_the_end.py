"""Credits that could be taken back were billed, for what had to be reported anew missed the end.

A report that takes credits back had waited behind another one until the next cycle, which had none
then. It was given up, to be reported anew once there are some. What was sent right behind it were
enough, and then the subscription ended.
"""

from __future__ import annotations

from ledger.invoicing.reports import SUMMED_SECONDS
from tests.billing.scene import BillingScene, Shop
from tests.stripe_double import Fault, Settings


def test_they_are_taken_back() -> None:
    # Stripe adds up at once, so that nothing else makes the end wait.
    settings = Settings(aggregation_delay_seconds=0)
    with BillingScene(Shop(start="2025-11-05T00:00:00Z", settings=settings)) as scene:
        subscription = scene.sign_up(limit=10_000)
        scene.double.advance(days=1)
        scene.use(100)
        scene.reconcile()
        scene.double.advance_to("2025-12-04T22:00:00Z")
        outage = scene.double.faults.add(Fault.ANSWER_LOST, path="/v1/billing/*")
        scene.use(10)
        scene.reconcile()
        scene.use(-30)
        scene.reconcile()
        scene.double.advance_to("2025-12-07T00:00:00Z")
        scene.use(50)
        scene.double.faults.remove(outage)
        scene.cancel(subscription)
        for _ in range(3):
            scene.double.advance(seconds=SUMMED_SECONDS + 1)
            scene.reconcile()
        assert 100 + 10 - 30 + 50 == scene.invoiced()
        assert 0 == scene.cents()
        assert [] == scene.breaks()
