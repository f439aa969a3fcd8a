"""A subscription that ended in the second in which it began made every comparison fail.

Stripe adds up by whole minutes, and where that second was a minute's first one there was none.
"""

from __future__ import annotations

from tests.billing.scene import BillingScene, Shop


def test_it_is_compared() -> None:
    with BillingScene(Shop(start="2026-11-05T00:00:00Z")) as scene:
        subscription = scene.sign_up()
        scene.cancel(subscription)
        scene.double.advance(days=5)
        scene.subscribe(hold=scene.hold())
        scene.reconcile()
        assert [(0, 0, 0)] == scene.books()
        assert [] == scene.breaks()
