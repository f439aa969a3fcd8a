"""What was reported in one cycle was taken back in the next one, and neither had an invoice.

The subscription owed nothing in all when it ended, so its cycles were not looked after any more,
also when the payer had come back, and their books stayed open.
"""

from __future__ import annotations

from typing import Any

from tests.billing.regressions.test_a_moved_billing_anchor_was_billed_twice import (
    move_anchor,
)
from tests.billing.scene import METER_EVENT, BillingScene


def cancel_report(scene: BillingScene) -> None:
    """Take the last report away, at Stripe."""
    identifier = scene.logged("usage-report-requested")[-1]["identifier"]
    given: Any = {"event_name": METER_EVENT, "type": "cancel", "cancel": {"identifier": identifier}}
    scene.shop.client.v1.billing.meter_event_adjustments.create(given)


def test_the_books_of_each_cycle_are_closed() -> None:
    with BillingScene() as scene:
        subscription = scene.sign_up()
        scene.double.advance(days=10)
        scene.use(4)
        scene.report()
        cancel_report(scene)
        scene.double.advance(hours=1)
        move_anchor(scene, subscription)
        scene.use(-4)
        scene.report()
        scene.double.advance(days=2)
        scene.shop.client.v1.subscriptions.cancel(subscription, {"invoice_now": False})
        scene.cancel(subscription)  # it is told that it has ended
        scene.sign_up()
        for _ in range(5):
            scene.double.advance(days=2)
            scene.reconcile()
        assert [(4, 0, 4), (-4, 0, -4)] == [
            (one["sent_credits"], one["invoiced_credits"], one["shortfall_credits"])
            for one in scene.logged("reported-cycle-closed")
        ]
        assert 0 == scene.cents()
        assert [] == scene.breaks()
        assert [] == scene.calls.breaches()
