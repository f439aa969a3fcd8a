"""Our clock was seconds behind Stripe's, and a report was stamped before its subscription began.

Stripe takes it and bills it to nobody. Nor was it missed: it lay in no cycle of ours.
"""

from __future__ import annotations

from typing import Any

import pytest

from ledger.clock import Clock
from tests.billing.scene import BillingScene, DoubleTime, Shop
from tests.stripe_double import StripeDouble

BEHIND_MS = 5_000


class Behind(DoubleTime):
    """Stripe's time of five seconds ago."""

    def now_ns(self) -> int:
        """Give nanoseconds since 1970."""
        return super().now_ns() - BEHIND_MS * 1_000_000


class BehindScene(BillingScene):
    """A ledger whose clock is behind."""

    def clock(self, double: StripeDouble) -> Clock:
        """Give its clock."""
        return Behind(double)


def live(scene: BillingScene, days: int) -> None:
    for _ in range(days // 5):
        scene.double.advance(days=5)
        scene.reconcile()


class TestAReport:
    def test_soon_after_the_sign_up_is_billed(self) -> None:
        with BehindScene() as scene:
            scene.sign_up()
            scene.use(5)
            scene.report()
            scene.double.advance(days=10)
            scene.use(10)
            scene.reconcile()
            live(scene, 90)
            assert 15 == scene.double.invoiced_credits(scene.known_customer().id)
            assert 0 == scene.cents()

    @pytest.mark.parametrize("seconds", [0, 4, 6])
    def test_around_the_end_of_a_cycle_is_billed_once(self, seconds: int) -> None:
        with BehindScene() as scene:
            scene.sign_up()
            scene.double.advance(days=10)
            scene.use(10)
            scene.reconcile()
            end = scene.cost_center().next_billing_time.seconds
            scene.double.advance_to((end + seconds) * 1_000)
            scene.use(5)
            scene.report()
            live(scene, 90)
            assert 15 == scene.double.invoiced_credits(scene.known_customer().id)
            assert 0 == scene.cents()

    def test_soon_after_the_anchor_was_moved_is_billed_once(self) -> None:
        with BehindScene(Shop()) as scene:
            subscription = scene.sign_up()
            scene.double.advance(days=10)
            scene.use(10)
            scene.reconcile()
            scene.double.advance(hours=1)
            anchor: Any = {"billing_cycle_anchor": "now"}
            scene.shop.client.v1.subscriptions.update(subscription, anchor)
            scene.use(5)
            scene.report()
            live(scene, 120)
            assert 15 == scene.double.invoiced_credits(scene.known_customer().id)
            assert 0 == scene.cents()
